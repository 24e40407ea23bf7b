package mta

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

func TestWindow(t *testing.T) {
	start := time.Now()
	c := &counter{}
	if c.width(5) != 5 || c.width(0) != 1 {
		t.Error("at the start")
	}
	for c.conns = 5; c.width(5) < 8; c.conns = c.width(5) {
		before := c.width(5)
		for range before { // as many successes as it is wide make it wider by one
			if c.width(5) != before {
				t.Fatalf("grew too soon from %d", before)
			}
			c.grow(5)
		}
		c.grow(5) // what is lost by rounding
	}
	c.conns = 3
	if c.grow(5); c.window > 8.2 {
		t.Error("it grows although it is not used")
	}
	c.conns = 8
	if w, less := c.shrink(5, 0, start); w != 4 || !less {
		t.Errorf("shrunk to %d", w)
	}
	if _, less := c.shrink(5, 0, start.Add(shrinkPause/2)); less || c.width(5) != 4 {
		t.Error("the failures of one moment count once")
	}
	if w, _ := c.shrink(5, 3, start.Add(shrinkPause/2)); w != 3 {
		t.Error("the number of connections that work is known")
	}
	for i := range 5 {
		c.shrink(5, 0, start.Add(time.Duration(i+2)*shrinkPause))
	}
	if c.width(5) != 1 {
		t.Errorf("%d, want one at least", c.width(5))
	}
}

func TestRate(t *testing.T) {
	now := time.Now()
	var r rate
	if !r.ready(0, now).IsZero() {
		t.Error("no limit")
	}
	sent, limit := 0, now.Add(10*time.Minute)
	for now.Before(limit) {
		at := r.ready(30, now)
		if at.IsZero() {
			r.spend(30, now)
			sent++
			continue
		}
		if !at.After(now) {
			t.Fatal("it is never ready")
		}
		now = at
	}
	if sent < 299 || sent > 302 {
		t.Errorf("%d messages in ten minutes with 30 a minute", sent)
	}
}

// A server that has too many of our connections gets fewer, and one line says why.
func TestServerAsksForLess(t *testing.T) {
	for _, reply := range []string{"451 4.7.1 slow down", "421 4.7.0 slow down"} {
		var mu sync.Mutex
		n := 0
		b := newBench(t, nil)
		b.domain("example.com", scripted(t, func(c *script, _ int) {
			c.serve([]string{"PIPELINING"}, func(cmd string) string {
				mu.Lock()
				defer mu.Unlock()
				if strings.HasPrefix(cmd, "RCPT") {
					if n++; n > 20 && n <= 30 {
						return reply
					}
				}
				return ""
			})
		}))
		for range 100 {
			b.Submit(b.message("x\n", "u@example.com"), &Relay{Name: "out"})
		}
		b.wait(100)
		if c := strings.Count(b.log.String(), "smtp-out: Fewer connections over route [] <-> 192.0.2.1: "); c != 1 || !b.log.has("because of: "+reply) {
			t.Errorf("%s: %d lines", reply, c)
		}
		b.mu.Lock()
		h := b.hosts[addr1]
		if w := h.width(5); w > 6 {
			t.Errorf("%s: width %d", reply, w)
		}
		b.mu.Unlock()
	}
}

// sourceNet tells servers where a connection comes from.
type sourceNet struct {
	*fakeNet
	mu   sync.Mutex
	from []netip.Addr
}

func (n *sourceNet) Dial(ctx context.Context, source netip.Addr, to netip.AddrPort) (net.Conn, error) {
	n.mu.Lock()
	n.from = append(n.from, source)
	n.mu.Unlock()
	c, err := n.fakeNet.Dial(ctx, source, to)
	if err == nil {
		_, err = fmt.Fprintf(c, "%s\r\n", source)
	}
	return c, err
}

