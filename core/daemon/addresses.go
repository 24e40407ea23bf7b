package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/config"
)

// Interfaces and addresses come and go while the daemon runs. The parent is told, looks
// again what the configuration listens on, and gives the dispatcher the sockets that came,
// and lookup the addresses of the host. This is less than a reload: tables and keys are
// not read again, sessions and programs go on.

// surroundings is what the parent's loop knows of the host. Only that loop uses it, but
// for one goroutine at a time that looks.
type surroundings struct {
	resolver *resolver
	changes  <-chan struct{}
	timer    *time.Timer
	due      time.Time // when the timer fires; zero: it does not
	wait     time.Duration
	looking  bool
	again    bool             // something changed while looking
	plans    chan *listenPlan // the result of looking
	said     []string         // lines about what is missing
}

const (
	settleTime = 250 * time.Millisecond // changes come in crowds
	waitLeast  = time.Second            // between two looks for something missing; doubles
	waitMost   = time.Minute
	waitAloud  = 5 * time.Second // when an address that should be ready soon is spoken of
	renewHosts = 5 * time.Minute // between two looks for the addresses of host names
)

// watchHost begins to watch the host until ctx is done.
func (p *parent) watchHost(ctx context.Context, n *network) {
	if n == nil {
		n = hostNetwork()
	}
	timer := time.NewTimer(waitMost)
	timer.Stop()
	p.host = surroundings{resolver: newResolver(n), timer: timer, wait: waitLeast, plans: make(chan *listenPlan, 1)}
	var err error
	if p.host.changes, err = n.watch(ctx); err != nil {
		p.log.Debugf("interfaces: %v; looking from time to time instead", err)
	}
}

// after lets the loop look at the host again in a while, if it is not to do so earlier.
func (h *surroundings) after(d time.Duration) {
	due := time.Now().Add(d)
	if h.due.IsZero() || due.Before(h.due) {
		h.due = due
		h.timer.Reset(d)
	}
}

// opened plans the next look: soon while something is missing, more and more seldom while
// it stays so, and from time to time for host names.
func (h *surroundings) opened(missing, named bool) {
	switch {
	case missing:
		h.after(h.wait)
		h.wait = min(2*h.wait, waitMost)
	case named:
		h.after(renewHosts)
	}
}

// look finds out what there is to listen on, outside of the loop: name servers can be slow.
func (p *parent) look() {
	h := &p.host
	h.due = time.Time{}
	if h.looking {
		h.again = true
		return
	}
	h.looking = true
	cfg := p.cfg
	go func() {
		plan, err := h.resolver.plan(cfg, false)
		if err != nil {
			p.log.Warnf("interfaces: %v", err)
			plan = nil
		}
		h.plans <- plan
	}()
}

// looked takes up what was found out, unless the configuration is another one by now.
func (p *parent) looked(s *set, plan *listenPlan) {
	h := &p.host
	h.looking = false
	if h.again {
		h.again = false
		h.after(settleTime)
	}
	switch {
	case plan == nil:
		h.opened(true, false)
	case plan.cfg != p.cfg:
		h.after(settleTime)
	default:
		if err := p.readdress(s, plan); err != nil {
			p.log.Warnf("addresses not taken up: %v", err)
			h.opened(true, false)
		}
	}
}

// plan is what a configuration that was just read listens on. It waits for a look that is
// under way: the resolver serves one at a time.
func (p *parent) plan(cfg *config.Config) (*listenPlan, error) {
	if p.host.looking {
		<-p.host.plans
		p.host.looking, p.host.again = false, false
	}
	return p.host.resolver.plan(cfg, true)
}

// readdress gives the members what changed.
func (p *parent) readdress(s *set, plan *listenPlan) error {
	before := p.bound.now
	opened, err := p.bound.open(plan, true)
	if err != nil {
		return err
	}
	msg := addresses{Interfaces: p.bound.now.interfaces}
	msg.Added, msg.Gone = changed(before.listeners, p.bound.now.listeners)
	moved := len(msg.Added)+len(msg.Gone) > 0
	if moved || !slices.Equal(before.interfaces, p.bound.now.interfaces) {
		if err := p.sendAddresses(s, &msg); err != nil {
			p.bound.discard(opened)
			p.bound.now = before
			return err
		}
		p.bound.prune()
	}
	if moved {
		p.log.Infof("info: %s", movedText(&msg))
	}
	p.sayMissing()
	p.host.opened(p.bound.now.waits(), plan.named)
	return nil
}

