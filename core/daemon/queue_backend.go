package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/godwit-mta/godwit/core/program"
	"github.com/godwit-mta/godwit/core/queue"
	"github.com/godwit-mta/godwit/core/scheduler"
)

// openBackends opens what keeps the messages and what decides when they are due.
func (q *queueRole) openBackends(s *queueSettings) error {
	sched, err := q.openScheduler(s)
	if err != nil {
		return fmt.Errorf("scheduler: %w", err)
	}
	q.sched, q.opened = sched, make(chan struct{})
	if s.Backends.Queue == "" || s.Backends.Queue == queueFS {
		err = q.openFS(s)
	} else if q.store, err = q.openStore(s); err == nil {
		close(q.opened)
	}
	if err != nil {
		q.halt()
		q.sched = nil
		return fmt.Errorf("queue: %w", err)
	}
	return nil
}

// reopenWait is how long a reload waits for a journal that is still being read.
const reopenWait = 5 * time.Second

var errNotOpen = errors.New("the queue is still being read: try again later")

// openWait is how long the start waits for the journal to be read, so that an error is one of the start.
const openWait = 200 * time.Millisecond

// openFS opens the store on disk. A journal that is large is read while sessions begin already; what they
// ask of the queue waits for it.
func (q *queueRole) openFS(s *queueSettings) error {
	opening, err := queue.BeginFS(q.dir, queue.Options{MinFree: queue.DefaultMinFree, Encoding: s.Encoding, Together: q.m.peers[Dispatcher].Together}, q.log)
	if err != nil {
		return err
	}
	var failed error // to be looked at when opened is closed
	go func() {
		defer close(q.opened)
		defer q.m.procs.wide()()
		store, err := opening.Finish()
		if failed = err; err == nil {
			q.store = store
		}
	}()
	select {
	case <-q.opened:
		return failed
	case <-time.After(openWait):
	}
	q.log.Infof("info: queue: the journal is large: it is read while sessions begin already")
	go func() {
		if <-q.opened; failed != nil {
			q.log.Warnf("queue: %v", failed)
			q.m.parent.Abort() // all are started again, as often as it takes
		}
	}()
	return nil
}

// isOpen reports whether the store is open. It never is when that failed.
func (q *queueRole) isOpen() bool {
	select {
	case <-q.opened:
		return q.store != nil
	default:
		return false
	}
}

// waitOpen waits for the store, and reports whether there is one.
func (q *queueRole) waitOpen(ctx context.Context) bool {
	select {
	case <-q.opened:
	case <-ctx.Done():
	}
	return q.isOpen()
}

func (q *queueRole) openStore(s *queueSettings) (queue.Store, error) {
	dir := filepath.Join(q.dir, "incoming") // for files without a name
	switch s.Backends.Queue {
	case queueRAM:
		return queue.NewRAM(dir), nil
	case queueNull:
		return queue.NewNull(dir), nil
	}
	return queue.OpenProgram(q.ctx, queue.ProgramOptions{Dir: dir, Options: program.Options{Log: q.log,
		Config: []string{"spool|" + s.Spool}, Start: q.backend(false)}})
}

// openScheduler opens the scheduler; activate sets its limits.
func (q *queueRole) openScheduler(s *queueSettings) (scheduler.Backend, error) {
	switch s.Backends.Scheduler {
	case "", schedulerRAM:
		return scheduler.New(scheduler.Limits{}, time.Now), nil
	case schedulerNull:
		return scheduler.NewNull(time.Now), nil
	}
	return scheduler.OpenProgram(q.ctx, scheduler.ProgramOptions{Clock: time.Now, Wake: q.nudge,
		Options: program.Options{Log: q.log, Start: q.backend(true)}})
}

// backend gives what has the parent start the program of a backend.
func (q *queueRole) backend(scheduler bool) func(ctx context.Context) (io.ReadWriteCloser, error) {
	return func(ctx context.Context) (io.ReadWriteCloser, error) {
		return q.m.openProgram(ctx, kindBackend, &backendRequest{Scheduler: scheduler})
	}
}

// halt ends the programs of the backends without another word.
func (q *queueRole) halt() {
	if s, ok := q.sched.(*scheduler.Program); ok {
		s.Close()
	}
	if !q.isOpen() {
		return
	}
	if s, ok := q.store.(*queue.Program); ok {
		s.Halt()
	}
}

// sayLost tells how much mail goes with the memory in which it was kept.
func (q *queueRole) sayLost() {
	if n := q.sched.Counts().Envelopes; n > 0 && q.settings().Backends.Queue == queueRAM {
		q.log.Warnf("queue: %d envelopes are lost: queue=ram keeps nothing", n)
	}
}
