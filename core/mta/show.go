package mta

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/godwit-mta/godwit/core/trace"
)

// What is kept of the last status of domains.
const (
	hostStatLife = 4 * time.Hour
	maxHostStats = 10000
)

// Window is how many connections there may be: Width now, of at most Limit. Both are 0 as long as none began.
type Window struct {
	Width, Limit int
	Why          string // why it was made smaller the last time, "" when it never was or that is not known
}

// windowInfo gives the window of a counter.
func (c *counter) windowInfo() Window {
	if c.most == 0 {
		return Window{}
	}
	w := Window{Width: min(c.width(c.start), c.most), Limit: c.most}
	if w.Width < c.most {
		w.Why = c.why
	}
	return w
}

func (w Window) String() string {
	if w.Limit == 0 {
		return "window=-"
	}
	s := fmt.Sprintf("window=%d/%d", w.Width, w.Limit)
	if w.Why != "" {
		s += fmt.Sprintf(" less=\"%s\"", unquoted(w.Why))
	}
	return s
}

// RouteInfo is a line of smtpctl show routes.
type RouteInfo struct {
	ID           int
	Source, Dest netip.Addr // Source is invalid when the system chooses it
	Port         uint16     // at Dest
	New          bool       // nothing was sent over it yet
	Disabled     bool
	Connections  int
	Errors       int
	Penalty      int
	Timeout      time.Duration // until it is enabled
	Window       Window
}

func (r RouteInfo) String() string {
	flags := []byte("----")
	if r.New {
		flags[0] = 'N'
	}
	if r.Disabled {
		flags[1] = 'D'
	}
	timeout := "-"
	if r.Disabled {
		timeout = trace.Delay(r.Timeout)
	}
	return fmt.Sprintf("%d. %s %s nconn=%d nerror=%d penalty=%d timeout=%s %s", r.ID,
		routeKey{r.Source, r.Dest, r.Port}, flags, r.Connections, r.Errors, r.Penalty, timeout, r.Window)
}

// Routes gives the known routes in the order of their numbers.
func (m *MTA) Routes() []RouteInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]RouteInfo, 0, len(m.routes))
	for _, rt := range m.routes {
		i := RouteInfo{ID: rt.id, Source: rt.key.source, Dest: rt.key.dest, Port: rt.key.port, New: rt.ready == 0 && rt.conns == 0,
			Disabled: !rt.disabled.IsZero(), Connections: rt.conns, Errors: rt.errors, Penalty: rt.penalty, Window: rt.windowInfo()}
		if i.Disabled {
			i.Timeout = time.Until(rt.disabled)
		}
		out = append(out, i)
	}
	slices.SortFunc(out, func(a, b RouteInfo) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// ResumeRoute enables a route before its time, and lets credentials be tried again that were
// refused. It gives the destinations that could not be reached because of it, and reports
// false when there is no such route.
func (m *MTA) ResumeRoute(id int) (missed []Destination, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, rt := range m.routes {
		if rt.id == id {
			for d := range rt.missed {
				missed = append(missed, d)
			}
			m.enable(rt)
			rt.penalty = 0
			clear(m.denied)
			return missed, true
		}
	}
	return nil, false
}

// HostInfo is a line of smtpctl show hosts.
type HostInfo struct {
	Addr        netip.Addr
	Name        string
	Connections int
	Last        time.Time // when the last connection began; zero: none did
	Window      Window
}

func (h HostInfo) String() string {
	last, name := "-", h.Name
	if !h.Last.IsZero() {
		last = trace.Delay(time.Since(h.Last))
	}
	if name == "" {
		name = "-"
	}
	return fmt.Sprintf("%s %s refcount=%d nconn=%d lastconn=%s %s", h.Addr, name, h.Connections+1, h.Connections, last, h.Window)
}

// Hosts gives the known servers in the order of their addresses.
func (m *MTA) Hosts() []HostInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]HostInfo, 0, len(m.hosts))
	for a, h := range m.hosts {
		out = append(out, HostInfo{Addr: a, Name: h.ptr, Connections: h.conns, Last: h.last, Window: h.windowInfo()})
	}
	slices.SortFunc(out, func(a, b HostInfo) int { return a.Addr.Compare(b.Addr) })
	return out
}

// RelayInfo is an entry of smtpctl show relays.
type RelayInfo struct {
	Name        string // [relay:DOMAIN,...]
	Domain      string // "" for a relay with a fixed host
	Tasks       int    // messages that wait
	Connections int
	Last        time.Time // when the last connection began; zero: none did
	Waiting     string    // what for: "", "mx" or "limits"
	Policy      string    // of TLS with the server that was used last, and why; "" for none
	Window      Window
	Sources     []SourceInfo // addresses that it may send from, as far as they were used
}

func (r RelayInfo) String() string {
	last, wait := "-", "-"
	if !r.Last.IsZero() {
		last = trace.Delay(time.Since(r.Last))
	}
	if r.Waiting != "" {
		wait = r.Waiting
	}
	s := fmt.Sprintf("%s refcount=%d ntask=%d nconn=%d lastconn=%s timeout=- wait=%s",
		r.Name, r.Connections+1, r.Tasks, r.Connections, last, wait) + " " + r.Window.String()
	if r.Policy != "" {
		s += " " + r.Policy
	}
	for _, src := range r.Sources {
		s += fmt.Sprintf("\n  from %s nconn=%d %s", src.Addr, src.Connections, src.Window)
	}
	return s
}

// SourceInfo is an address that a relay sends from.
type SourceInfo struct {
	Addr        netip.Addr
	Connections int // of all relays
	Window      Window
}

// sourceInfos gives those of a relay that have been used, at most maxSourceInfos. The caller holds the lock.
func (m *MTA) sourceInfos(r *relay) (out []SourceInfo) {
	for _, a := range r.opts.Sources {
		if h := m.sources[a.Unmap()]; h != nil && len(out) < maxSourceInfos {
			out = append(out, SourceInfo{a.Unmap(), h.conns, h.windowInfo()})
		}
	}
	return out
}

const maxSourceInfos = 100

// Relays gives the destinations that have work or connections, sorted by name.
func (m *MTA) Relays() []RelayInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]RelayInfo, 0, len(m.relays))
	for _, r := range m.relays {
		i := RelayInfo{Name: r.opts.describe(r.domain), Domain: r.domain, Tasks: len(r.tasks), Connections: r.conns, Last: r.last, Policy: r.policy, Window: r.windowInfo(), Sources: m.sourceInfos(r)}
		switch {
		case r.resolving:
			i.Waiting = "mx"
		case len(r.seats) > 0:
			i.Waiting = "limits"
		}
		out = append(out, i)
	}
	slices.SortFunc(out, func(a, b RelayInfo) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// HostStat is the last status of a domain, a line of smtpctl show hoststats.
type HostStat struct {
	Domain string
	When   time.Time
	Status string
}

func (h HostStat) String() string { return fmt.Sprintf("%s|%d|%s", h.Domain, h.When.Unix(), h.Status) }

// HostStats gives what became of the last attempt for each domain of the last four hours.
func (m *MTA) HostStats() []HostStat {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]HostStat, 0, len(m.stats))
	for _, s := range m.stats {
		if time.Since(s.When) <= hostStatLife {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b HostStat) int { return cmp.Compare(a.Domain, b.Domain) })
	return out
}

// note keeps the status of a destination. The caller holds the lock.
func (m *MTA) note(r *relay, status string) {
	d := r.limitDomain()
	if _, ok := m.stats[d]; !ok && len(m.stats) >= maxHostStats {
		return
	}
	m.stats[d] = HostStat{d, time.Now(), status}
}
