package daemon

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// queued waits until so many wait at the gate.
func (g *fairGate) queued() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, places := range g.waiting {
		n += len(places)
	}
	return n
}

// Those who wait are let in one source after the other, and within a source in order.
func TestFairGate(t *testing.T) {
	g := newFairGate(1)
	if err := g.enter(t.Context(), netip.Prefix{}); err != nil {
		t.Fatal(err)
	}
	var order []string
	var all sync.WaitGroup
	for i, name := range []string{"a1", "a2", "a3", "b1", "b2", "c1"} {
		source := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, name[0]}), 32)
		all.Go(func() {
			if err := g.enter(t.Context(), source); err != nil {
				t.Error(err)
			}
			order = append(order, name)
			g.leave()
		})
		for g.queued() != i+1 {
		}
	}
	g.leave()
	all.Wait()
	if got := strings.Join(order, " "); got != "a1 b1 c1 a2 b2 a3" {
		t.Errorf("order %s", got)
	}
	if g.free != 1 || len(g.waiting)+len(g.turn)+g.crowd != 0 {
		t.Errorf("left behind: %+v", g)
	}
}

func TestFairGateGivesUp(t *testing.T) {
	g := newFairGate(1)
	source := sourceOf(netip.MustParseAddr("2001:db8::1"))
	if source != sourceOf(netip.MustParseAddr("2001:db8::2")) || source == sourceOf(netip.MustParseAddr("2001:db8:0:1::1")) {
		t.Errorf("source %s", source)
	}
	if err := g.enter(t.Context(), source); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range mostWaiting {
		all.Go(func() {
			if err := g.enter(ctx, source); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	for g.queued() != mostWaiting {
	}
	if err := g.enter(t.Context(), source); !errors.Is(err, errCrowd) {
		t.Error(err)
	}
	cancel()
	all.Wait()
	g.leave()
	if g.free != 1 || len(g.waiting)+len(g.turn)+g.crowd != 0 {
		t.Errorf("left behind: %+v", g)
	}
}

// However many sources there are, no more wait than can be served in time.
func TestFairGateCrowd(t *testing.T) {
	g := newFairGate(0)
	ctx, cancel := context.WithCancel(t.Context())
	source := func(i int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)
	}
	var all sync.WaitGroup
	for i := range mostCrowd {
		all.Go(func() {
			if err := g.enter(ctx, source(i)); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	for g.queued() != mostCrowd {
	}
	if err := g.enter(ctx, source(mostCrowd)); !errors.Is(err, errCrowd) {
		t.Error(err)
	}
	cancel()
	all.Wait()
	if len(g.waiting)+len(g.turn)+g.crowd != 0 {
		t.Errorf("left behind: %+v", g)
	}
}
