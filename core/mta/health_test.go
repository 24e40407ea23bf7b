package mta

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

// A host of a list that is dead is passed over, and used again when it is well.
func TestDeadSmarthost(t *testing.T) {
	s := &counted{}
	b := newBench(t, nil)
	addr := s.start(t)
	b.net.to[addr2] = addr
	b.resolver.hosts["one.example"] = []netip.Addr{addr1}
	b.resolver.hosts["two.example"] = []netip.Addr{addr2}
	list := []*Relay{{Name: "out", URL: URL{Host: "one.example"}}, {Name: "out", URL: URL{Host: "two.example"}}}
	elsewhere := func(context.Context) (*Relay, bool) {
		avoid, probe := b.Ailing("out")
		for _, r := range list {
			if u := r.URL.String(); u == probe || probe == "" && (len(avoid) == 0 || avoid[0] != u && len(avoid) < len(list)) {
				return r, true
			}
		}
		return nil, false
	}
	for _, r := range list {
		r.Elsewhere = elsewhere
	}
	for range 10 {
		b.Submit(b.message("x\n", "u@far.example"), list[0])
	}
	for _, r := range b.wait(10) {
		if r.Status != envelope.Delivered || r.MTA != "two.example" {
			t.Errorf("%+v", r)
		}
	}
	if avoid, probe := b.Ailing("out"); len(avoid) != 1 || avoid[0] != "smtp://one.example" || probe != "" {
		t.Errorf("%q %q", avoid, probe)
	}
	if avoid, _ := b.Ailing("other"); len(avoid) != 0 {
		t.Errorf("%q", avoid)
	}
	b.mu.Lock()
	b.ailing[ailingKey{"out", "smtp://one.example"}].until = time.Now().Add(-time.Second)
	b.mu.Unlock()
	if avoid, probe := b.Ailing("out"); len(avoid) != 0 || probe != "smtp://one.example" {
		t.Errorf("not probed: %q %q", avoid, probe)
	}
	if avoid, probe := b.Ailing("out"); len(avoid) != 1 || probe != "" {
		t.Errorf("probed twice: %q %q", avoid, probe)
	}
	b.net.mu.Lock()
	b.net.to[addr1] = addr
	b.net.mu.Unlock()
	for _, r := range b.Routes() {
		b.ResumeRoute(r.ID)
	}
	if r := b.one(list[0], "x\n", "u@far.example"); r.Status != envelope.Delivered || r.MTA != "one.example" {
		t.Errorf("%+v", r)
	}
	if avoid, probe := b.Ailing("out"); len(avoid) != 0 || probe != "" {
		t.Errorf("%q %q", avoid, probe)
	}
	// When all are dead the mail waits.
	b.net.mu.Lock()
	delete(b.net.to, addr2)
	b.net.mu.Unlock()
	only := *list[1]
	only.Name = "single"
	only.Elsewhere = func(context.Context) (*Relay, bool) { return nil, false }
	if r := b.one(&only, "x\n", "u@far.example"); r.Status != envelope.TempFail || !r.Unreached {
		t.Errorf("%+v", r)
	}
}
