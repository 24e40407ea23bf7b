package mta

import (
	"net/netip"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

// What never reached a server is told apart from what a server put off, and a route knows
// whose mail it held up.
func TestUnreached(t *testing.T) {
	b := newBench(t, nil)
	b.domain("busy.example", scripted(t, func(c *script, _ int) {
		c.serve(nil, func(cmd string) string {
			if cmd[:4] == "RCPT" {
				return "450 4.2.1 later"
			}
			return ""
		})
	}))
	if r := b.one(defaultRelay, "x\n", "u@busy.example"); r.Status != envelope.TempFail || r.Unreached {
		t.Errorf("refused by the server: %+v", r)
	}
	b = newBench(t, nil)
	b.domain("gone.example", "")
	for range 2 {
		if r := b.one(defaultRelay, "x\n", "u@gone.example"); r.Status != envelope.TempFail || !r.Unreached {
			t.Errorf("no server: %+v", r)
		}
	}
	if r := b.one(defaultRelay, "x\n", "u@nowhere.example"); r.Status != envelope.TempFail || !r.Unreached {
		t.Errorf("no exchanger: %+v", r)
	}
	for _, route := range b.Routes() {
		missed, ok := b.ResumeRoute(route.ID)
		if !ok || route.Disabled != (len(missed) == 1) || len(missed) == 1 && missed[0] != (Destination{defaultRelay.Name, "gone.example"}) {
			t.Errorf("%v held up %v", route, missed)
		}
		if again, _ := b.ResumeRoute(route.ID); len(again) != 0 {
			t.Errorf("%v tells of %v again", route, again)
		}
	}
}

func TestReconnectDelay(t *testing.T) {
	b := newBench(t, nil)
	r := newRelay(&Relay{Name: "out"}, "k", "example.com")
	r.opts, r.limits = defaultRelay, Limits{ReconnDelayRoute: time.Hour}.withDefaults()
	r.targets = []target{{addr: addr1}}
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.choose(r); c.route == nil {
		t.Fatalf("a new route: %+v", c)
	}
	rt := b.routeFor(routeKey{netip.Addr{}, addr1, 25})
	rt.ended = time.Now()
	if c := b.choose(r); c.route != nil || !c.at.Equal(rt.ended.Add(time.Hour)) {
		t.Errorf("just used: %+v", c)
	}
	r.limits.ReconnDelayRoute = 0
	if c := b.choose(r); c.route == nil {
		t.Errorf("without a delay: %+v", c)
	}
}
