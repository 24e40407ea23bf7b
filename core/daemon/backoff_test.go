package daemon

import (
	"testing"
	"time"
)

// The first death costs nothing, some more in a minute less than two seconds each, and one after the other at most a minute.
func TestBackoff(t *testing.T) {
	p := new(parent)
	for i, want := range []time.Duration{0, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second,
		8 * time.Second, 16 * time.Second, 32 * time.Second, time.Minute, time.Minute, time.Minute, time.Minute, time.Minute} {
		if got := p.backoff(); got != want {
			t.Errorf("after death %d: %s, want %s", i+1, got, want)
		}
	}
}
