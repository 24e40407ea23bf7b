package scheduler

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

// testClock is a clock that the test moves.
type testClock struct{ t time.Time }

func newClock() *testClock { return &testClock{time.Unix(1_800_000_000, 0)} }

func (c *testClock) now() time.Time          { return c.t }
func (c *testClock) advance(d time.Duration) { c.t = c.t.Add(d) }

func id(m, n uint32) envelope.ID { return envelope.NewID(envelope.MessageID(m), n) }

func mustAdd(t *testing.T, s *Scheduler, e Entry) {
	t.Helper()
	if !s.Add(e) {
		t.Fatalf("%v was not added", e.ID)
	}
}

func TestRecipientsOfAMessageComeTogether(t *testing.T) {
	c := newClock()
	s := New(Limits{}, c.now)
	for n := uint32(1); n <= 3; n++ {
		for m := uint32(1); m <= 2; m++ {
			mustAdd(t, s, Entry{ID: id(m, n), Kind: Relay, Group: "out", Due: c.t.Add(time.Duration(m) * time.Minute)})
		}
	}
	mustAdd(t, s, Entry{ID: id(1, 9), Kind: Relay, Group: "elsewhere", Due: c.t.Add(time.Minute)})
	if b := s.Next(100); b != nil {
		t.Fatalf("something is due: %v", b)
	}
	if w := s.NextWake(); w != c.t.Add(time.Minute) {
		t.Fatalf("wakes at %v", w)
	}
	c.advance(2 * time.Minute)
	got := fmt.Sprint(s.Next(100))
	want := fmt.Sprint([]Batch{
		{Relay, "out", 1, []envelope.ID{id(1, 1), id(1, 2), id(1, 3)}, false},
		{Relay, "elsewhere", 1, []envelope.ID{id(1, 9)}, false},
		{Relay, "out", 2, []envelope.ID{id(2, 1), id(2, 2), id(2, 3)}, false},
	})
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if w := s.NextWake(); !w.IsZero() {
		t.Errorf("wakes at %v with all in flight", w)
	}
}

func TestGroupsTakeTurnsAndLeaveRoom(t *testing.T) {
	c := newClock()
	s := New(Limits{Inflight: 100, PerGroup: 80}, c.now)
	for m := uint32(1); m <= 1000; m++ {
		mustAdd(t, s, Entry{ID: id(m, 1), Kind: Relay, Group: "dead"})
	}
	if n := len(s.Next(1000)); n != 38 {
		t.Errorf("one group got %d of the 76 places that relaying can have", n)
	}
	for m := uint32(2001); m <= 2010; m++ {
		mustAdd(t, s, Entry{ID: id(m, 1), Kind: Relay, Group: "alive"})
	}
	batches := s.Next(1000)
	if len(batches) != 10 || batches[0].Group != "alive" {
		t.Errorf("got %d batches, want the 10 of the other group", len(batches))
	}
	if w := s.NextWake(); !w.IsZero() {
		t.Errorf("wakes at %v though nothing may go", w)
	}
	for _, b := range batches {
		s.Done(b.IDs[0])
	}
	for m := uint32(1); m <= 10; m++ {
		s.Done(id(m, 1))
	}
	if n := len(s.Next(1000)); n != 10 {
		t.Errorf("got %d batches after 10 places became free", n)
	}
}

func TestLocalIsNotBehindRelay(t *testing.T) {
	c := newClock()
	s := New(Limits{}, c.now)
	for m := uint32(1); m <= 500; m++ {
		mustAdd(t, s, Entry{ID: id(m, 1), Kind: Relay, Group: fmt.Sprint("d", m)})
	}
	mustAdd(t, s, Entry{ID: id(900, 1), Kind: Local, Group: "alice"})
	got := s.Next(2)
	if got[0].Kind == got[1].Kind {
		t.Errorf("got %v", got)
	}
}

