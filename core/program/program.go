package program

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

// Options say how a program is run. Waits that are zero take their defaults.
type Options struct {
	Backend string   // what it is to be: "queue" or "scheduler"
	Config  []string // "NAME|VALUE": what it is told at its start
	// Start starts the program and gives its standard input and output. Closing that must
	// end the program.
	Start func(ctx context.Context) (io.ReadWriteCloser, error)
	// Up is called at each start when the program is ready, before anybody else can ask it. It
	// must not wait for an answer. It may be nil.
	Up  func(c *Conn)
	Log *trace.Logger

	Handshake time.Duration // from the start until it is ready, 5 minutes: it may have to recover
	Patience  time.Duration // without an octet while it is to answer something, 30 seconds
	FirstWait time.Duration // before the first of several starts, 1 second
}

const (
	longWait = time.Minute // between starts, at most
	steady   = time.Minute // who lived so long is started again after FirstWait
)

// ErrStopped is the error of a program that Close has ended.
var ErrStopped = errors.New("was stopped")

// Program is a program that is kept running.
type Program struct {
	Options
	ctx    context.Context
	cancel context.CancelFunc
	ended  chan struct{}

	mu   sync.Mutex
	conn *Conn
	down error // why there is no conn
}

// Open starts a program. The error says why it cannot be used.
func Open(ctx context.Context, opts Options) (*Program, error) {
	opts.Handshake = cmp.Or(opts.Handshake, 5*time.Minute)
	opts.Patience = cmp.Or(opts.Patience, 30*time.Second)
	opts.FirstWait = cmp.Or(opts.FirstWait, time.Second)
	p := &Program{Options: opts, ended: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	conn, err := p.start(ctx)
	if err != nil {
		p.cancel()
		return nil, err
	}
	go p.run(conn)
	return p, nil
}

// start starts the program and waits until it is ready.
func (p *Program) start(ctx context.Context) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Handshake)
	defer cancel()
	rw, err := p.Start(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := handshake(ctx, rw, &p.Options)
	if err != nil {
		return nil, fmt.Errorf("the program %w", err)
	}
	if p.Up != nil {
		p.Up(conn)
	}
	p.mu.Lock()
	p.conn, p.down = conn, nil
	p.mu.Unlock()
	return conn, nil
}

// run starts the program again when it has ended, until Close.
func (p *Program) run(conn *Conn) {
	defer close(p.ended)
	wait := time.Duration(0)
	for conn != nil {
		began := time.Now()
		select {
		case <-conn.done:
		case <-p.ctx.Done():
			p.lower(ErrStopped)
			conn.Fail(ErrStopped)
			<-conn.ended
			return
		}
		if p.ctx.Err() != nil { // it ended because it was told to
			p.lower(ErrStopped)
			return
		}
		if time.Since(began) > steady {
			wait = 0
		}
		conn = p.restart(fmt.Errorf("the program %w", conn.failure()), &wait)
	}
}

// restart tries until the program is ready again; nil means that it was closed.
func (p *Program) restart(why error, wait *time.Duration) *Conn {
	for {
		*wait = min(max(2**wait, p.FirstWait), longWait)
		p.lower(why)
		p.Log.Warnf("%s backend: %v; starting it again in %s", p.Backend, why, *wait)
		select {
		case <-time.After(*wait):
		case <-p.ctx.Done():
			p.lower(ErrStopped)
			return nil
		}
		conn, err := p.start(p.ctx)
		if err != nil {
			why = err
			continue
		}
		p.Log.Infof("info: %s backend: the program was started again", p.Backend)
		return conn
	}
}

func (p *Program) lower(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conn, p.down = nil, why
}

// Conn gives the program as it runs now. The error says why it does not.
func (p *Program) Conn() (*Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil {
		return nil, fmt.Errorf("the program of the %s does not run: %w", p.Backend, p.down)
	}
	return p.conn, nil
}

// Done is closed when Close was called.
func (p *Program) Done() <-chan struct{} { return p.ctx.Done() }

// Close ends the program. It may be called more than once.
func (p *Program) Close() {
	p.cancel()
	<-p.ended
}
