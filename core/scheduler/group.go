package scheduler

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
	kind     Kind
	name     string
	members  int
	inflight int
	ready    line
	held     bool
	queued   bool // has a place in the turns of its kind
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
func (gs *groups) join(kind Kind, name string) uint32 {
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
		gs.all[n] = group{kind: kind, name: name, ready: emptyLine()}
		gs.number[key] = n
	}
	gs.all[n].members++
	return n
}

// part counts a member out. The last one takes the group along, unless the group still has
// a place in the turns: then it goes when that is reached.
func (gs *groups) part(n uint32) {
	g := &gs.all[n]
	if g.members--; g.members == 0 {
		g.held = false
		gs.retire(n)
	}
}

func (gs *groups) retire(n uint32) {
	g := &gs.all[n]
	if g.members > 0 || g.queued {
		return
	}
	delete(gs.number, groupKey{g.kind, g.name})
	*g = group{}
	gs.free = append(gs.free, n)
}

// turns is the order in which the groups of a kind come next, first in, first out.
type turns struct {
	ring  []uint32
	first int
}

func (t *turns) len() int { return len(t.ring) - t.first }

func (t *turns) push(n uint32) {
	if t.first > 64 && t.first > len(t.ring)/2 {
		t.ring = t.ring[:copy(t.ring, t.ring[t.first:])]
		t.first = 0
	}
	t.ring = append(t.ring, n)
}

func (t *turns) pop() uint32 {
	n := t.ring[t.first]
	t.first++
	return n
}

// offer gives a group a place in the turns when it has something to hand out.
func (s *Scheduler) offer(n uint32) {
	g := s.groups.at(n)
	if !g.queued && s.eligible(g) {
		g.queued = true
		s.turns[g.kind].push(n)
	}
}

func (s *Scheduler) eligible(g *group) bool {
	return g.ready.head != none && !g.held && g.inflight < s.limits.PerGroup
}

// room gives how many envelopes a group may have handed out now. A group never has more in
// flight than there are free places: one that hangs takes half of them, two take a third
// each, and something is left for the next one.
func (s *Scheduler) room(g *group) int {
	free := s.limits.Inflight - s.counts.Inflight
	return max(min((free-g.inflight+1)/2, s.limits.PerGroup-g.inflight, s.limits.Batch), 0)
}
