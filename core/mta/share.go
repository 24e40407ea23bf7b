package mta

import (
	"container/list"
	"net/netip"
	"slices"
	"time"

	"github.com/godwit-mta/godwit/core/trace"
)

// Domains that have the same mail hosts share the connections to them: one that has no more
// work is handed to another relay with the same options. Where none of these waits, but one
// with others does that may not connect because of it, it ends at once.

// After how many transactions in a row for one relay a connection goes over to another one
// that waits for it, or ends for one that cannot use it.
const (
	turnShared = 10
	turnOther  = 100
)

// placeKey is what a connection can be used for: relays with these options that have this
// server.
type placeKey struct {
	wire string // see Relay.key
	addr netip.Addr
}

// place has the connections of its key without work and the relays that wait for one. One
// of the two is empty, except for moments.
type place struct {
	spare   list.List // of *session, the last became idle last
	waiting list.List // of *relay
	users   int       // connections
	freeing int       // of them, those that are about to look for work
	soon    int       // relays that wait for one of these although they might connect
}

// lookAgain lets those connect who counted on a connection that has other work now.
func (m *MTA) lookAgain(p *place) {
	if p.soon > 0 {
		m.let(&p.waiting)
	}
}

func (m *MTA) placeFor(k placeKey) *place {
	p := m.places[k]
	if p == nil {
		p = &place{}
		m.places[k] = p
	}
	return p
}

// park notes a session that waits for work wherever somebody could look for it. The caller
// holds the lock.
func (s *session) park() {
	s.rest()
	s.parked = append(s.parked, seat{&s.at.spare, s.at.spare.PushBack(s)})
	for _, c := range s.counts {
		s.parked = append(s.parked, seat{&c.spare, c.spare.PushBack(s)})
	}
	s.r.idle = append(s.r.idle, s)
}

// unpark undoes park. The caller holds the lock.
func (s *session) unpark() {
	for _, x := range s.parked {
		x.line.Remove(x.at)
	}
	s.parked = s.parked[:0]
	if i := slices.Index(s.r.idle, s); i >= 0 {
		s.r.idle = slices.Delete(s.r.idle, i, i+1)
	}
}

// spareFor gives a connection without work to a target that the relay may use.
func (m *MTA) spareFor(r *relay, t target) *session {
	p := m.places[placeKey{r.wire, t.addr}]
	if p == nil || !r.shares(t.addr) {
		return nil
	}
	for e := p.spare.Back(); e != nil; e = e.Prev() {
		if s := e.Value.(*session); s.r != r && !r.failed[s.choice.route.key] && s.within(r) {
			return s
		}
	}
	return nil
}

// soon reports whether a connection that the relay can use is about to look for work.
func (m *MTA) soon(r *relay, t target) bool {
	p := m.places[placeKey{r.wire, t.addr}]
	if p == nil || !r.shares(t.addr) {
		return false
	}
	before := p.waiting.Len()
	if seatIn(r.seats, &p.waiting) >= 0 {
		before--
	}
	return p.freeing > before
}

// shares reports whether the relay takes connections of others to a server.
func (r *relay) shares(a netip.Addr) bool {
	return r.domain != "" && !r.opts.Strict && !r.apart[a]
}

// within reports whether the limits of r let it have this connection, which is there already.
func (s *session) within(r *relay) bool {
	l := &r.limits
	return s.choice.route.conns <= l.MaxConnPerRoute && s.counts[1].conns <= l.MaxConnPerHost &&
		peek(r.connectors, s.choice.source).conns < l.MaxConnPerConnector && s.sent < l.SessionMailMax
}

// hand gives a parked session to another relay and wakes it. The caller holds the lock.
func (m *MTA) hand(s *session, r *relay) {
	s.unpark()
	old, left := s.move(r)
	r.woken++
	s.wake <- struct{}{} // has room for one, and only those that are parked are woken
	m.left(old, left)
}

// turnTo makes the session one of a relay that waits for it. The caller holds the lock.
func (s *session) turnTo(r *relay) {
	old, left := s.move(r)
	s.free(true)
	s.m.dispatch(r)
	s.m.left(old, left)
	s.free(false)
}

// nextRelay gives a relay that waits for this connection. The caller holds the lock.
func (s *session) nextRelay() *relay {
	for e := s.at.waiting.Front(); e != nil; e = e.Next() {
		r := e.Value.(*relay)
		if r == s.r || len(r.tasks) <= r.woken+r.freeing || r.targetAt(s.choice.target.addr) < 0 || !r.shares(s.choice.target.addr) || r.failed[s.choice.route.key] || !s.within(r) {
			continue
		}
		if _, is := s.m.isBlocked(s.choice.source, r.limitDomain()); is {
			continue
		}
		if ok, _, _ := check(time.Now(), s.m.base(r, false)...); ok {
			return r
		}
	}
	return nil
}

// targetAt gives the number of the target with an address, -1 when there is none.
func (r *relay) targetAt(a netip.Addr) int {
	return slices.IndexFunc(r.targets, func(t target) bool { return t.addr == a })
}

// move makes the session one of another relay and gives the one that it was of, with the
// counters in which that had a place. The caller holds the lock.
func (s *session) move(r *relay) (old *relay, left []*counter) {
	old, left = s.r, s.counts[shared:]
	if s.tr.Traces(trace.MTA) {
		s.tr.Tracef(trace.MTA, "mta: %s: the connection of %s is now for %s", s.tr.SID(), old.opts.describe(old.domain), r.opts.describe(r.domain))
	}
	for _, c := range left {
		c.conns--
	}
	old.ready--
	s.r, s.opts, s.limits, s.moved, s.turn = r, r.opts, r.limits, true, 0
	s.failures, s.rejected = 0, 0
	s.counts = append(s.counts[:shared:shared], s.m.ownCounts(r, s.choice.source)...)
	for _, c := range s.counts[shared:] {
		c.conns++
	}
	s.noteLimits()
	r.ready++
	if i := r.targetAt(s.choice.target.addr); i >= 0 {
		s.joined = r.targets[i]
	}
	return old, left
}

// left lets others have what a relay had before its session moved.
func (m *MTA) left(old *relay, left []*counter) {
	for _, c := range left {
		m.freed(c)
	}
	m.dispatch(old)
}

// fits reports whether the connection does what the relay demands that the session has moved
// to. The caller holds the lock, which is given up meanwhile.
func (s *session) fits(p peer) bool {
	s.moved = false
	was := s.choice.target.host
	s.choice.target = s.joined
	s.origin.mta = s.joined.host
	c, ok := p.(*client)
	if !ok {
		return false
	}
	s.r.freeing++ // others should not count on it: this may take long
	s.m.mu.Unlock()
	s.obey(&c.ext)
	ok = s.meets(c, was)
	s.m.mu.Lock()
	s.r.freeing--
	if !ok {
		s.r.apart[s.joined.addr] = true // it needs connections of its own
	}
	return ok
}

func (s *session) meets(c *client, was string) bool {
	policy, err := s.policy()
	if err != nil || policy.testing {
		return false // its own attempt tells what is wrong
	}
	o := opener{relay: s.opts, policy: policy}
	required, verified, err := o.demand()
	state, secure := c.tlsState()
	switch same := was == s.joined.host; {
	case err != nil, required && !secure, verified && (!same || !s.verified):
		return false
	case len(policy.dane.Records) > 0:
		dane := policy.dane
		return same && dane.Verify(state.PeerCertificates, time.Now()) == nil
	}
	return true
}
