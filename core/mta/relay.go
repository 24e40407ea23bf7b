package mta

import (
	"cmp"
	"container/list"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

const (
	targetLife   = time.Minute // how long the addresses of a destination are used
	maxTries     = 3           // how often a task is moved to another connection
	maxTargets   = 100         // addresses of a destination
	tasksSession = 4           // waiting tasks that are worth another session
)

// target is an address of a server that takes the mail of a relay.
type target struct {
	host   string
	pref   uint16
	addr   netip.Addr
	secure bool // host is sure to be a server of the destination
}

// relay is a destination: the tasks that wait for it, and its sessions.
type relay struct {
	key, domain string
	wire        string // key of the relays that can use the same connections
	opts        *Relay
	limits      Limits
	tasks       []*task
	counter                // sessions
	connecting  int        // sessions that are not ready to take mail
	ready       int        // sessions that are
	freeing     int        // sessions that are about to look for their next task
	woken       int        // sessions that were idle and have not taken their task
	idle        []*session // the last became idle last
	seats       []seat     // where it waits for a connection of others to end or to have no more work
	connectors  map[netip.Addr]*counter
	soon        *place              // the one of whose connections it counts on
	apart       map[netip.Addr]bool // servers to which it needs connections of its own
	nextSource  int

	targets   []target
	resolved  time.Time
	resolving bool
	failed    map[routeKey]bool // tried since resolved
	lastFate  fate              // why the last of them failed
	policy    string            // of TLS with the server that was used last
	timer     *time.Timer

	taken   uint64      // tasks that sessions took
	extra   int         // sessions more, because none took a task for Timeouts.Stall
	watcher *time.Timer // looks after that
}

func newRelay(opts *Relay, key, domain string) *relay {
	return &relay{key: key, domain: domain, wire: opts.key(""), connectors: make(map[netip.Addr]*counter),
		failed: make(map[routeKey]bool), apart: make(map[netip.Addr]bool)}
}

// dispatch finds sessions for waiting tasks. The caller holds the lock.
func (m *MTA) dispatch(r *relay) {
	if m.paused || m.stopping {
		return
	}
	for len(r.idle) > 0 && len(r.tasks) > r.woken {
		s := r.idle[len(r.idle)-1]
		s.unpark()
		r.woken++
		s.wake <- struct{}{} // has room for one, and only those that are parked are woken
	}
	lines, full := m.connect(r)
	r.wait(lines)
	if len(lines) == 0 && r.soon != nil {
		r.soon.soon--
		r.soon = nil
	}
	for _, c := range full {
		m.makeRoom(c)
	}
	m.drop(r)
}

// connect gives a relay the sessions that it is worth. If it has none and has to wait for the
// end of others it gives the lines to wait in, and the counters that are full.
func (m *MTA) connect(r *relay) (lines []*list.List, full []*counter) {
	for r.wantsSession() {
		if time.Since(r.resolved) > targetLife {
			m.resolve(r)
			return nil, nil
		}
		c := m.choose(r)
		switch {
		case c.spare != nil:
			m.hand(c.spare, r)
		case c.soon != nil && r.conns == 0:
			if r.soon == nil {
				r.soon = c.soon
				r.soon.soon++
			}
			return c.lines, nil
		case c.route != nil:
			m.start(r, c)
		case r.conns > 0: // the sessions that there are have to do
			m.watch(r)
			return nil, nil
		case len(c.full) > 0:
			return c.lines, c.full
		case !c.at.IsZero():
			m.later(r, c.at)
			return c.lines, nil
		default:
			m.failAll(r, c.reason)
			return nil, nil
		}
	}
	m.watch(r)
	return nil, nil
}

// watch adds a session when those of a relay take no work for a while: a slow server or a
// large message must not hold up the others.
func (m *MTA) watch(r *relay) {
	if len(r.tasks) == 0 {
		r.extra = 0
		return
	}
	if r.conns == 0 || r.watcher != nil {
		return
	}
	taken := r.taken
	r.watcher = time.AfterFunc(m.times.Stall, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		r.watcher = nil
		if r.taken == taken && len(r.tasks) > 0 && r.ready > 0 {
			r.extra++
		}
		m.dispatch(r)
	})
}

