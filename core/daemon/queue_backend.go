package daemon

import (
	"context"
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
	store, err := q.openStore(s)
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	sched, err := q.openScheduler(s)
	if err != nil {
		_ = store.Close() // nothing was changed in it
		return fmt.Errorf("scheduler: %w", err)
	}
	q.store, q.sched = store, sched
	return nil
}

func (q *queueRole) openStore(s *queueSettings) (queue.Store, error) {
	dir := filepath.Join(q.dir, "incoming") // for files without a name
	switch s.Backends.Queue {
	case "", queueFS:
		return queue.OpenFS(q.dir, queue.Options{MinFree: queue.DefaultMinFree, Encoding: s.Encoding, Together: q.m.peers[Dispatcher].Together}, q.log)
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
