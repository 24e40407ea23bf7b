package ipc

import (
	"runtime"
	"sync"
	"testing"
)

// However many requests are answered at a time, none waits for another, and only some
// goroutines stay.
func TestWorkers(t *testing.T) {
	var w workers
	w.init()
	before := runtime.NumGoroutine()
	const many = 3 * mostIdle
	for range 3 {
		var begun, done sync.WaitGroup
		begun.Add(many)
		all := make(chan struct{})
		for range many {
			done.Add(1)
			w.run(func() {
				defer done.Done()
				begun.Done()
				<-all
			})
		}
		begun.Wait()
		close(all)
		done.Wait()
	}
	for runtime.NumGoroutine() > before+mostIdle {
		runtime.Gosched()
	}
	w.end()
	for runtime.NumGoroutine() > before {
		runtime.Gosched()
	}
	ran := make(chan struct{})
	w.run(func() { close(ran) }) // also after the end
	<-ran
}