// drop forgets a relay that has nothing to do.
func (m *MTA) drop(r *relay) {
	if len(r.tasks) == 0 && r.conns == 0 && !r.resolving && m.relays[r.key] == r {
		delete(m.relays, r.key)
		r.wait(nil)
	}
}

// wantsSession: one until the server took mail, then as many as the waiting tasks are worth.
func (r *relay) wantsSession() bool {
	waiting := len(r.tasks) - r.woken - r.connecting - r.freeing
	switch {
	case waiting <= 0 || r.resolving:
		return false
	case r.conns == 0:
		return true
	case r.ready == 0:
		return false
	default:
		return r.conns < 1+r.extra+(waiting+tasksSession-1)/tasksSession
	}
}

// later dispatches again at a time.
func (m *MTA) later(r *relay, at time.Time) {
	if r.timer != nil {
		r.timer.Stop()
	}
	r.timer = time.AfterFunc(time.Until(at), func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.dispatch(r)
	})
}

// choice is a route for a new session, or why there is none.
type choice struct {
	target target
	source netip.Addr
	route  *route
	spare  *session     // a connection of another relay that is there
	soon   *place       // or that soon is
	full   []*counter   // limits that are reached
	lines  []*list.List // where to wait
	at     time.Time    // a delay ends
	reason fate
}

// found reports whether there is a way, or will be one.
func (c *choice) found() bool {
	return c.spare != nil || c.route != nil || len(c.full) > 0 || !c.at.IsZero()
}

// choose takes the best preference with a usable route, there the route with the fewest
// connections. A worse preference is not used because a better one is merely busy.
func (m *MTA) choose(r *relay) choice {
	now := time.Now()
	c := choice{reason: r.lastFate}
	if c.reason.status == 0 {
		c.reason = unreachable("No valid route to destination")
	}
	ok, full, at := check(now, m.base(r, true)...)
	if full != nil {
		c.full, c.lines = []*counter{full}, []*list.List{&full.waiting}
		return c
	}
	for i := 0; i < len(r.targets); i++ {
		t := r.targets[i]
		m.consider(r, t, now, &c)
		if end := i+1 == len(r.targets) || r.targets[i+1].pref != t.pref; end && c.found() {
			break
		}
	}
	switch {
	case c.spare != nil, c.soon != nil: // no new connection
	case !ok:
		c.route, c.at = nil, at
	case c.route != nil:
		r.nextSource++
	}
	return c
}

// base gives the limits of a relay wherever it connects to, with those in time for a new
// connection.
func (m *MTA) base(r *relay, fresh bool) []bound {
	l := &r.limits
	b := []bound{{&r.counter, l.MaxConnPerRelay, l.ConnDelayRelay, l.StartConn, 0},
		{peek(m.domains, r.limitDomain()), l.MaxConnPerDomain, l.ConnDelayDomain, l.StartConn, l.MailPerMinuteDomain}}
	if !fresh {
		b[0].delay, b[1].delay = 0, 0
	}
	return b
}

// consider looks at one target and keeps it in c when it is better than what is there.
func (m *MTA) consider(r *relay, t target, now time.Time, c *choice) {
	for _, source := range m.sourcesFor(r, t.addr, now) {
		if m.considerFrom(r, source, t, now, c) {
			return
		}
	}
}

// considerFrom does that for one source, and reports whether that is good enough not to look at
// the others.
func (m *MTA) considerFrom(r *relay, source netip.Addr, t target, now time.Time, c *choice) bool {
	l := &r.limits
	key := r.routeTo(source, t.addr)
	if r.failed[key] {
		return false
	}
	if b, is := m.isBlocked(source, r.limitDomain()); is {
		if r.lastFate.status == 0 {
			c.reason = unreachable("Relaying is paused: " + b.String())
		}
		return false
	}
	rt := peek(m.routes, key)
	if !rt.disabled.IsZero() {
		if r.lastFate.status == 0 {
			c.reason = blocked(rt)
		}
		return false
	}
	if c.spare == nil {
		c.spare = m.spareFor(r, t)
	}
	if c.soon == nil && m.soon(r, t) {
		c.soon = m.placeFor(placeKey{r.wire, t.addr})
		c.lines = append(c.lines, &c.soon.waiting)
	}
	ok, full, at := check(now, bound{&rt.counter, l.MaxConnPerRoute, l.ConnDelayRoute, l.StartConn, 0},
		bound{&peek(m.hosts, t.addr).counter, l.MaxConnPerHost, l.ConnDelayHost, l.StartConn, l.MailPerMinuteHost},
		bound{&peek(m.sources, source).counter, l.MaxConnPerSource, l.ConnDelaySource, l.MaxConnPerSource, 0},
		bound{peek(r.connectors, source), l.MaxConnPerConnector, l.ConnDelayConnector, 0, 0})
	if again := rt.ended.Add(l.ReconnDelayRoute); ok && l.ReconnDelayRoute > 0 && now.Before(again) {
		ok, at = false, again
	}
	switch {
	case full != nil:
		c.full, c.lines = append(c.full, full), append(c.lines, &full.waiting)
	case !ok:
		if c.at.IsZero() || at.Before(c.at) {
			c.at = at
		}
	case c.route == nil || rt.conns < c.route.conns:
		c.target, c.source, c.route = t, source, rt
	}
	if !ok && r.shares(t.addr) {
		c.lines = append(c.lines, &m.placeFor(placeKey{r.wire, t.addr}).waiting)
	}
	return ok
}

