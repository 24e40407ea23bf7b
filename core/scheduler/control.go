package scheduler

import (
	"math"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

// Counts says how many there are.
type Counts struct {
	Envelopes int // the sum of the five states that follow
	Pending   int
	Ready     int
	Expired   int
	Inflight  int
	Suspended int // not those that are still in flight
	Held      int // for a reason, whatever their state
	Messages  int
}

// Counts gives the numbers of now.
func (s *Scheduler) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// Groups gives the number of users and destinations with envelopes.
func (s *Scheduler) Groups() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.groups.number)
}

// Pause stops handing out envelopes of a kind. It gives false when it was paused already.
func (s *Scheduler) Pause(kind Kind) bool { return s.setPaused(kind, true) }

// Unpause goes on handing out envelopes of a kind. It gives false when it was not paused.
func (s *Scheduler) Unpause(kind Kind) bool { return s.setPaused(kind, false) }

// Paused reports whether envelopes of a kind are not handed out.
func (s *Scheduler) Paused(kind Kind) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return kind < kinds && s.paused[kind]
}

func (s *Scheduler) setPaused(kind Kind, on bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kind >= kinds || s.paused[kind] == on {
		return false
	}
	s.paused[kind] = on
	return true
}

// slotsOf gives the slots in a range that satisfy f.
func (s *Scheduler) slotsOf(r Range, f func(e *entry) bool) []uint32 {
	var slots []uint32
	s.index.ascend(r.First, r.Last, func(_ envelope.ID, slot uint32) bool {
		if f(s.at(slot)) {
			slots = append(slots, slot)
		}
		return true
	})
	return slots
}

// Suspend keeps envelopes from being tried, and from expiring, until Resume. One that is in
// flight is suspended if it comes back. It gives how many were not suspended before.
func (s *Scheduler) Suspend(r Range) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	slots := s.slotsOf(r, func(e *entry) bool { return e.flags&suspended == 0 })
	for _, slot := range slots {
		e := s.at(slot)
		e.flags |= suspended
		if e.state != Inflight {
			s.leave(slot)
			s.wait(slot)
		}
	}
	return len(slots)
}

// Resume ends Suspend. An attempt that was due meanwhile is due now.
func (s *Scheduler) Resume(r Range) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now()
	slots := s.slotsOf(r, func(e *entry) bool { return e.flags&suspended != 0 })
	for _, slot := range slots {
		e := s.at(slot)
		e.flags &^= suspended
		if e.state == Parked {
			s.leave(slot)
			s.wait(slot)
		}
	}
	return len(slots)
}

// Schedule makes envelopes due now. It leaves those alone that are suspended, held, in flight
// or due already, and gives how many are left.
func (s *Scheduler) Schedule(r Range) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	slots := s.slotsOf(r, func(e *entry) bool { return e.state == Pending && e.reason == NoHold })
	for _, slot := range slots {
		s.leave(slot)
		s.set(s.at(slot), now)
		s.wait(slot)
	}
	return len(slots)
}

// Doomed reports whether Remove was called for an envelope while it was in flight: nothing
// more is to be done about it than to delete it.
func (s *Scheduler) Doomed(id envelope.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	slot, known := s.index.get(id)
	return known && s.at(slot).flags&doomed != 0
}

// Remove forgets envelopes. Those that are in flight are doomed instead: Retry gives false
// for them.
func (s *Scheduler) Remove(r Range) (gone, doom []envelope.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, slot := range s.slotsOf(r, func(e *entry) bool { return e.flags&doomed == 0 }) {
		e := s.at(slot)
		if e.state == Inflight {
			e.flags |= doomed
			doom = append(doom, e.id)
			continue
		}
		gone = append(gone, e.id)
		s.drop(slot)
	}
	return gone, doom
}

// Info is what is known of an envelope.
type Info struct {
	ID        envelope.ID
	Kind      Kind
	Group     string
	State     State
	Suspended bool
	Reason    Reason        // why it is held
	Held      bool          // it has a reason, the kind is paused or the group has enough in flight
	Wait      time.Duration // Inflight: since when; otherwise until it is due, or zero
}

// Get gives what is known of an envelope.
func (s *Scheduler) Get(id envelope.ID) (Info, bool) {
	infos := s.List(One(id), 1)
	if len(infos) == 0 {
		return Info{}, false
	}
	return infos[0], true
}

// List gives up to most envelopes of a range in the order of their ids. The next page begins
// after the last of them: Range{last.ID + 1, r.Last}.
func (s *Scheduler) List(r Range, most int) []Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := int64(s.now())
	infos := make([]Info, 0, min(most, s.counts.Envelopes, 256))
	s.index.ascend(r.First, r.Last, func(id envelope.ID, slot uint32) bool {
		if len(infos) >= most {
			return false
		}
		e := s.at(slot)
		g := s.groups.at(e.group)
		wait := max(e.due-now, 0)
		switch {
		case e.state == Inflight:
			wait = max(now-e.due, 0)
		case e.due == math.MaxInt64:
			wait = 0
		}
		infos = append(infos, Info{
			ID: id, Kind: g.kind, Group: g.name, State: e.state,
			Suspended: e.flags&suspended != 0,
			Reason:    e.reason,
			Held:      e.reason != NoHold || !g.tasks.open() || s.paused[g.kind],
			Wait:      time.Duration(wait),
		})
		return true
	})
	return infos
}
