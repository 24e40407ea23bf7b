package daemon

import (
	"runtime"
	"sync"
	"time"
)

// Processors says how many processors a role's process works on. A nil one changes nothing.
//
// Work that comes in small pieces is done with less effort on few of them: on each processor more Go's
// scheduler looks for work when some may be there, and hands the pieces to and fro. On two processors the dispatcher and
// the queue take an eighth less time for a message when each works on one. What is large may have them all.
type Processors struct {
	few, all int

	mu     sync.Mutex
	large  int // how much that is large is under way
	narrow *time.Timer
}

// narrowWait is how long all processors are kept for what is large and follows soon: to change
// their number stops all goroutines for a moment.
const narrowWait = time.Second

// LimitProcessors keeps the process of a role to some of the processors that it may use.
func LimitProcessors(role Role) *Processors {
	p := &Processors{all: runtime.GOMAXPROCS(0), few: 1}
	switch role {
	case Dispatcher, Queue, Lookup, Crypto:
		p.few = max(1, p.all/2)
	}
	runtime.GOMAXPROCS(p.few)
	return p
}

// wide lets the process have all processors until done is called.
func (p *Processors) wide() (done func()) {
	if p == nil || p.few == p.all {
		return func() {}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.narrow != nil {
		p.narrow.Stop()
	}
	if p.large++; p.large == 1 && runtime.GOMAXPROCS(0) != p.all {
		runtime.GOMAXPROCS(p.all)
	}
	return sync.OnceFunc(p.leave)
}

// leave ends what wide began.
func (p *Processors) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.large--; p.large > 0 {
		return
	}
	if p.narrow == nil {
		p.narrow = time.AfterFunc(narrowWait, p.shrink)
		return
	}
	p.narrow.Reset(narrowWait)
}

// shrink goes back to few processors, unless something large began meanwhile.
func (p *Processors) shrink() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.large == 0 {
		runtime.GOMAXPROCS(p.few)
	}
}
