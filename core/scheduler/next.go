package scheduler

import (
	"slices"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

// siblings bounds how many recipients of a message are looked at to fill a batch.
const siblings = 1000

// Next hands out envelopes that are due, in batches, until there are enough: first those
// whose time is over, then the kinds and in each kind the groups take turns. The last
// batch is whole, so there can be more than enough. Each envelope stays in flight until
// Done or Retry is called for it.
func (s *Scheduler) Next(enough int) []Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance()
	var batches []Batch
	for enough > 0 && s.expired.head != none {
		b := s.take(s.expired.head, s.limits.Batch)
		b.Expired = true
		batches = append(batches, b)
		enough -= len(b.IDs)
	}
	for enough > 0 {
		n, ok := s.pick()
		if !ok {
			break
		}
		g := s.groups.at(n)
		b := s.take(g.ready.head, s.room(g))
		g.queued = false
		s.offer(n)
		batches = append(batches, b)
		enough -= len(b.IDs)
	}
	return batches
}

// atOnce bounds how many entries are put in line by one call: all others wait for the lock meanwhile.
const atOnce = 1000

// advance puts pending entries in line whose time has come, the earliest first and those of a message together.
// What is left waits for the next call, which NextWake sees to.
func (s *Scheduler) advance() {
	s.now()
	var last envelope.MessageID
	for n := 0; s.overdue(); n++ {
		slot := s.heap[0]
		message := s.at(slot).id.Message()
		if n >= atOnce && message != last {
			return
		}
		last = message
		s.leave(slot)
		s.ready(slot)
	}
}

// overdue reports whether the time of a pending entry has come.
func (s *Scheduler) overdue() bool { return len(s.heap) > 0 && s.at(s.heap[0]).due <= int64(s.elapsed) }

// pick gives the group whose turn it is; it stays marked as queued.
func (s *Scheduler) pick() (uint32, bool) {
	for range lanes {
		s.laneTurn = (s.laneTurn + 1) % lanes
		l, t := laneOf(s.laneTurn), &s.turns[s.laneTurn]
		if s.paused[l.kind] || s.places(l) <= 0 {
			continue
		}
		for range t.len() {
			seat := t.pop()
			g, ok := s.seated(seat)
			switch {
			case !ok:
			case !s.eligible(g):
				g.queued = false
			case s.room(g) > 0:
				return seat.group, true
			default:
				t.push(seat)
			}
		}
	}
	return 0, false
}

// take hands out the entry in slot and up to most in all of its message, group and state.
func (s *Scheduler) take(slot uint32, most int) Batch {
	head := s.at(slot)
	g := s.groups.at(head.group)
	id, state, number := head.id, head.state, head.group
	b := Batch{Kind: g.kind, Group: g.name, Message: id.Message()}
	var slots []uint32
	seen, last := 0, envelope.ID(0)
	collect := func(id envelope.ID, slot uint32) bool {
		seen, last = seen+1, id
		if e := s.at(slot); e.state == state && e.group == number {
			slots = append(slots, slot)
			b.IDs = append(b.IDs, id)
		}
		return len(slots) < most && seen < siblings
	}
	all := Of(b.Message)
	s.index.ascend(all.First, all.Last, collect)
	if len(slots) < most && last < id {
		// A message with very many recipients: those before the head were looked at in vain.
		seen = 0
		s.index.ascend(max(id, last+1), all.Last, collect)
	}
	for _, slot := range slots {
		s.launch(slot)
	}
	return b
}

// NextWake gives the time when Next has something to hand out, which may be now. The zero
// time says that this depends on what is done before.
func (s *Scheduler) NextWake() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance()
	if s.expired.head != none || s.overdue() || s.runnable() {
		return s.last
	}
	if len(s.heap) == 0 {
		return time.Time{}
	}
	return s.last.Add(time.Duration(s.at(s.heap[0]).due) - s.elapsed)
}

func (s *Scheduler) runnable() bool {
	for n := range s.turns {
		l, t := laneOf(n), &s.turns[n]
		if s.paused[l.kind] || s.places(l) <= 0 {
			continue
		}
		if slices.ContainsFunc(t.ring[t.first:], func(x seat) bool {
			g, ok := s.seated(x)
			return ok && s.eligible(g) && s.room(g) > 0
		}) {
			return true
		}
	}
	return false
}
