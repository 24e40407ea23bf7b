package scheduler

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

// modelEntry is an envelope as a reader of the documentation would keep it.
type modelEntry struct {
	kind                        Kind
	group                       string
	due, expires                time.Time
	inflight, suspended, doomed bool
	unreached                   bool
	reason                      Reason
}

// at gives when an entry is handed out.
func (e *modelEntry) at() time.Time {
	switch {
	case e.reason == NoKey:
		return e.due.AddDate(100, 0, 0)
	case e.reason != NoHold || e.expires.Before(e.due):
		return e.expires
	}
	return e.due
}

type model struct {
	entries map[envelope.ID]*modelEntry
	paused  map[Kind]bool
}

// free gives the places that there are for a group.
func (m *model) free(limits Limits, kind Kind, group string) int {
	own, suspect := limits.Inflight/share, map[string]bool{}
	for _, e := range m.entries {
		if e.unreached {
			suspect[key(e.kind, e.group)] = true
		}
	}
	free, suspects, flight := limits.Inflight, 0, map[Kind]int{}
	for _, e := range m.entries {
		if e.inflight {
			free--
			flight[e.kind]++
			if suspect[key(e.kind, e.group)] {
				suspects++
			}
		}
	}
	for k := range kinds {
		if k != kind {
			free -= max(0, own-flight[k])
		}
	}
	if suspect[key(kind, group)] {
		free = min(free, max(1, (limits.Inflight-2*own)/2)-suspects)
	}
	return free
}

func (m *model) groupSize(kind Kind, group string, f func(*modelEntry) bool) (n int) {
	for _, e := range m.entries {
		if e.kind == kind && e.group == group && f(e) {
			n++
		}
	}
	return n
}

func flying(e *modelEntry) bool   { return e.inflight }
func resting(e *modelEntry) bool  { return !e.inflight }
func key(k Kind, g string) string { return fmt.Sprint(k, g) }

