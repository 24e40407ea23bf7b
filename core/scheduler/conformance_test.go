package scheduler

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

// conformant is one implementation under the suite.
type conformant struct {
	name string
	open func(t *testing.T, l Limits) Backend
}

func conformants() []conformant {
	return []conformant{
		{"ramqueue", func(_ *testing.T, l Limits) Backend { return New(l, time.Now) }},
		{"program", func(t *testing.T, l Limits) Backend { return openSelf(t, l, "") }},
	}
}

func TestConformance(t *testing.T) {
	for _, c := range conformants() {
		t.Run(c.name, func(t *testing.T) {
			for name, test := range map[string]func(*testing.T, conformant){
				"batches": testBatches, "later": testLater, "retry": testRetry, "suspend": testSuspend, "pause": testPause,
				"expiry": testExpiry, "held": testHeld, "limit": testLimit, "reached": testReached, "remove": testRemove,
			} {
				t.Run(name, func(t *testing.T) { test(t, c) })
			}
		})
	}
}

// now is an envelope that is due.
func now(id envelope.ID) Entry { return Entry{ID: id, Kind: Relay, Group: "out\x00example.org"} }

// await waits until n envelopes were handed out.
func await(t *testing.T, s Backend, n int) (batches []Batch) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); n > 0; time.Sleep(time.Millisecond) {
		for _, b := range s.Next(1000) {
			batches = append(batches, b)
			n -= len(b.IDs)
		}
		if time.Now().After(end) {
			t.Fatalf("%d envelopes were not handed out, only %v", n, batches)
		}
	}
	if n < 0 {
		t.Fatalf("%d envelopes too many: %v", -n, batches)
	}
	return batches
}

// only checks that of all that there is nothing is handed out but a new envelope.
func only(t *testing.T, s Backend) {
	t.Helper()
	marker := id(0xffff, 1)
	s.Add(Entry{ID: marker, Kind: Bounce, Group: "marker"})
	if got := ids(await(t, s, 1)); got[0] != marker {
		t.Errorf("%v was handed out", got)
	}
	s.Done(marker)
}

func ids(batches []Batch) (all []envelope.ID) {
	for _, b := range batches {
		all = append(all, b.IDs...)
	}
	slices.Sort(all)
	return all
}

func testBatches(t *testing.T, c conformant) {
	s := c.open(t, Limits{})
	if s.Add(Entry{}) || s.Add(Entry{ID: 1, Kind: kinds}) {
		t.Error("no envelope was added")
	}
	n := s.AddAll([]Entry{now(id(1, 1)), now(id(1, 2)), now(id(1, 2)), {ID: id(1, 3), Kind: Local, Group: "box\x00ann"}})
	if n != 3 {
		t.Errorf("%d were added", n)
	}
	batches := await(t, s, 3)
	slices.SortFunc(batches, func(a, b Batch) int { return int(b.Kind) - int(a.Kind) })
	want := fmt.Sprint([]Batch{{Relay, "out\x00example.org", 1, []envelope.ID{id(1, 1), id(1, 2)}, false},
		{Local, "box\x00ann", 1, []envelope.ID{id(1, 3)}, false}})
	if got := fmt.Sprint(batches); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if n := s.Counts(); n.Envelopes != 3 || n.Inflight != 3 || n.Messages != 1 {
		t.Errorf("%+v", n)
	}
	if s.Add(now(id(1, 1))) {
		t.Error("added what is in flight")
	}
	for _, i := range ids(batches) {
		s.Done(i)
	}
	if n := s.Counts(); n != (Counts{}) {
		t.Errorf("%+v", n)
	}
	only(t, s)
}

func testLater(t *testing.T, c conformant) {
	s := c.open(t, Limits{})
	e := now(id(1, 1))
	e.Due = time.Now().Add(time.Hour)
	s.Add(e)
	only(t, s)
	if list := s.List(All(), 10); len(list) != 1 || list[0].State != Pending || list[0].Wait < 50*time.Minute || list[0].Group != e.Group {
		t.Errorf("%+v", list)
	}
	if n := s.Schedule(All()); n != 1 {
		t.Errorf("scheduled %d", n)
	}
	await(t, s, 1)
	if list := s.List(All(), 10); len(list) != 1 || list[0].State != Inflight {
		t.Errorf("%+v", list)
	}
}

func testRetry(t *testing.T, c conformant) {
	s := c.open(t, Limits{})
	s.Add(now(id(1, 1)))
	for range 3 {
		await(t, s, 1)
		if !s.Retry(id(1, 1), time.Now().Add(20*time.Millisecond), false) {
			t.Fatal("not taken back")
		}
	}
	await(t, s, 1)
	if s.Retry(id(9, 9), time.Now(), false) {
		t.Error("an unknown one was taken back")
	}
}

