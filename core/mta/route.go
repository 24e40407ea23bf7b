package mta

import (
	"net/netip"
	"time"

	"github.com/godwit-mta/godwit/core/trace"
)

// A route that failed is disabled for penaltyUnit times the square of its penalty.
const (
	penaltyUnit = 15 * time.Second
	penaltyMax  = time.Hour
)

type routeKey struct {
	source, dest netip.Addr
	port         uint16
}

// routeTo gives the route of a relay to a server. One that has TLS from the first byte tried first and then
// STARTTLS is known by the port of the former.
func (r *relay) routeTo(source, dest netip.Addr) routeKey {
	means, _ := r.opts.URL.scheme().traits()
	return routeKey{source, dest, r.opts.URL.port(means.smtps)}
}

// route is a pair of addresses and the port at the second.
type route struct {
	counter
	id       int
	key      routeKey
	ready    int // sessions that got to the point of taking mail
	errors   int
	why      string // the last thing that the server said against us, for the log
	penalty  int
	disabled time.Time // until then; zero: enabled
	timer    *time.Timer
	lastUsed time.Time
	ended    time.Time            // the last connection
	missed   map[Destination]bool // what could not be reached while it was disabled
}

// Destination is where mail goes: by which action, to which domain.
type Destination struct{ Action, Domain string }

// maxMissed bounds the destinations that a route remembers.
const maxMissed = 1000

// remember notes the destinations of the waiting tasks of a relay at the disabled routes to
// them. The caller holds the lock.
func (m *MTA) remember(r *relay) {
	for _, t := range r.targets {
		for _, source := range m.sourcesFor(r, t.addr, time.Now()) {
			if rt := m.routes[r.routeTo(source, t.addr)]; rt != nil && !rt.disabled.IsZero() {
				rt.remember(r)
			}
		}
	}
}

func (rt *route) remember(r *relay) {
	if rt.missed == nil {
		rt.missed = make(map[Destination]bool)
	}
	for _, t := range r.tasks {
		for i := range t.rcpts {
			if len(rt.missed) < maxMissed {
				rt.missed[Destination{r.opts.Name, t.rcpts[i].Dest.Domain}] = true
			}
		}
	}
}

func (k routeKey) String() string {
	source := "[]"
	if k.source.IsValid() {
		source = k.source.String()
	}
	dest := k.dest.String()
	if k.port != 25 {
		dest = netip.AddrPortFrom(k.dest, k.port).String()
	}
	return source + " <-> " + dest
}

// host is a server's address.
type host struct {
	counter
	ptr      string
	ptrKnown bool
	noSMTPS  time.Time // until then it is known to have no TLS from the first byte
	serial   time.Time // until then it gets one command at a time
}

// routeFor gives the route, a new one when there is none.
func (m *MTA) routeFor(k routeKey) *route {
	rt := m.routes[k]
	if rt == nil {
		m.lastRoute++
		rt = &route{id: m.lastRoute, key: k, lastUsed: time.Now()}
		m.routes[k] = rt
	}
	return rt
}

func (m *MTA) hostFor(a netip.Addr) *host {
	h := m.hosts[a]
	if h == nil {
		h = &host{}
		m.hosts[a] = h
	}
	return h
}

// peek gives the value of k without keeping one that is not there.
func peek[K comparable, V any](all map[K]*V, k K) *V {
	if v := all[k]; v != nil {
		return v
	}
	return new(V)
}

// disable takes a route out of use after a failure.
func (m *MTA) disable(rt *route) {
	rt.errors++
	rt.penalty++
	if !rt.disabled.IsZero() {
		return
	}
	d := min(penaltyUnit*time.Duration(rt.penalty*rt.penalty), penaltyMax)
	rt.penalty = min(rt.penalty, 16) // the square is at its maximum by then
	rt.disabled = time.Now().Add(d)
	why := ""
	if rt.why != "" {
		why = ": " + rt.why
	}
	m.cfg.Log.Infof("smtp-out: Disabling route %s for %s%s", rt.key, trace.Delay(d), unquoted(why))
	rt.timer = time.AfterFunc(d, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.enable(rt)
	})
}

// enable puts a route into use again. The caller holds the lock.
func (m *MTA) enable(rt *route) {
	if rt.disabled.IsZero() {
		return
	}
	rt.timer.Stop()
	rt.disabled = time.Time{}
	rt.missed, rt.why = nil, ""
	m.cfg.Log.Infof("smtp-out: Enabling route %s", rt.key)
}

// sweep forgets what was not used for long. The caller holds the lock.
func (m *MTA) sweep(now time.Time) {
	if now.Sub(m.swept) < time.Minute {
		return
	}
	m.swept = now
	for k, rt := range m.routes {
		if rt.unused(now) && rt.disabled.IsZero() && now.Sub(rt.lastUsed) > penaltyMax {
			delete(m.routes, k)
		}
	}
	for k, h := range m.hosts {
		if h.unused(now) && now.After(h.serial) {
			delete(m.hosts, k)
		}
	}
	for k, c := range m.sources {
		if c.unused(now) {
			delete(m.sources, k)
		}
	}
	for k, c := range m.domains {
		if c.unused(now) {
			delete(m.domains, k)
		}
	}
	for k, p := range m.places {
		if p.users == 0 && p.waiting.Len() == 0 {
			delete(m.places, k)
		}
	}
	for k, d := range m.denied {
		if now.Sub(d.until) > penaltyMax {
			delete(m.denied, k)
		}
	}
	for k, a := range m.ailing {
		if now.Sub(a.until) > penaltyMax {
			delete(m.ailing, k)
		}
	}
	for k, s := range m.stats {
		if now.Sub(s.When) > hostStatLife {
			delete(m.stats, k)
		}
	}
}
