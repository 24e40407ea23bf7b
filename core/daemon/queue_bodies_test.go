package daemon

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
)

func TestBudget(t *testing.T) {
	var b budget
	b.limit(10)
	if !b.try(6) || b.try(5) || !b.try(4) || b.try(1) {
		t.Error("not ten octets")
	}
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan error)
	go func() { got <- b.wait(ctx, 8) }()
	b.give(4)
	select {
	case err := <-got:
		t.Fatalf("eight octets where four are free: %v", err)
	default:
	}
	b.give(6)
	if err := <-got; err != nil {
		t.Error(err)
	}
	b.give(8)
	if !b.try(100) { // the only one is let through
		t.Error("a large message never goes")
	}
	go func() { got <- b.wait(ctx, 1) }()
	cancel()
	if err := <-got; err == nil {
		t.Error("waited beyond the end")
	}
	b.give(100)
	b.limit(0)
	if !b.try(1) || b.try(1) {
		t.Error("without memory one goes at a time")
	}
}

// However many wait, no more is taken than there is, and all get their turn.
func TestBudgetUnderLoad(t *testing.T) {
	var b budget
	b.limit(100)
	var used, most atomic.Int64
	var all sync.WaitGroup
	for i := range int64(200) {
		all.Go(func() {
			n := 1 + i%50
			if b.wait(t.Context(), n) != nil {
				return
			}
			now := used.Add(n)
			for {
				old := most.Load()
				if now <= old || most.CompareAndSwap(old, now) {
					break
				}
			}
			used.Add(-n)
			b.give(n)
		})
	}
	all.Wait()
	if most.Load() > 100 || b.used != 0 {
		t.Errorf("up to %d octets taken, %d not given back", most.Load(), b.used)
	}
}