func TestExpiredComesOnceAndDespitePause(t *testing.T) {
	c := newClock()
	s := New(Limits{}, c.now)
	s.Pause(Relay)
	mustAdd(t, s, Entry{ID: id(1, 1), Kind: Relay, Group: "g", Due: c.t.Add(3 * time.Hour), Expires: c.t.Add(time.Hour)})
	if w := s.NextWake(); w != c.t.Add(time.Hour) {
		t.Errorf("wakes at %v, not at the expiry", w)
	}
	c.advance(time.Hour)
	b := s.Next(10)
	if len(b) != 1 || !b[0].Expired {
		t.Fatalf("got %v", b)
	}
	s.Done(id(1, 1))
	if b := s.Next(10); b != nil || s.Counts() != (Counts{}) || s.Groups() != 0 {
		t.Errorf("left behind: %v %+v", b, s.Counts())
	}
}

func TestAttemptBeforeExpiryIsMadeHoweverLate(t *testing.T) {
	c := newClock()
	s := New(Limits{}, c.now)
	mustAdd(t, s, Entry{ID: id(1, 1), Group: "u", Due: c.t.Add(-48 * time.Hour), Expires: c.t.Add(-24 * time.Hour)})
	b := s.Next(1)
	if len(b) != 1 || b[0].Expired {
		t.Fatalf("got %v", b)
	}
	if !s.Retry(id(1, 1), c.t.Add(time.Hour), false) {
		t.Fatal("not taken back")
	}
	if b = s.Next(1); len(b) != 1 || !b[0].Expired {
		t.Fatalf("after the last attempt: %v", b)
	}
}

func TestPauseReasonSuspend(t *testing.T) {
	c := newClock()
	s := New(Limits{}, c.now)
	e := Entry{ID: id(1, 1), Kind: Local, Group: "alice"}
	mustAdd(t, s, e)
	if s.Add(e) || s.Add(Entry{}) || s.Add(Entry{ID: 5, Kind: 9}) {
		t.Error("added what it must not")
	}
	steps := []struct {
		name    string
		on, off func()
	}{
		{"pause", func() { s.Pause(Local) }, func() { s.Unpause(Local) }},
		{"reason", func() { e.Reason = NoAction; s.Update(e) }, func() { e.Reason = NoHold; s.Update(e) }},
		{"suspend", func() { s.Suspend(Of(1)) }, func() { s.Resume(All()) }},
	}
	for _, step := range steps {
		step.on()
		if b := s.Next(10); b != nil || s.NextWake().Equal(c.t) {
			t.Errorf("%s: got %v", step.name, b)
		}
		info, _ := s.Get(id(1, 1))
		if info.Held == info.Suspended {
			t.Errorf("%s: %+v", step.name, info)
		}
		step.off()
		if w := s.NextWake(); w != c.t {
			t.Errorf("%s: wakes at %v", step.name, w)
		}
		if b := s.Next(10); len(b) != 1 {
			t.Errorf("%s ended: got %v", step.name, b)
		}
		s.Retry(id(1, 1), c.t, false)
	}
	if !s.Pause(Relay) || s.Pause(Relay) || !s.Unpause(Relay) || s.Unpause(Relay) {
		t.Error("Pause does not say what it changed")
	}
}

func TestInflightCanBeSuspendedAndRemoved(t *testing.T) {
	c := newClock()
	s := New(Limits{}, c.now)
	for n := uint32(1); n <= 3; n++ {
		mustAdd(t, s, Entry{ID: id(1, n), Group: "u"})
	}
	s.Next(10)
	c.advance(7 * time.Second)
	if info, _ := s.Get(id(1, 1)); info.State != Inflight || info.Wait != 7*time.Second {
		t.Errorf("got %+v", info)
	}
	if n := s.Suspend(One(id(1, 1))); n != 1 {
		t.Errorf("suspended %d", n)
	}
	if gone, doom := s.Remove(One(id(1, 2))); len(gone) != 0 || len(doom) != 1 {
		t.Errorf("removed %v %v", gone, doom)
	}
	for n, keep := range []bool{true, false, true} {
		if got := s.Retry(id(1, uint32(n+1)), c.t, false); got != keep {
			t.Errorf("retry of %d: %v", n+1, got)
		}
	}
	if b := s.Next(10); len(b) != 1 || !slices.Equal(b[0].IDs, []envelope.ID{id(1, 3)}) {
		t.Errorf("got %v", b)
	}
	want := Counts{Envelopes: 2, Inflight: 1, Suspended: 1, Messages: 1}
	if got := s.Counts(); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
}