// blocked is the fate of what cannot go over any route, with why the last one is not used.
func blocked(rt *route) fate {
	text := "All routes to destination blocked"
	if rt.why != "" {
		text = limitText(text + ": " + rt.why)
	}
	return unreachable(text)
}

func (r *relay) limitDomain() string {
	if r.domain != "" {
		return r.domain
	}
	return r.opts.URL.Host
}

func unreachable(text string) fate {
	return fate{status: envelope.TempFail, text: text, class: 4, code: 401} // 4.4.1 no answer from host
}

// failAll gives f to every waiting task. The caller holds the lock.
func (m *MTA) failAll(r *relay, f fate) {
	f.unreached = f.status == envelope.TempFail
	m.remember(r)
	m.missBlocked(r)
	if f.unreached {
		m.ail(r)
	}
	m.moveOn(r, f)
	tasks := r.tasks
	r.tasks, r.lastFate = nil, fate{}
	clear(r.failed)
	r.resolved = time.Time{}
	m.failTasks(r.opts, r.limitDomain(), tasks, f)
	m.note(r, f.text)
	m.drop(r)
}

// failTasks gives f to all recipients of tasks. The caller holds the lock.
func (m *MTA) failTasks(opts *Relay, name string, tasks []*task, f fate) {
	o := origin{tr: m.cfg.Log.NewTrace(), source: "-", relay: name}
	for _, t := range tasks {
		fates := slices.Repeat([]fate{f}, len(t.rcpts))
		m.conclude(o, opts.sender(t.msg.Sender), t.msg, t.rcpts, fates)
	}
}

// giveBack puts a task in front of the others. The caller holds the lock.
func (r *relay) giveBack(t *task) { r.tasks = slices.Insert(r.tasks, 0, t) }

// order puts exchangers in the order in which they are tried, those with the same
// preference at random (RFC 5321 section 5.1), and gives their addresses.
func order(list []MXHost, family, prefer string) (targets []target) {
	list = slices.Clone(list)
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	slices.SortStableFunc(list, func(a, b MXHost) int { return cmp.Compare(a.Preference, b.Preference) })
	seen := make(map[netip.Addr]bool)
	for _, h := range list {
		for _, a := range arrange(h.Addrs, prefer != "inet4") {
			if !a.IsValid() || seen[a] || len(targets) == maxTargets ||
				family == "inet4" && !a.Is4() || family == "inet6" && a.Is4() {
				continue
			}
			seen[a] = true
			targets = append(targets, target{strings.TrimSuffix(strings.ToLower(h.Name), "."), h.Preference, a, h.Secure})
		}
	}
	return targets
}

// arrange puts the addresses of a server in the order in which they are tried: the families in
// turns, https://www.rfc-editor.org/rfc/rfc8305#section-4
func arrange(addrs []netip.Addr, six bool) []netip.Addr {
	var of [2][]netip.Addr
	for _, a := range addrs {
		if a = a.Unmap(); a.Is4() == six {
			of[1] = append(of[1], a)
		} else {
			of[0] = append(of[0], a)
		}
	}
	var out []netip.Addr
	for i := range max(len(of[0]), len(of[1])) {
		for _, list := range of {
			if i < len(list) {
				out = append(out, list[i])
			}
		}
	}
	return out
}
