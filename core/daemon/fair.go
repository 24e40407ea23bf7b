package daemon

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
)

// fairGate lets a few through at a time, the sources of those who wait in turn: who asks
// a thousand times delays nobody but himself.
type fairGate struct {
	mu      sync.Mutex
	free    int
	waiting map[netip.Prefix][]chan struct{}
	turn    []netip.Prefix // those with somebody waiting; the first is next
	crowd   int            // who wait in all
}

// How many may wait, of one source and in all.
const (
	mostWaiting = 100
	mostCrowd   = 1000
)

var errCrowd = errors.New("too many wait")

func newFairGate(n int) *fairGate {
	return &fairGate{free: n, waiting: make(map[netip.Prefix][]chan struct{})}
}

// enter waits for a place. Whoever gets one has to leave.
func (g *fairGate) enter(ctx context.Context, source netip.Prefix) error {
	g.mu.Lock()
	if g.free > 0 {
		g.free--
		g.mu.Unlock()
		return nil
	}
	if len(g.waiting[source]) >= mostWaiting || g.crowd >= mostCrowd {
		g.mu.Unlock()
		return errCrowd
	}
	place := make(chan struct{})
	if g.waiting[source] == nil {
		g.turn = append(g.turn, source)
	}
	g.waiting[source] = append(g.waiting[source], place)
	g.crowd++
	g.mu.Unlock()
	select {
	case <-place:
		return nil
	case <-ctx.Done():
		return g.giveUp(ctx, source, place)
	}
}

// giveUp takes one who waited out again, unless his turn came at the same moment.
func (g *fairGate) giveUp(ctx context.Context, source netip.Prefix, place chan struct{}) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting[source], place)
	if i < 0 {
		return nil
	}
	g.keep(source, slices.Delete(g.waiting[source], i, i+1))
	return ctx.Err()
}

// keep stores who still waits of a source when one went, or forgets the source.
func (g *fairGate) keep(source netip.Prefix, places []chan struct{}) {
	g.crowd--
	if len(places) > 0 {
		g.waiting[source] = places
		return
	}
	delete(g.waiting, source)
	g.turn = slices.DeleteFunc(g.turn, func(p netip.Prefix) bool { return p == source })
}

// leave gives the place to the source that waited longest for its turn.
func (g *fairGate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.turn) == 0 {
		g.free++
		return
	}
	source := g.turn[0]
	g.turn = append(g.turn[1:], source)
	places := g.waiting[source]
	close(places[0])
	g.keep(source, places[1:])
}

// sourceOf gives the network that counts as one client: nobody gets less than a /64 of
// IPv6. It is the zero value for the local socket.
func sourceOf(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits)
	return p
}
