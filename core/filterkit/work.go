package filterkit

import (
	"context"
	"fmt"
	"runtime/debug"
)

// push hands a line to its session. It waits while too much is pending, and says false
// when the run is over.
func (r *run) push(l line, octets int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.err == nil && r.pending > or(r.f.MaxPending, 64<<20) {
		r.changed.Wait()
	}
	if r.err != nil {
		return false
	}
	s := r.session(&l)
	if s == nil {
		return true
	}
	octets += 128 // of the queue itself
	s.queue = append(s.queue, l)
	s.octets += octets
	r.pending += octets
	if Event(l.name) == LinkDisconnect && !l.filter {
		delete(r.sessions, key{l.out, l.session})
		s.cancel() // ends what its handlers wait for
	}
	if s.busy {
		return true
	}
	s.busy = true
	if r.active >= or(r.f.MaxActive, 1024) {
		r.ready = append(r.ready, s)
		return true
	}
	r.active++
	go r.work(s)
	return true
}

// session finds or makes the session of a line. It gives nil when there are too many, and for the end of an unknown one.
func (r *run) session(l *line) *Session {
	k := key{l.out, l.session}
	if s := r.sessions[k]; s != nil {
		return s
	}
	switch {
	case Event(l.name) == LinkDisconnect && !l.filter:
		return nil
	case len(r.sessions) < or(r.f.MaxSessions, 1<<16):
		s := &Session{ID: l.session, Out: l.out, run: r}
		s.ctx, s.cancel = context.WithCancel(r.ctx)
		r.sessions[k] = s
		return s
	}
	switch {
	case !l.filter:
	case Phase(l.name) == dataLine:
		r.out.print(fmt.Sprintf("filter-dataline|%016x|%s|", l.session, l.token), l.rest)
	default:
		r.answer(l, Disconnect(421, "4.3.2 the filter has too many sessions"))
	}
	r.out.flush()
	return nil
}

// work handles what is pending for a session, then for others that are ready.
func (r *run) work(s *Session) {
	r.mu.Lock()
	for s != nil {
		lines, octets := s.queue, s.octets
		s.queue, s.octets = nil, 0
		r.mu.Unlock()
		for i := range lines {
			r.handle(s, &lines[i])
		}
		r.out.flush()
		r.mu.Lock()
		r.pending -= octets
		r.changed.Broadcast()
		s = r.next(s)
	}
	r.active--
	r.changed.Broadcast()
	r.mu.Unlock()
}

// next gives the session whose turn it is after s: the first that is ready, else s
// if it has lines again, else none.
func (r *run) next(s *Session) *Session {
	if s.busy = len(s.queue) > 0; s.busy {
		r.ready = append(r.ready, s)
	}
	if len(r.ready) == 0 {
		return nil
	}
	first := r.ready[0]
	r.ready[0] = nil
	r.ready = r.ready[1:]
	return first
}

// handle carries out one line.
func (r *run) handle(s *Session, l *line) {
	switch {
	case !l.filter:
		e, args := Event(l.name), l.args()
		s.note(e, args)
		if h := r.f.side(l.out).reports[e]; h != nil {
			r.guard(s, l, func() { h(s, args) })
		}
		s.over(e)
		if e == LinkDisconnect {
			s.dropBody()
		}
	case Phase(l.name) == dataLine:
		r.dataLine(s, l)
	default:
		r.decide(s, l)
		r.out.flush()
	}
}

// decide answers a question.
func (r *run) decide(s *Session, l *line) {
	phase := Phase(l.name)
	var a Answer
	if phase == Commit {
		a, s.commit = s.commit, Answer{}
	}
	if h := r.f.side(l.out).decides[phase]; h != nil && a == (Answer{}) {
		if !r.guard(s, l, func() { a = h(s, l.rest) }) {
			a = broken()
		}
	}
	r.answer(l, a)
}

// answer writes the line that answers a question.
func (r *run) answer(l *line, a Answer) {
	if a.verb == "report" && !r.config.DecideIn && !r.config.DecideOut {
		r.log.Printf("%016x %s", l.session, oneLine(a.text))
		a = Proceed()
	}
	r.out.print(fmt.Sprintf("filter-result|%016x|%s|", l.session, l.token), a.params(Phase(l.name)))
}

// broken is the answer of a handler that panicked.
func broken() Answer { return Reject(451, "4.3.0 the filter failed, try again later") }

// guard calls a handler and says whether it came to its end.
func (r *run) guard(s *Session, l *line, h func()) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			r.log.Printf("%016x %s: panic: %v\n%s", s.ID, l.name, p, debug.Stack())
		}
	}()
	h()
	return true
}