// makeRoom closes sockets that a new configuration does not have and that are in its way,
// such as that for all addresses when it listens on one of them. It reports whether there
// were any. They are opened again when the configuration is not used in the end.
func (p *parent) makeRoom(s *set, plan *listenPlan) bool {
	msg := addresses{Interfaces: p.bound.now.interfaces, Gone: p.bound.inTheWay(plan)}
	if len(msg.Gone) == 0 || p.sendAddresses(s, &msg) != nil {
		return false
	}
	p.bound.discard(msg.Gone)
	p.bound.now.listeners = slices.DeleteFunc(slices.Clone(p.bound.now.listeners), func(l boundListener) bool {
		return slices.Contains(msg.Gone, l.Addr)
	})
	return true
}

// sendAddresses tells lookup, then the dispatcher. An error of the dispatcher means that it
// goes on as before; when it does not answer, nobody knows, and all start again.
func (p *parent) sendAddresses(s *set, msg *addresses) error {
	ctx, cancel := context.WithTimeout(context.Background(), setupWait)
	defer cancel()
	if err := s.members[Lookup].conn.Call(ctx, kindAddresses, &addresses{Interfaces: msg.Interfaces}, nil); err != nil {
		return err
	}
	conn := s.members[Dispatcher].conn
	for _, f := range p.bound.copies(msg.Added) {
		if err := conn.Send(kindListener, nil, f); err != nil {
			return err
		}
	}
	err := conn.Call(ctx, kindAddresses, msg, nil)
	if ctx.Err() != nil {
		s.gone(s.members[Dispatcher], "did not take up the addresses")
	}
	return err
}

// changed compares two lists of listeners. An address that goes from one line of the
// configuration to another one is in both results.
func changed(before, now []boundListener) (added []boundListener, gone []netip.AddrPort) {
	lines := make(map[netip.AddrPort]config.Pos, len(before))
	for _, b := range before {
		lines[b.Addr] = b.Pos
	}
	for _, n := range now {
		if pos, ok := lines[n.Addr]; !ok || pos != n.Pos {
			added = append(added, n)
		} else {
			delete(lines, n.Addr)
		}
	}
	for _, b := range before {
		if _, ok := lines[b.Addr]; ok {
			gone = append(gone, b.Addr)
		}
	}
	return added, gone
}

// sayMissing logs what is waited for and which lines of the configuration have no effect,
// once.
func (p *parent) sayMissing() {
	now := &p.bound.now
	lines := slices.Clone(now.shadowed)
	waiting := now.missing
	if p.host.wait > waitAloud {
		waiting = slices.Concat(waiting, now.unready)
	}
	for _, line := range waiting {
		lines = append(lines, line+"; waiting for it")
	}
	for _, line := range lines {
		if !slices.Contains(p.host.said, line) {
			p.log.Warnf("%s", line)
		}
	}
	p.host.said = lines
}

// mostNamed is how many addresses a line of the log names.
const mostNamed = 8

func movedText(msg *addresses) string {
	var parts []string
	if len(msg.Added) > 0 {
		addrs := make([]netip.AddrPort, len(msg.Added))
		for i, b := range msg.Added {
			addrs[i] = b.Addr
		}
		parts = append(parts, "now listening on "+addrsText(addrs))
	}
	if len(msg.Gone) > 0 {
		parts = append(parts, "no longer on "+addrsText(msg.Gone))
	}
	return strings.Join(parts, ", ")
}

func addrsText(addrs []netip.AddrPort) string {
	var b strings.Builder
	for i, a := range addrs[:min(len(addrs), mostNamed)] {
		if i > 0 {
			b.WriteString(" ")
		}
		b.WriteString(a.String())
	}
	if more := len(addrs) - mostNamed; more > 0 {
		fmt.Fprintf(&b, " and %d more", more)
	}
	return b.String()
}