func TestBlacklistedSource(t *testing.T) {
	bad, good := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")
	for _, at := range []string{"banner", "MAIL", "RCPT"} {
		b := newBench(t, nil)
		n := &sourceNet{fakeNet: b.net}
		b.cfg.Dialer = n
		addr := scripted(t, func(c *script, _ int) {
			refused := c.line() == bad.String()
			if refused && at == "banner" {
				c.say("554 5.7.1 blocked using dnsbl.example")
				return
			}
			c.serve([]string{"PIPELINING"}, func(cmd string) string {
				if refused && strings.HasPrefix(cmd, at) {
					return "554 5.7.1 Client host blocked using dnsbl.example"
				}
				return ""
			})
		})
		servers := []netip.Addr{addr1, addr2, netip.MustParseAddr("192.0.2.3"), netip.MustParseAddr("192.0.2.4")}
		for i, a := range servers {
			b.net.to[a] = addr
			b.resolver.mx[fmt.Sprintf("d%d.example", i)] = []MXHost{{Name: fmt.Sprintf("mx%d.example", i), Addrs: []netip.Addr{a}}}
		}
		opts := &Relay{Name: "out", Sources: []netip.Addr{bad, good}}
		for i := range servers {
			for range 3 {
				if r := b.one(opts, "x\n", fmt.Sprintf("u@d%d.example", i)); r.Status != envelope.Delivered {
					t.Errorf("%s: %+v", at, r)
				}
			}
		}
		if c := strings.Count(b.log.String(), "smtp-out: Sending less from 198.51.100.1"); c != 1 {
			t.Errorf("%s: %d lines", at, c)
		}
		n.mu.Lock()
		count := 0
		for _, a := range n.from {
			if a == bad {
				count++
			}
		}
		n.mu.Unlock()
		if count > dislikers {
			t.Errorf("%s: %d connections from the source that is refused", at, count)
		}
	}
	// A source that is alone is not passed over: the server's word counts.
	b := newBench(t, nil)
	b.domain("example.com", scripted(t, func(c *script, _ int) {
		c.serve(nil, func(cmd string) string {
			if strings.HasPrefix(cmd, "RCPT") {
				return "554 5.7.1 blocked using dnsbl.example"
			}
			return ""
		})
	}))
	if r := b.one(&Relay{Name: "out", Sources: []netip.Addr{bad}}, "x\n", "u@example.com"); r.Status != envelope.PermFail {
		t.Errorf("%+v", r)
	}
}

// Servers that do not answer must not take all connections of a source.
func TestSlowServersGiveWay(t *testing.T) {
	for _, at := range []string{"greeting", "MAIL", "DATA"} {
		b := newBench(t, func(c *Config) { c.Timeouts.Slow = 300 * time.Millisecond })
		hung := make(chan struct{})
		slow := scripted(t, func(c *script, _ int) {
			if at == "greeting" {
				<-hung
				return
			}
			c.serve(nil, func(cmd string) string {
				if strings.HasPrefix(cmd, at) {
					<-hung
					return "-"
				}
				return ""
			})
		})
		fast := scripted(t, func(c *script, _ int) { c.serve(nil, nil) })
		t.Cleanup(func() { close(hung) }) // before the servers are waited for
		opts := &Relay{Name: "out", Limits: patient(Limits{MaxConnPerSource: 8})}
		server := func(i int, addr string) string {
			a := netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})
			name := fmt.Sprintf("d%d.example", i)
			b.net.to[a] = addr
			b.resolver.mx[name] = []MXHost{{Name: "mx." + name, Addrs: []netip.Addr{a}}}
			return name
		}
		var dead, alive []string
		for i := range 12 {
			dead = append(dead, server(i, slow))
			alive = append(alive, server(100+i, fast))
		}
		good := make(map[envelope.ID]bool)
		for _, d := range dead {
			b.Submit(b.message("x\n", "u@"+d), opts)
		}
		for _, d := range alive {
			m := b.message("x\n", "u@"+d)
			good[m.Recipients[0].ID] = true
			b.Submit(m, opts)
		}
		limit := time.After(patience)
		for len(good) > 0 {
			select {
			case r := <-b.results:
				if good[r.ID] != (r.Status == envelope.Delivered) {
					t.Errorf("%s: %+v", at, r)
				}
				delete(good, r.ID)
			case <-limit:
				t.Fatalf("%s: %d wait\n%.3000s", at, len(good), b.log)
			}
		}
	}
}

