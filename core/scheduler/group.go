package scheduler

import "github.com/godwit-mta/godwit/core/envelope"

// line is a list of slots, linked through the entries.
type line struct{ head, tail uint32 }

func emptyLine() line { return line{none, none} }

func (s *Scheduler) enqueue(l *line, slot uint32) {
	e := s.at(slot)
	e.next, e.prev = none, l.tail
	if l.tail == none {
		l.head = slot
	} else {
		s.at(l.tail).next = slot
	}
	l.tail = slot
}

func (s *Scheduler) dequeue(l *line, slot uint32) {
	e := s.at(slot)
	if e.prev == none {
		l.head = e.next
	} else {
		s.at(e.prev).next = e.next
	}
	if e.next == none {
		l.tail = e.prev
	} else {
		s.at(e.next).prev = e.prev
	}
}

// group is a local user or a relay destination.
type group struct {
	kind      Kind
	queued    bool   // has a seat in the turns of its lane
	seat      uint32 // the number of the last seat that it had
	name      string
	members   int
	unreached int // members that are marked so
	inflight  int
	tasks     tasks
	ready     line
}

// task is a message with envelopes of a group in flight.
type task struct {
	group   uint32
	message envelope.MessageID
}

type groupKey struct {
	kind Kind
	name string
}

// groups numbers the groups, so that an entry has four octets for it.
type groups struct {
	all    []group
	free   []uint32
	number map[groupKey]uint32
}

func (gs *groups) at(n uint32) *group { return &gs.all[n] }

// join counts a member in and gives the number of its group.
func (s *Scheduler) join(kind Kind, name string) uint32 {
	n, made := s.groups.join(kind, name)
	if made {
		s.groups.at(n).tasks.limit = s.tasksOf(n)
	}
	return n
}

func (gs *groups) join(kind Kind, name string) (n uint32, made bool) {
	key := groupKey{kind, name}
	n, ok := gs.number[key]
	if !ok {
		if gs.number == nil {
			gs.number = make(map[groupKey]uint32)
		}
		if last := len(gs.free) - 1; last >= 0 {
			n, gs.free = gs.free[last], gs.free[:last]
		} else {
			n = uint32(len(gs.all))
			gs.all = append(gs.all, group{})
		}
		gs.all[n] = group{kind: kind, name: name, ready: emptyLine(), seat: gs.all[n].seat}
		gs.number[key] = n
	}
	gs.all[n].members++
	return n, !ok
}

// part counts a member out. The last one takes the group along.
func (gs *groups) part(n uint32) {
	g := &gs.all[n]
	if g.members--; g.members > 0 {
		return
	}
	delete(gs.number, groupKey{g.kind, g.name})
	*g = group{seat: g.seat + 1}
	gs.free = append(gs.free, n)
}

// turns is the order in which the groups of a lane come next, first in, first out.
type turns struct {
	ring  []seat
	first int
}

// seat is the place of a group in the turns. It is void when the group has had another since.
type seat struct{ group, number uint32 }

func (t *turns) len() int { return len(t.ring) - t.first }

func (t *turns) push(x seat) {
	if t.first > 64 && t.first > len(t.ring)/2 {
		t.ring = t.ring[:copy(t.ring, t.ring[t.first:])]
		t.first = 0
	}
	t.ring = append(t.ring, x)
}

func (t *turns) pop() seat {
	x := t.ring[t.first]
	t.first++
	return x
}

// lane is where the groups of a kind take turns, those apart whose destination was not
// reached the last time: see places.
type lane struct {
	kind    Kind
	suspect bool
}

const lanes = 2 * int(kinds)

func laneOf(n int) lane { return lane{Kind(n / 2), n%2 == 1} }

func (g *group) lane() int {
	if g.unreached > 0 {
		return 2*int(g.kind) + 1
	}
	return 2 * int(g.kind)
}

// offer gives a group a seat when it has something to hand out.
func (s *Scheduler) offer(n uint32) {
	g := s.groups.at(n)
	if !g.queued && !s.follows && s.eligible(g) {
		g.queued = true
		g.seat++
		s.turns[g.lane()].push(seat{n, g.seat})
	}
}

// move gives a group whose lane has changed a seat in the new one.
func (s *Scheduler) move(n uint32) {
	s.groups.at(n).queued = false
	s.offer(n)
}

// seated gives the group of a seat that is not void.
func (s *Scheduler) seated(x seat) (g *group, ok bool) {
	g = s.groups.at(x.group)
	return g, g.queued && g.seat == x.number
}

func (s *Scheduler) eligible(g *group) bool {
	return g.ready.head != none && g.tasks.open() && g.inflight < s.limits.PerGroup
}

// launch hands out an entry that is in a line.
func (s *Scheduler) launch(slot uint32) {
	s.leave(slot)
	e := s.at(slot)
	g := s.groups.at(e.group)
	e.state = Inflight
	e.due = int64(s.elapsed)
	g.inflight++
	s.counts.Inflight++
	s.inflight[g.kind]++
	if g.unreached > 0 {
		s.suspect++
	}
	t := task{e.group, e.id.Message()}
	if s.flying[t]++; s.flying[t] == 1 {
		g.tasks.begin()
	}
}

// land ends the flight of an entry.
func (s *Scheduler) land(e *entry) {
	g := s.groups.at(e.group)
	g.inflight--
	s.counts.Inflight--
	s.inflight[g.kind]--
	if g.unreached > 0 {
		s.suspect--
	}
	t := task{e.group, e.id.Message()}
	if s.flying[t]--; s.flying[t] == 0 {
		delete(s.flying, t)
		g.tasks.end()
	}
	s.offer(e.group)
}
