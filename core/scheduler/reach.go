package scheduler

import (
	"cmp"
	"slices"
	"time"
)

// mark says whether the last attempt of an entry did not get as far as its destination.
func (s *Scheduler) mark(e *entry, on bool) {
	if on == (e.flags&unreached != 0) {
		return
	}
	g := s.groups.at(e.group)
	if on {
		e.flags |= unreached
		if g.unreached++; g.unreached == 1 {
			s.suspect += g.inflight
			s.move(e.group)
		}
		return
	}
	e.flags &^= unreached
	if g.unreached--; g.unreached == 0 {
		s.suspect -= g.inflight
		s.move(e.group)
	}
}

// Reached tells that a destination takes mail again. Those of its envelopes that wait because
// it did not are due: most of them now, and as many each second after that. It gives how
// many these are. With most not above zero they keep their times.
func (s *Scheduler) Reached(kind Kind, name string, most int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.groups.number[groupKey{kind, name}]
	if !ok || s.groups.at(n).unreached == 0 {
		return 0
	}
	now := s.now()
	var slots []uint32
	for slot := range uint32(len(s.slabs) * slabSize) {
		e := s.at(slot)
		if e.state == Free || e.group != n || e.flags&unreached == 0 {
			continue
		}
		s.mark(e, false)
		if e.state == Pending && e.reason == NoHold {
			slots = append(slots, slot)
		}
	}
	s.offer(n)
	if most <= 0 {
		return 0
	}
	slices.SortFunc(slots, func(a, b uint32) int {
		x, y := s.at(a), s.at(b)
		return cmp.Or(cmp.Compare(x.due, y.due), cmp.Compare(x.id, y.id))
	})
	for i, slot := range slots {
		due := now + time.Duration(i/most)*time.Second
		if s.at(slot).due <= int64(due) {
			continue
		}
		s.leave(slot)
		s.set(s.at(slot), due)
		s.wait(slot)
	}
	return len(slots)
}