// TestSourceWindow makes the window of a source address smaller for each server that refuses it, once.
func TestSourceWindow(t *testing.T) {
	b := newBench(t, nil)
	source := netip.MustParseAddr("198.51.100.1")
	opts := &Relay{Name: "a", Sources: []netip.Addr{source, netip.MustParseAddr("198.51.100.2")}}
	r := newRelay(opts, "k", "example.com")
	r.opts = opts
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.sourceFor(source)
	h.conns, h.start, h.most = 20, 20, 20
	if w := h.windowInfo(); w.String() != "window=20/20" {
		t.Errorf("at the start: %v", w)
	}
	for _, tt := range []struct {
		by   netip.Addr
		want int
	}{{addr1, 10}, {addr1, 10}, {addr2, 5}, {addr1, 5}} {
		c := choice{source: source, target: target{addr: tt.by}}
		c.route = b.routeFor(r.routeTo(source, tt.by))
		h.shrunk = time.Time{} // long ago
		b.otherSource(r, c, `550 "blocked"`)
		if w := h.windowInfo(); w != (Window{tt.want, 20, `550 "blocked"`}) {
			t.Errorf("after %s: %v, want %d", tt.by, w, tt.want)
		}
		h.conns = tt.want
	}
	if got := b.sourceInfos(r); len(got) != 1 || got[0].Window.String() != `window=5/20 less="550 'blocked'"` {
		t.Errorf("%v", got)
	}
	if ok, full, _ := check(time.Now(), bound{&h.counter, 20, 0, 20, 0}); ok || full != &h.counter {
		t.Error("it may have another connection")
	}
	for range 6 {
		h.grow(20)
	}
	if w := h.windowInfo(); w.Width != 6 {
		t.Errorf("it works again: %v", w)
	}
}

// TestShownWindows tells the windows of what was used.
func TestShownWindows(t *testing.T) {
	s := &sink{}
	b := newBench(t, nil)
	b.domain("example.com", s.start(t, nil))
	opts := &Relay{Name: "a", Sources: []netip.Addr{netip.MustParseAddr("198.51.100.1")}, Limits: Limits{StartConn: 3}}
	if r := b.one(opts, "x\n", "u@example.com"); r.Status != envelope.Delivered {
		t.Fatalf("%+v", r)
	}
	for what, line := range map[string]string{
		"window=3/10":  b.Hosts()[0].String(),
		"window=3/5":   b.Routes()[0].String(),
		"window=3/100": b.Relays()[0].String(),
		"\n  from 198.51.100.1 nconn=1 window=100/100": b.Relays()[0].String(),
	} {
		if !strings.Contains(line, what) {
			t.Errorf("no %q in %s", what, line)
		}
	}
}

// TestRoutesByPort keeps what is known of one port of a server apart from the others.
func TestRoutesByPort(t *testing.T) {
	for scheme, want := range map[string]string{"smtp://192.0.2.1": "[] <-> 192.0.2.1", "smtp://192.0.2.1:2525": "[] <-> 192.0.2.1:2525",
		"smtps://192.0.2.1": "[] <-> 192.0.2.1:465"} {
		u, err := ParseURL(scheme)
		if err != nil {
			t.Fatal(err)
		}
		if got := (&relay{opts: &Relay{URL: u}}).routeTo(netip.Addr{}, addr1); got.String() != want {
			t.Errorf("%s: %s, want %s", scheme, got, want)
		}
	}
}
