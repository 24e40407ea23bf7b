package scheduler

// Limits bound what is handed out at a time. A field that is not above zero takes its default.
type Limits struct {
	Inflight int // envelopes in flight, 5000
	PerGroup int // envelopes in flight of one group, 1000
	Batch    int // envelopes in one batch, 1000

	// Tasks gives the limits of a group. It must not call the scheduler; without it a group
	// may have as many messages in flight as it has envelopes.
	Tasks func(kind Kind, group string) Tasks
}

// Tasks are the limits of one group, in messages: as soon as High are in flight there is a
// pause until no more than Low are, then Release follow, and so on. A High of zero is no
// limit; a Release of zero lets as many follow as High allows.
type Tasks struct{ High, Low, Release int }

func (l Limits) withDefaults() Limits {
	l.Inflight = orDefault(l.Inflight, 5000)
	l.PerGroup = orDefault(l.PerGroup, 1000)
	l.Batch = orDefault(l.Batch, 1000)
	return l
}

func orDefault(n, def int) int {
	if n > 0 {
		return n
	}
	return def
}

// SetLimits changes the limits. What is in flight stays so.
func (s *Scheduler) SetLimits(l Limits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits = l.withDefaults()
	for _, n := range s.groups.number {
		s.groups.at(n).tasks.limit = s.tasksOf(n)
		s.groups.at(n).tasks.settle()
		s.offer(n)
	}
}

func (s *Scheduler) tasksOf(n uint32) Tasks {
	if s.limits.Tasks == nil {
		return Tasks{}
	}
	g := s.groups.at(n)
	return s.limits.Tasks(g.kind, g.name)
}

// tasks counts the messages of a group that are in flight.
type tasks struct {
	limit  Tasks
	n      int
	full   bool
	credit int // how many may follow all the same
}

func (t *tasks) settle() {
	switch {
	case t.limit.High <= 0 || t.n == 0 || t.full && t.n <= t.limit.Low && t.limit.Release <= 0:
		t.full, t.credit = false, 0
	case t.full && t.n <= t.limit.Low:
		t.credit = t.limit.Release
	case t.n >= t.limit.High:
		t.full, t.credit = true, 0
	}
}

func (t *tasks) begin() {
	t.n++
	t.credit = max(t.credit-1, 0)
	if t.n >= t.limit.High {
		t.settle()
	}
}

func (t *tasks) end() {
	t.n--
	t.settle()
}

// open reports whether another message may be handed out.
func (t *tasks) open() bool { return !t.full || t.credit > 0 }

// share is the part of all places that each kind has for itself, however many envelopes of
// the others hang.
const share = 8

// places gives how many more envelopes may be handed out in a lane. Groups whose destination
// was not reached the last time have half of what is there for all of them together: it is
// them who hang, and the others must not wait for them.
func (s *Scheduler) places(l lane) int {
	own := s.limits.Inflight / share
	free := s.limits.Inflight - s.counts.Inflight
	for kind, n := range s.inflight {
		if Kind(kind) != l.kind {
			free -= max(own-n, 0)
		}
	}
	if l.suspect {
		free = min(free, max(1, (s.limits.Inflight-2*own)/2)-s.suspect)
	}
	return free
}

// room gives how many envelopes a group may have handed out now. A group never has more in
// flight than there are free places: one that hangs takes half of them, two take a third
// each, and something is left for the next one.
func (s *Scheduler) room(g *group) int {
	return max(min((s.places(laneOf(g.lane()))-g.inflight+1)/2, s.limits.PerGroup-g.inflight, s.limits.Batch), 0)
}
