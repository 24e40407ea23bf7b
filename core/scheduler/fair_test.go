package scheduler

import (
	"fmt"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

// handOut gives how many envelopes of each kind and group are handed out.
func handOut(s *Scheduler) map[string]int {
	got := make(map[string]int)
	for _, b := range s.Next(1 << 20) {
		got[fmt.Sprint(b.Kind, b.Group)] += len(b.IDs)
	}
	return got
}

// However many destinations hang with however much mail, local mail, notices and the mail
// for a destination that works do not wait.
func TestHangingDestinationsLeavePlaces(t *testing.T) {
	c := newClock()
	s := New(Limits{}, c.now)
	const groups = 10_000
	m := uint32(0)
	for g := range groups {
		for range 3 {
			m++
			mustAdd(t, s, Entry{ID: id(m, 1), Kind: Relay, Group: fmt.Sprint("dead", g), Unreached: true})
		}
	}
	hanging := 0
	for _, n := range handOut(s) {
		hanging += n
	}
	if hanging == 0 || hanging > 5000/2 {
		t.Fatalf("%d places are taken by destinations that hang", hanging)
	}
	for g := range groups {
		m++
		mustAdd(t, s, Entry{ID: id(m, 1), Kind: Relay, Group: fmt.Sprint("dead later", g)})
	}
	handOut(s) // nobody knows of these yet that they hang
	for i, e := range []Entry{{Kind: Local, Group: "alice"}, {Kind: Local, Group: "bob"}, {Kind: Bounce, Group: "failed"}} {
		e.ID = id(m+uint32(i)+1, 1)
		mustAdd(t, s, e)
		if got := handOut(s); got[fmt.Sprint(e.Kind, e.Group)] != 1 {
			t.Errorf("%v waits for those that hang: %v", e.Group, got)
		}
	}
	if w := s.NextWake(); !w.IsZero() {
		t.Errorf("wakes at %v though all places are taken", w)
	}
	// As they fail they make place for those that were not tried yet.
	mustAdd(t, s, Entry{ID: id(m+100, 1), Kind: Relay, Group: "works"})
	for round := 0; ; round++ {
		for i := uint32(1); i <= m; i++ {
			s.Retry(id(i, 1), c.t.Add(time.Hour), true)
		}
		if handOut(s)[fmt.Sprint(Relay, "works")] == 1 {
			break
		}
		if round == 10 {
			t.Fatal("a destination that works does not get its turn")
		}
	}
	// From then on it has its own half.
	s.Done(id(m+100, 1))
	c.advance(time.Hour)
	handOut(s)
	mustAdd(t, s, Entry{ID: id(m+101, 1), Kind: Relay, Group: "works"})
	if handOut(s)[fmt.Sprint(Relay, "works")] != 1 {
		t.Error("a destination that works waits for those that are known to hang")
	}
}

// One destination with very much mail leaves the others what they need.
func TestHugeDestination(t *testing.T) {
	c := newClock()
	s := New(Limits{PerGroup: 5000}, c.now)
	for m := uint32(1); m <= 20_000; m++ {
		mustAdd(t, s, Entry{ID: id(m, 1), Kind: Relay, Group: "huge"})
	}
	handOut(s)
	for m := uint32(30_001); m <= 30_500; m++ {
		mustAdd(t, s, Entry{ID: id(m, 1), Kind: Relay, Group: fmt.Sprint("small", m)})
	}
	if got := handOut(s); len(got) != 500 {
		t.Errorf("%d of 500 other destinations got their turn", len(got))
	}
}

func TestTaskLimits(t *testing.T) {
	c := newClock()
	s := New(Limits{Tasks: func(kind Kind, group string) Tasks {
		if kind == Relay && group == "out" {
			return Tasks{High: 5, Low: 3, Release: 1}
		}
		return Tasks{}
	}}, c.now)
	const messages = 20
	for m := uint32(1); m <= messages; m++ {
		for n := uint32(1); n <= 2; n++ {
			mustAdd(t, s, Entry{ID: id(m, n), Kind: Relay, Group: "out"})
			mustAdd(t, s, Entry{ID: id(100+m, n), Kind: Relay, Group: "other"})
		}
	}
	var flying []envelope.MessageID
	next := func() (out int) {
		for _, b := range s.Next(1000) {
			if b.Group == "out" {
				flying = append(flying, b.Message)
				out++
			}
		}
		return out
	}
	done := func() {
		m := flying[0]
		flying = flying[1:]
		s.Done(envelope.NewID(m, 1))
		s.Done(envelope.NewID(m, 2))
	}
	for _, step := range []struct {
		done, want int
		why        string
	}{
		{0, 5, "up to the high mark"},
		{1, 0, "above the low mark"},
		{1, 1, "at the low mark some follow"},
		{0, 0, "no more than these"},
		{1, 1, "at the low mark again"},
		{4, 5, "nothing left: from the beginning"},
	} {
		for range step.done {
			done()
		}
		if got := next(); got != step.want {
			t.Errorf("%s: %d messages, want %d; %d in flight", step.why, got, step.want, len(flying))
		}
	}
	s.SetLimits(Limits{})
	if got := next(); got != messages-12 {
		t.Errorf("%d messages without limits, want the rest", got)
	}
}

// Mail that waits because a destination was down is due as soon as it is up, in portions.
func TestReached(t *testing.T) {
	c := newClock()
	s := New(Limits{}, c.now)
	const n = 250
	for m := uint32(1); m <= n; m++ {
		e := Entry{ID: id(m, 1), Kind: Relay, Group: "a", Due: c.t.Add(time.Hour + time.Duration(m)*time.Second), Unreached: true}
		mustAdd(t, s, e)
		e.ID, e.Unreached = id(1000+m, 1), false // refused by the server itself
		mustAdd(t, s, e)
		e.ID, e.Group, e.Unreached = id(2000+m, 1), "b", true
		mustAdd(t, s, e)
	}
	if got := s.Reached(Relay, "a", 100); got != n {
		t.Errorf("%d are due, want %d", got, n)
	}
	for i, want := range []int{100, 100, 50, 0} {
		got := handOut(s)
		if len(got) > 1 || got[fmt.Sprint(Relay, "a")] != want {
			t.Errorf("after %d seconds: %v, want %d", i, got, want)
		}
		c.advance(time.Second)
	}
	if got := s.Reached(Relay, "a", 100) + s.Reached(Relay, "nobody", 100) + s.Reached(Local, "b", 100); got != 0 {
		t.Errorf("%d are due again", got)
	}
	if got := s.Reached(Relay, "b", 0); got != 0 || len(handOut(s)) != 0 {
		t.Errorf("%d are due though none may be", got)
	}
}

func TestParkUntilUpdate(t *testing.T) {
	c := newClock()
	s := New(Limits{}, c.now)
	e := Entry{ID: id(1, 1), Kind: Relay, Group: "gone", Expires: c.t.Add(time.Hour)}
	mustAdd(t, s, e)
	s.Next(1)
	if s.Update(e) {
		t.Error("changed in flight")
	}
	if !s.Park(e.ID, NoAction) || s.Park(id(9, 9), NoAction) {
		t.Error("park does not say whether it knows the envelope")
	}
	info, _ := s.Get(e.ID)
	if info.Reason != NoAction || !info.Held || info.State != Pending || s.Schedule(All()) != 0 || s.Counts().Held != 1 {
		t.Errorf("%+v %+v", info, s.Counts())
	}
	e.Kind, e.Group, e.Due = Local, "here", c.t
	if !s.Update(e) || s.Update(Entry{ID: id(9, 9)}) {
		t.Error("update does not say whether it knows the envelope")
	}
	if b := s.Next(1); len(b) != 1 || b[0].Kind != Local || b[0].Group != "here" || s.Groups() != 1 || s.Counts().Held != 0 {
		t.Errorf("%+v", b)
	}
	s.Park(e.ID, OtherKind)
	c.advance(time.Hour)
	if b := s.Next(1); len(b) != 1 || !b[0].Expired {
		t.Errorf("at its end: %+v", b)
	}
	s.Done(e.ID)
	mustAdd(t, s, Entry{ID: id(2, 1), Group: "u", Expires: c.t.Add(-time.Hour), Reason: NoKey})
	c.advance(365 * 24 * time.Hour)
	if b := s.Next(1); len(b) != 0 {
		t.Errorf("what cannot be read expires: %+v", b)
	}
}

func TestClockLeaps(t *testing.T) {
	c := newClock()
	var ahead time.Duration
	s := New(Limits{}, c.now)
	last := c.t
	s.wall = func(u time.Time) time.Time {
		if u.Equal(last) {
			return u
		}
		return u.Add(ahead)
	}
	for m := uint32(1); m <= 100; m++ {
		mustAdd(t, s, Entry{ID: id(m, 1), Group: "u", Due: c.t.Add(time.Duration(101-m) * time.Hour), Expires: c.t.Add(96 * time.Hour)})
	}
	step := func(d, leap time.Duration) int {
		last = c.t
		c.advance(d)
		ahead = leap
		n := 0
		for _, b := range s.Next(1000) {
			if b.Expired {
				t.Errorf("a leap of %v makes mail expire: %v", leap, b)
			}
			n += len(b.IDs)
		}
		last = c.t
		ahead = 0
		return n
	}
	if n := step(time.Second, -24*time.Hour); n != 0 {
		t.Errorf("set back a day: %d are due", n)
	}
	if n := step(time.Second, 2*time.Hour+30*time.Minute); n != 2 {
		t.Errorf("asleep for two hours: %d are due, want 2", n)
	}
	if n := step(time.Second, 10*365*24*time.Hour); n != 98 {
		t.Errorf("set forward ten years: %d are due", n)
	}
	if left := s.Counts().Pending; left != s.Counts().Envelopes-s.Counts().Inflight {
		t.Errorf("%+v", s.Counts())
	}
}