// TestModel does random things to a scheduler and to the model, and compares.
func TestModel(t *testing.T) {
	for seed := range uint64(30) {
		runModel(t, rand.New(rand.NewPCG(seed, 1)))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func runModel(t *testing.T, r *rand.Rand) {
	c := newClock()
	limits := Limits{Inflight: 2 + r.IntN(40), PerGroup: 1 + r.IntN(20), Batch: 1 + r.IntN(10)}
	s := New(limits, c.now)
	m := &model{map[envelope.ID]*modelEntry{}, map[Kind]bool{}}
	randomID := func() envelope.ID { return id(1+r.Uint32N(12), 1+r.Uint32N(8)) }
	randomRange := func() Range {
		switch r.IntN(8) {
		case 0:
			return All()
		case 1, 2:
			return Of(randomID().Message())
		}
		return One(randomID())
	}
	inRange := func(rg Range, f func(*modelEntry) bool) (ids []envelope.ID) {
		for i, e := range m.entries {
			if i >= rg.First && i <= rg.Last && f(e) {
				ids = append(ids, i)
			}
		}
		slices.Sort(ids)
		return ids
	}
	forget := func(i envelope.ID) { delete(m.entries, i) }
	randomEntry := func() *modelEntry {
		e := &modelEntry{kind: Kind(r.IntN(3)), group: fmt.Sprint(r.IntN(3)), unreached: r.IntN(8) == 0, suspended: r.IntN(20) == 0}
		e.due = c.t.Add(time.Duration(r.IntN(200)-60) * time.Second)
		e.expires = c.t.Add(time.Duration(r.IntN(600)-30) * time.Second)
		if r.IntN(10) == 0 {
			e.reason = Reason(r.IntN(int(reasons)))
		}
		return e
	}
	described := func(i envelope.ID, e *modelEntry) Entry {
		return Entry{ID: i, Kind: e.kind, Group: e.group, Due: e.due, Expires: e.expires, Reason: e.reason,
			Suspended: e.suspended, Unreached: e.unreached}
	}
	for step := 0; step < 600 && !t.Failed(); step++ {
		switch op := r.IntN(16); op {
		case 0, 1, 2:
			e, i := randomEntry(), randomID()
			_, known := m.entries[i]
			if s.Add(described(i, e)) == known {
				t.Errorf("add %v, known %v", i, known)
			}
			if !known {
				m.entries[i] = e
			}
		case 3:
			e, i := randomEntry(), randomID()
			old := m.entries[i]
			can := old != nil && !old.inflight
			if s.Update(described(i, e)) != can {
				t.Errorf("update %v: %v", i, !can)
			}
			if can {
				m.entries[i] = e
			}
		case 4, 5, 6, 7:
			checkNext(t, s, m, limits, c.t, 1+r.IntN(20))
		case 8, 9:
			for _, i := range inRange(All(), flying) {
				switch e := m.entries[i]; r.IntN(4) {
				case 0:
					s.Done(i)
					forget(i)
				case 1:
					due := c.t.Add(time.Duration(r.IntN(100)) * time.Second)
					if s.Retry(i, due, r.IntN(2) == 0) == e.doomed {
						t.Errorf("retry %v, doomed %v", i, e.doomed)
					}
					e.unreached = s.marked(i)
					if e.inflight, e.due = false, due; e.doomed {
						forget(i)
					}
				case 2:
					why := Reason(1 + r.IntN(int(reasons)-1))
					if s.Park(i, why) == e.doomed {
						t.Errorf("park %v, doomed %v", i, e.doomed)
					}
					if e.inflight, e.reason = false, why; e.doomed {
						forget(i)
					}
				}
			}
		case 10:
			rg := randomRange()
			want := inRange(rg, func(e *modelEntry) bool { return !e.suspended })
			if got := s.Suspend(rg); got != len(want) {
				t.Errorf("suspended %d, want %d", got, len(want))
			}
			for _, i := range want {
				m.entries[i].suspended = true
			}
		case 11:
			rg := randomRange()
			want := inRange(rg, func(e *modelEntry) bool { return e.suspended })
			if got := s.Resume(rg); got != len(want) {
				t.Errorf("resumed %d, want %d", got, len(want))
			}
			for _, i := range want {
				m.entries[i].suspended = false
			}
		case 12:
			rg := randomRange()
			gone, doom := s.Remove(rg)
			wantDoom := inRange(rg, func(e *modelEntry) bool { return e.inflight && !e.doomed })
			if !slices.Equal(gone, inRange(rg, resting)) || !slices.Equal(doom, wantDoom) {
				t.Errorf("removed %v %v", gone, doom)
			}
			for _, i := range gone {
				forget(i)
			}
			for _, i := range doom {
				m.entries[i].doomed = true
			}
		case 13:
			kind := Kind(r.IntN(3))
			if m.paused[kind] = !m.paused[kind]; m.paused[kind] {
				s.Pause(kind)
			} else {
				s.Unpause(kind)
			}
		case 14:
			kind, group := Kind(r.IntN(3)), fmt.Sprint(r.IntN(3))
			want := inRange(All(), func(e *modelEntry) bool { return e.kind == kind && e.group == group && e.unreached })
			s.Reached(kind, group, 1000)
			for _, i := range want {
				e := m.entries[i]
				if e.unreached = false; !e.inflight && !e.suspended && e.reason == NoHold && e.at().After(c.t) {
					e.due = c.t
				}
			}
		case 15:
			c.advance(time.Duration(r.IntN(90)) * time.Second)
		}
		compare(t, s, m, c.t)
	}
}

// checkNext checks what is handed out, and that nothing else could have been.
func checkNext(t *testing.T, s *Scheduler, m *model, limits Limits, now time.Time, most int) {
	wake := s.NextWake()
	batches := s.Next(most)
	if (len(batches) > 0) != (!wake.IsZero() && !wake.After(now)) {
		t.Errorf("woken at %v, now %v: %v", wake, now, batches)
	}
	handed := 0
	for _, b := range batches {
		if len(b.IDs) == 0 || len(b.IDs) > limits.Batch || !slices.IsSorted(b.IDs) {
			t.Errorf("odd batch %v", b)
		}
		for _, i := range b.IDs {
			e := m.entries[i]
			if e == nil || e.inflight || e.suspended || i.Message() != b.Message || e.kind != b.Kind || e.group != b.Group {
				t.Fatalf("%v: %+v in batch %+v", i, e, b)
			}
			if b.Expired != !e.at().Before(e.expires) {
				t.Errorf("%v: expired %v, %+v", i, b.Expired, e)
			}
			if e.at().After(now) || !b.Expired && m.paused[e.kind] {
				t.Errorf("%v must not go: %+v", i, e)
			}
			e.inflight = true
			handed++
		}
		if !b.Expired && m.groupSize(b.Kind, b.Group, flying) > limits.PerGroup {
			t.Errorf("group %v is over its limit", b.Group)
		}
	}
	if n := len(batches); n > 0 && handed-len(batches[n-1].IDs) >= most {
		t.Errorf("%d handed out when %d were enough", handed, most)
	}
	if handed >= most {
		return
	}
	for i, e := range m.entries {
		due := !e.inflight && !e.suspended && !e.at().After(now)
		flight := m.groupSize(e.kind, e.group, flying)
		if due && !m.paused[e.kind] && e.at().Before(e.expires) &&
			flight < limits.PerGroup && flight < m.free(limits, e.kind, e.group) {
			t.Errorf("%v was left behind: %+v", i, e)
		}
	}
}

// marked says what the scheduler keeps of the last attempt.
func (s *Scheduler) marked(i envelope.ID) bool {
	slot, ok := s.index.get(i)
	return ok && s.at(slot).flags&unreached != 0
}

// compare checks every entry, the order of the list and the counts.
func compare(t *testing.T, s *Scheduler, m *model, now time.Time) {
	infos := s.List(All(), 1<<30)
	if len(infos) != len(m.entries) {
		t.Fatalf("%d entries, want %d", len(infos), len(m.entries))
	}
	messages := map[envelope.MessageID]bool{}
	var count Counts
	for n, info := range infos {
		e := m.entries[info.ID]
		if e == nil || n > 0 && infos[n-1].ID >= info.ID {
			t.Fatalf("odd list at %v", info.ID)
		}
		held := m.paused[e.kind] || e.reason != NoHold
		if info.Reason != NoHold {
			count.Held++
		}
		if info.Suspended != e.suspended || info.Held != held || info.Reason != e.reason || (info.State == Inflight) != e.inflight ||
			info.Kind != e.kind || info.Group != e.group {
			t.Errorf("%+v, want %+v", info, e)
		}
		messages[info.ID.Message()] = true
		switch info.State {
		case Pending:
			count.Pending++
		case Ready:
			count.Ready++
		case Expired:
			count.Expired++
		case Inflight:
			count.Inflight++
		case Parked:
			count.Suspended++
		}
	}
	count.Envelopes, count.Messages = len(infos), len(messages)
	if got := s.Counts(); got != count {
		t.Errorf("counts %+v, want %+v", got, count)
	}
}

func BenchmarkAddNext100k(b *testing.B) {
	c := newClock()
	r := rand.New(rand.NewPCG(1, 2))
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprintf("relay\x00d%d.example.org", i)
	}
	b.ReportAllocs()
	for b.Loop() {
		s := New(Limits{}, c.now)
		for range 100_000 {
			s.Add(Entry{ID: id(r.Uint32()|1, 1), Kind: Relay, Group: names[r.IntN(1000)],
				Due: c.t.Add(time.Duration(r.IntN(3600)) * time.Second)})
		}
		c.advance(time.Hour)
		for {
			batches := s.Next(1000)
			if len(batches) == 0 {
				break
			}
			for _, batch := range batches {
				for _, i := range batch.IDs {
					s.Done(i)
				}
			}
		}
	}
}

func BenchmarkListPage(b *testing.B) {
	c := newClock()
	s := New(Limits{}, c.now)
	for m := range uint32(100_000) {
		s.Add(Entry{ID: id(m+1, 1), Kind: Relay, Group: "out", Due: c.t.Add(time.Hour)})
	}
	b.ReportAllocs()
	for b.Loop() {
		for r := All(); ; {
			page := s.List(r, 1000)
			if len(page) == 0 {
				break
			}
			r.First = page[len(page)-1].ID + 1
		}
	}
}