func TestScheduleNow(t *testing.T) {
	c := newClock()
	s := New(Limits{}, c.now)
	for n := uint32(1); n <= 4; n++ {
		mustAdd(t, s, Entry{ID: id(1, n), Group: "u", Due: c.t.Add(time.Hour)})
	}
	s.Suspend(One(id(1, 4)))
	if n := s.Schedule(All()); n != 3 {
		t.Errorf("scheduled %d", n)
	}
	if b := s.Next(10); len(b) != 1 || len(b[0].IDs) != 3 {
		t.Errorf("got %v", b)
	}
}

// A clock that jumps must not put mail off for longer than MaxWait.
func TestClockSteps(t *testing.T) {
	const years = 70 * 365 * 24 * time.Hour
	c := newClock()
	s := New(Limits{}, c.now)
	mustAdd(t, s, Entry{ID: id(1, 1), Group: "u", Due: c.t.Add(years)})
	mustAdd(t, s, Entry{ID: id(2, 1), Group: "u", Due: time.Unix(1<<60, 0), Expires: time.Unix(1<<60, 0)})
	c.advance(-years) // the clock is set right
	c.advance(0)
	s.Next(0)
	c.advance(MaxWait + MaxWait/10)
	if b := s.Next(10); len(b) != 2 || b[0].Expired {
		t.Errorf("got %v", b)
	}
}

func TestListPages(t *testing.T) {
	c := newClock()
	s := New(Limits{}, c.now)
	const total = 3000
	for i := range uint32(total) {
		m := i*2654435761%total + 1 // all of them, in no order
		if !s.Add(Entry{ID: id(m, 1), Group: "u"}) {
			mustAdd(t, s, Entry{ID: id(m, i+2), Group: "u"})
		}
	}
	var seen []envelope.ID
	for r := All(); ; {
		page := s.List(r, 700)
		if len(page) == 0 {
			break
		}
		for _, info := range page {
			seen = append(seen, info.ID)
		}
		r.First = seen[len(seen)-1] + 1
	}
	if len(seen) != total || !slices.IsSorted(seen) {
		t.Errorf("%d listed, sorted: %v", len(seen), slices.IsSorted(seen))
	}
}

// A message with more recipients than are looked at for a batch is handed out all the same.
func TestHugeMessage(t *testing.T) {
	c := newClock()
	s := New(Limits{Inflight: 100_000, PerGroup: 100_000}, c.now)
	const total = 3500
	for n := uint32(1); n <= total; n++ {
		mustAdd(t, s, Entry{ID: id(1, n), Kind: Relay, Group: "g", Due: c.t.Add(time.Second)})
	}
	c.advance(time.Second)
	n, batches := 0, s.Next(total)
	for _, b := range batches {
		n += len(b.IDs)
	}
	if n != total || len(batches) != 4 {
		t.Errorf("%d envelopes in %d batches", n, len(batches))
	}
}

// What is due in one moment is put in line in parts, and no part is forgotten.
func TestManyDue(t *testing.T) {
	c := newClock()
	s := New(Limits{Inflight: 100_000, PerGroup: 100_000}, c.now)
	const total = 2*atOnce + 500
	for n := uint32(1); n <= total; n++ {
		mustAdd(t, s, Entry{ID: id(n, 1), Kind: Relay, Group: "g", Due: c.t.Add(time.Second)})
	}
	c.advance(time.Second)
	for _, want := range []int{atOnce, atOnce + 500, 0} { // NextWake puts in line what the second gives with its own
		got := len(s.Next(total))
		if ready := s.Counts().Ready; got != want || ready != 0 {
			t.Errorf("%d handed out and %d in line, want %d", got, ready, want)
		}
		if s.Counts().Pending > 0 && s.NextWake().After(c.t) {
			t.Error("what is due waits for a later time")
		}
	}
	if n := s.Counts().Inflight; n != total {
		t.Errorf("%d in flight", n)
	}
}
