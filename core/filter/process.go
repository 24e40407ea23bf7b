package filter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/core/trace"
)

// Options say how a filter process is run. Waits that are zero take their defaults.
type Options struct {
	Name   string   // in the log and in reports
	Config []string // "NAME|VALUE": what it is told at its start
	// Start starts the process and gives its standard input and output. Closing that must
	// end the process.
	Start func(ctx context.Context) (io.ReadWriteCloser, error)
	Log   *trace.Logger

	// FailOpen lets a session go on without a process that does not run or does not answer. A
	// message that it has begun to take is lost to it all the same.
	FailOpen bool

	Handshake time.Duration // from the start until it is ready, 1 minute
	Patience  time.Duration // for an answer, 1 minute: less than a client waits
	FirstWait time.Duration // before the first of several starts, 1 second
}

const (
	longWait = time.Minute // between starts, at most
	steady   = time.Minute // who lived so long is started again after FirstWait
)

// ErrStopped is the error of a process that Close has ended.
var ErrStopped = errors.New("was stopped")

// Process is a filter process that is kept running.
type Process struct {
	Options
	ctx    context.Context
	cancel context.CancelFunc
	ended  chan struct{}

	mu    sync.Mutex
	life  *life        // nil while it does not run
	wants registration // of the last life
}

// Start starts a process and waits until it is ready. The error says why it is not.
func Start(ctx context.Context, opts Options) (*Process, error) {
	opts.Handshake = cmp.Or(opts.Handshake, time.Minute)
	opts.Patience = cmp.Or(opts.Patience, time.Minute)
	opts.FirstWait = cmp.Or(opts.FirstWait, time.Second)
	p := &Process{Options: opts, ended: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	l, err := p.start(ctx)
	if err != nil {
		p.cancel()
		return nil, fmt.Errorf("filter %s: %w", p.Name, err)
	}
	go p.run(l)
	return p, nil
}

// start starts the process and waits until it is ready.
func (p *Process) start(ctx context.Context) (*life, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Handshake)
	defer cancel()
	rw, err := p.Options.Start(ctx)
	if err != nil {
		return nil, err
	}
	l, err := handshake(ctx, rw, &p.Options)
	if err != nil {
		return nil, fmt.Errorf("the process %w", err)
	}
	p.mu.Lock()
	p.life, p.wants = l, l.registration
	p.mu.Unlock()
	return l, nil
}

// run starts the process again when it has ended, until Close.
func (p *Process) run(l *life) {
	defer close(p.ended)
	wait := time.Duration(0)
	for l != nil {
		began := time.Now()
		select {
		case <-l.done:
		case <-p.ctx.Done():
		}
		p.mu.Lock()
		p.life = nil
		p.mu.Unlock()
		if p.ctx.Err() != nil {
			l.fail(ErrStopped)
			return
		}
		if time.Since(began) > steady {
			wait = 0
		}
		l = p.restart(fmt.Errorf("the process %w", l.failure()), &wait)
	}
}

// restart tries until the process is ready again; nil means that it was closed.
func (p *Process) restart(why error, wait *time.Duration) *life {
	for {
		*wait = min(max(2**wait, p.FirstWait), longWait)
		p.Log.Warnf("filter %s: %v; starting it again in %s", p.Name, why, *wait)
		select {
		case <-time.After(*wait):
		case <-p.ctx.Done():
			return nil
		}
		l, err := p.start(p.ctx)
		if err != nil {
			why = err
			continue
		}
		p.Log.Infof("info: filter %s: the process was started again", p.Name)
		return l
	}
}

// now gives the life that a session begins with, and what the process wants to hear. A process that
// does not run wants what it wanted before.
func (p *Process) now() (*life, registration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.life, p.wants
}

// Close ends the process. Whoever waits for it gets an error.
func (p *Process) Close() {
	p.cancel()
	<-p.ended
}
