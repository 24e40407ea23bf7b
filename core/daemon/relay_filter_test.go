package daemon

import (
	"testing"

	"github.com/godwit-mta/godwit/core/mta"
)

// TestHoldFilters: filters are held until the last result of a message was given, and not longer.
func TestHoldFilters(t *testing.T) {
	released := make(chan struct{}, 2)
	closed := false
	m := &mta.Message{Close: func() { closed = true }}
	held := true
	f := &mta.Filters{Hold: func() bool { return held }, Release: func() { released <- struct{}{} }}
	if !holdFilters(f, m) || closed || len(released) != 0 {
		t.Fatal("not held")
	}
	m.Close()
	if <-released; !closed {
		t.Error("the body was not closed")
	}
	held = false
	if m = new(mta.Message); holdFilters(f, m) || m.Close != nil {
		t.Error("filters that have ended are held")
	}
}
