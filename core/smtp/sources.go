package smtp

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwit-mta/godwit/core/trace"
)

// Sources holds what is known of the clients: how many sessions they have, how often they
// connect, and how often they are refused. A client is an IPv4 address or an IPv6 network
// of 64 bits, since nobody gets less than that; its network is the 24 or 48 bits around it.
//
// The lock is taken when a session begins and when it ends, not in between. Memory is
// bounded by the sessions that there are and by mostIdle for clients that have none, at
// some 250 octets each.
type Sources struct {
	refusals refusals
	limits   atomic.Pointer[quotas]
	now      func() int64 // nanoseconds since some moment

	mu   sync.Mutex
	live map[netip.Prefix]*Source // those with sessions
	idle map[netip.Prefix]*Source
}

// Limits are what a client and its network may do in all their sessions together.
type Limits struct {
	Session    PerClient // at a time
	Connect    PerClient // sessions that begin in a minute
	Errors     PerClient // refused commands in an hour; refused recipients count a tenth
	AuthErrors PerClient // wrong passwords in an hour
	Rcpt       PerClient // recipients that are asked for in a minute
	Exempt     []netip.Prefix
}

// PerClient is a limit of a client and one of its network; 0 is no limit.
type PerClient struct{ Source, Network int }

// Source is a client or a network of clients. Its methods may be called by many sessions,
// and for nil: that is a client without limits.
type Source struct {
	all     *Sources
	prefix  netip.Prefix
	network *Source // nil for a network

	sessions int // guarded by all.mu

	connects, errors, authErrors, rcpts rate
}

// mostIdle bounds what is remembered of clients and networks that have no session.
const mostIdle = 16384

// NewSources gives an empty table, which limits nothing yet. Refusals are told to log.
func NewSources(log *trace.Logger) *Sources {
	start := time.Now()
	s := &Sources{now: func() int64 { return int64(time.Since(start)) },
		live: make(map[netip.Prefix]*Source), idle: make(map[netip.Prefix]*Source)}
	s.refusals.log = log
	s.SetLimits(new(Limits))
	return s
}

// SetLimits changes the limits, for the sessions that run as well.
func (s *Sources) SetLimits(l *Limits) {
	s.limits.Store(&quotas{Limits: l,
		connects:   newQuotas(l.Connect, time.Minute, 1),
		errors:     newQuotas(l.Errors, time.Hour, errorWeight),
		authErrors: newQuotas(l.AuthErrors, time.Hour, 1),
		rcpts:      newQuotas(l.Rcpt, time.Minute, 1)})
}

// Close logs what was refused and not logged yet.
func (s *Sources) Close() { s.refusals.close() }

// Busy notes that a client was refused because there are too many sessions in all.
func (s *Sources) Busy() { s.refusals.note(refusal{word: "max-session"}) }

// Enter counts a session of a client, which has to Leave. A client that may have none gets
// a text for its 421 instead.
func (s *Sources) Enter(addr netip.Addr) (src *Source, refused string) {
	addr = addr.Unmap().WithZone("")
	limits := s.limits.Load()
	if !addr.IsValid() || limits.exempt(addr) {
		return nil, ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	own, around := prefixes(addr)
	src = s.find(own)
	if src.sessions == 0 { // otherwise it is known, and read without the lock
		src.network = s.find(around)
	}
	if r := limits.refusal(src, now); r.word != "" {
		s.settle(src.network, now)
		s.settle(src, now)
		s.refusals.note(r)
		return nil, r.text
	}
	for _, e := range [...]*Source{src, src.network} {
		delete(s.idle, e.prefix)
		s.live[e.prefix] = e
		e.sessions++
	}
	return src, ""
}

// prefixes gives what counts as one client, and as its network.
func prefixes(addr netip.Addr) (source, network netip.Prefix) {
	a, b := 32, 24
	if addr.Is6() {
		a, b = 64, 48
	}
	source, _ = addr.Prefix(a)
	network, _ = addr.Prefix(b)
	return source, network
}

func (s *Sources) find(p netip.Prefix) *Source {
	if e := s.live[p]; e != nil {
		return e
	}
	if e := s.idle[p]; e != nil {
		return e
	}
	return &Source{all: s, prefix: p}
}

// Leave ends a session of the client.
func (e *Source) Leave() {
	if e == nil {
		return
	}
	s := e.all
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	e.sessions--
	e.network.sessions--
	s.settle(e.network, now)
	s.settle(e, now)
}

// settle puts an entry that has no session to the idle ones, or forgets it when there is
// nothing to remember. Each time some others are looked at, so that the table shrinks
// again; when it is full, the one of them goes that is forgotten first anyhow.
func (s *Sources) settle(e *Source, now int64) {
	if e.sessions > 0 {
		return
	}
	delete(s.live, e.prefix)
	delete(s.idle, e.prefix)
	until := e.until()
	looked := 0
	for p, other := range s.idle {
		switch u := other.until(); {
		case u <= now:
			delete(s.idle, p)
		case len(s.idle) >= mostIdle && u < until:
			// The entry to keep is worth more than this one.
			delete(s.idle, p)
		}
		if looked++; looked == 8 {
			break
		}
	}
	if until > now && len(s.idle) < mostIdle {
		s.idle[e.prefix] = e
	}
}

// until gives the time from which there is nothing to remember.
func (e *Source) until() int64 {
	return max(e.connects.empty.Load(), e.errors.empty.Load(), e.authErrors.empty.Load(), e.rcpts.empty.Load())
}

// both applies f to the client and to its network.
func (e *Source) both(f func(e *Source, q *quotas, i int) bool) bool {
	q := e.all.limits.Load()
	return f(e, q, ofSource) && f(e.network, q, ofNetwork)
}

// failed counts a refused command, or a part of one, in tenths. It tells whether that was
// one too many.
func (e *Source) failed(tenths int) bool {
	if e == nil {
		return false
	}
	now := e.all.now()
	return !e.both(func(e *Source, q *quotas, i int) bool {
		if e.errors.add(now, q.errors[i], tenths) {
			return true
		}
		e.errors.fill(now, q.errors[i])
		return false
	})
}

// authFailed counts a wrong password.
func (e *Source) authFailed() {
	if e == nil {
		return
	}
	now := e.all.now()
	e.both(func(e *Source, q *quotas, i int) bool {
		e.authErrors.add(now, q.authErrors[i], 1)
		return true
	})
}

// mayAuth tells whether the client may try another password.
func (e *Source) mayAuth() bool {
	if e == nil {
		return true
	}
	now := e.all.now()
	return e.both(func(e *Source, q *quotas, i int) bool { return !e.authErrors.full(now, q.authErrors[i]) })
}

// recipient counts a recipient that the client asks for. It tells whether it may.
func (e *Source) recipient() bool {
	if e == nil {
		return true
	}
	now := e.all.now()
	return e.both(func(e *Source, q *quotas, i int) bool { return e.rcpts.add(now, q.rcpts[i], 1) })
}
