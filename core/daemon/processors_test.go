package daemon

import (
	"runtime"
	"testing"
	"time"
)

// TestProcessors has what is large use all processors for as long as any of it is under way.
func TestProcessors(t *testing.T) {
	before := runtime.GOMAXPROCS(4)
	defer runtime.GOMAXPROCS(before)
	for role, want := range map[Role]int{Control: 1, Agent: 1, Crypto: 2, Lookup: 2, Dispatcher: 2, Queue: 2} {
		runtime.GOMAXPROCS(4)
		if LimitProcessors(role); runtime.GOMAXPROCS(0) != want {
			t.Errorf("%s works on %d of 4, want %d", role, runtime.GOMAXPROCS(0), want)
		}
	}
	runtime.GOMAXPROCS(1)
	p := LimitProcessors(Queue)
	p.wide()()
	if n := runtime.GOMAXPROCS(0); n != 1 || p.narrow != nil {
		t.Errorf("of one processor there are %d", n)
	}
	runtime.GOMAXPROCS(4)
	p = LimitProcessors(Queue)
	first, second := p.wide(), p.wide()
	first()
	first() // counts once
	p.shrink()
	if n := runtime.GOMAXPROCS(0); n != 4 {
		t.Errorf("while something large is under way: %d, want 4", n)
	}
	second()
	if !p.narrow.Stop() {
		t.Error("nothing ends the use of all")
	}
	if n := runtime.GOMAXPROCS(0); n != 4 {
		t.Errorf("at once after that: %d, want 4", n)
	}
	p.shrink()
	if n := runtime.GOMAXPROCS(0); n != 2 {
		t.Errorf("later: %d, want 2", n)
	}
	p.wide()
	if n := runtime.GOMAXPROCS(0); n != 4 || p.narrow.Reset(time.Hour) {
		t.Errorf("again: %d, want 4, and the end of it put off", n)
	}
	var none *Processors
	none.wide()()
}
