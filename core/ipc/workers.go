package ipc

import "sync/atomic"

// workers are goroutines that answer one request after the other. A new goroutine has to
// grow its stack, which takes longer than most answers.
type workers struct {
	next chan func()
	gone chan struct{}
	idle atomic.Int32
}

// mostIdle is how many workers of a connection wait for more to do.
const mostIdle = 32

func (w *workers) init() {
	w.next, w.gone = make(chan func()), make(chan struct{})
}

// end lets idle workers go; busy ones go when they are done.
func (w *workers) end() { close(w.gone) }

// run calls f in a worker and does not wait for it.
func (w *workers) run(f func()) {
	select {
	case w.next <- f:
	default:
		go w.work(f)
	}
}

func (w *workers) work(f func()) {
	for {
		f()
		f = nil // so that nothing of it is kept
		if w.idle.Add(1) > mostIdle {
			w.idle.Add(-1)
			return
		}
		select {
		case f = <-w.next:
			w.idle.Add(-1)
		case <-w.gone:
			return
		}
	}
}