func testRemove(t *testing.T, c conformant) {
	s := c.open(t, Limits{})
	s.Add(now(id(1, 1)))
	await(t, s, 1)
	later := now(id(1, 2))
	later.Due = time.Now().Add(time.Hour)
	s.Add(later)
	gone, doom := s.Remove(Of(1))
	if len(gone) != 1 || gone[0] != id(1, 2) || len(doom) != 1 || doom[0] != id(1, 1) || !s.Doomed(id(1, 1)) {
		t.Errorf("gone %v, doomed %v", gone, doom)
	}
	if s.Retry(id(1, 1), time.Now(), false) {
		t.Error("taken back though it was removed")
	}
	only(t, s)
	if n := s.Counts(); n != (Counts{}) {
		t.Errorf("%+v", n)
	}
}

func testSuspend(t *testing.T, c conformant) {
	s := c.open(t, Limits{})
	later := now(id(1, 1))
	later.Due = time.Now().Add(time.Hour)
	s.Add(later)
	s.Add(now(id(2, 1)))
	await(t, s, 1)
	if n := s.Suspend(All()); n != 2 {
		t.Errorf("suspended %d", n)
	}
	s.Schedule(All())
	s.Retry(id(2, 1), time.Now(), false)
	only(t, s)
	if n := s.Counts(); n.Suspended != 2 {
		t.Errorf("%+v", n)
	}
	if n := s.Resume(Of(2)); n != 1 {
		t.Errorf("resumed %d", n)
	}
	if got := ids(await(t, s, 1)); got[0] != id(2, 1) {
		t.Errorf("got %v", got)
	}
	only(t, s)
}

func testPause(t *testing.T, c conformant) {
	s := c.open(t, Limits{})
	if !s.Pause(Relay) || s.Pause(Relay) || !s.Paused(Relay) {
		t.Error("not paused")
	}
	s.Add(now(id(1, 1)))
	only(t, s)
	if !s.Unpause(Relay) || s.Unpause(Relay) {
		t.Error("still paused")
	}
	await(t, s, 1)
}

func testExpiry(t *testing.T, c conformant) {
	s := c.open(t, Limits{})
	over, soon := now(id(1, 1)), now(id(2, 1))
	over.Due = time.Now().Add(time.Hour)
	over.Expires = time.Now().Add(-time.Hour)
	soon.Due = time.Now().Add(time.Hour)
	soon.Expires = time.Now().Add(30 * time.Millisecond)
	s.Add(over)
	s.Add(soon)
	for _, b := range await(t, s, 2) {
		if !b.Expired {
			t.Errorf("%+v has not expired", b)
		}
	}
}

func testHeld(t *testing.T, c conformant) {
	s := c.open(t, Limits{})
	held := now(id(1, 1))
	held.Reason = NoAction
	s.Add(held)
	s.Add(now(id(2, 1)))
	await(t, s, 1)
	s.Park(id(2, 1), NoAction)
	only(t, s)
	for _, i := range []envelope.ID{id(1, 1), id(2, 1)} {
		if !s.Update(now(i)) {
			t.Errorf("%v not updated", i)
		}
	}
	await(t, s, 2)
	if s.Update(now(id(1, 1))) {
		t.Error("updated in flight")
	}
}

func testLimit(t *testing.T, c conformant) {
	s := c.open(t, Limits{Inflight: 10})
	for n := range uint32(30) {
		s.Add(Entry{ID: id(n+1, 1), Kind: Relay, Group: fmt.Sprint(n)})
	}
	end := time.Now().Add(20 * time.Second)
	for left := 30; left > 0 && !t.Failed(); {
		if time.Now().After(end) {
			t.Fatalf("%d were not handed out", left)
		}
		for _, b := range s.Next(1000) {
			if n := s.Counts().Inflight; n > 10 {
				t.Fatalf("%d are in flight", n)
			}
			for _, i := range b.IDs {
				s.Done(i)
				left--
			}
		}
	}
}

func testReached(t *testing.T, c conformant) {
	s := c.open(t, Limits{})
	s.Add(now(id(1, 1)))
	s.Add(Entry{ID: id(2, 1), Kind: Relay, Group: "other"})
	await(t, s, 2)
	for m := range envelope.MessageID(2) {
		s.Retry(envelope.NewID(m+1, 1), time.Now().Add(time.Hour), true)
	}
	only(t, s)
	if n := s.Reached(Relay, "out\x00example.org", 10); n != 1 {
		t.Errorf("%d are due", n)
	}
	if got := ids(await(t, s, 1)); got[0] != id(1, 1) {
		t.Errorf("got %v", got)
	}
	only(t, s)
}

func TestNull(t *testing.T) {
	s := NewNull(time.Now)
	s.Add(now(id(1, 1)))
	if b := s.Next(10); len(b) > 0 || !s.NextWake().IsZero() {
		t.Errorf("handed out %v", b)
	}
	if list := s.List(All(), 10); len(list) != 1 {
		t.Errorf("%+v", list)
	}
	if gone, _ := s.Remove(All()); len(gone) != 1 {
		t.Errorf("removed %v", gone)
	}
}
