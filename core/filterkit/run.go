package filterkit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// run is one call of Run.
type run struct {
	f      *Filter
	ctx    context.Context
	config Config
	log    *log.Logger
	in     *bufio.Reader
	out    output
	begun  chan struct{} // a place for each function of Begin
	held   atomic.Int64  // octets of messages in memory

	mu       sync.Mutex
	changed  sync.Cond // pending or active became less, or err was set
	sessions map[key]*Session
	ready    []*Session // wait for their turn
	active   int        // goroutines that call handlers
	pending  int        // octets read and not handled
	err      error
}

// key tells sessions apart.
type key struct {
	out bool
	id  uint64
}

// Run speaks with the server until it is gone, which is no error, or until ctx ends. It returns when the last handler
// has. It closes neither in nor out: when ctx has ended or out has failed, a goroutine may still wait for in, so the
// program had better end then. A line of the server that cannot be read is an error.
func (f *Filter) Run(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &run{f: f, ctx: ctx, log: f.Log, in: bufio.NewReaderSize(in, 64<<10),
		begun: make(chan struct{}, or(f.MaxActive, 1024)), sessions: make(map[key]*Session)}
	r.changed.L = &r.mu
	r.out.w = bufio.NewWriterSize(out, 64<<10)
	r.out.failed = r.fail
	if r.log == nil {
		r.log = log.Default()
	}
	ended := make(chan error, 1)
	go func() {
		err := r.handshake()
		if err == nil {
			err = r.read()
		}
		ended <- err
		r.mu.Lock()
		r.changed.Broadcast()
		r.mu.Unlock()
	}()
	stop := context.AfterFunc(ctx, func() { r.fail(context.Cause(ctx)) })
	defer stop()
	return r.wait(ended, cancel)
}

// wait has the outcome of the reader or of fail, whichever comes first, and waits for the handlers.
func (r *run) wait(ended <-chan error, cancel context.CancelFunc) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	for done := false; !done; {
		select {
		case err = <-ended:
			done = true
		default:
			if done = r.err != nil; !done {
				r.changed.Wait()
			}
		}
	}
	if err != nil && r.err == nil {
		r.err = err
	}
	if r.err != nil {
		cancel()
	}
	for r.active > 0 {
		r.changed.Wait()
	}
	return r.err
}

// fail ends the run.
func (r *run) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
	r.changed.Broadcast()
}

// readLine gives the next line without its end, io.EOF at the end.
func (r *run) readLine() (string, error) {
	var long []byte
	for {
		part, err := r.in.ReadSlice('\n')
		switch {
		case len(long)+len(part) > maxLine:
			return "", fmt.Errorf("%w: longer than %d octets", errLine, maxLine)
		case errors.Is(err, bufio.ErrBufferFull):
			long = append(long, part...)
		case err == io.EOF && len(long)+len(part) > 0:
			return "", fmt.Errorf("%w: it has no end", errLine)
		case err != nil:
			return "", err
		case long == nil:
			return string(part[:len(part)-1]), nil
		default:
			long = append(long, part...)
			return string(long[:len(long)-1]), nil
		}
	}
}

func (r *run) read() error {
	for {
		s, err := r.readLine()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		l, err := parseLine(s)
		if err != nil {
			return err
		}
		if l.filter && !r.registered(&l) {
			return fmt.Errorf("%w: nobody wanted to decide: %.200q", errLine, s)
		}
		if !r.push(l, len(s)) {
			return nil
		}
	}
}

// registered says whether a question was asked for.
func (r *run) registered(l *line) bool {
	return slices.Contains(r.f.side(l.out).phases(), Phase(l.name))
}

// handshake reads the configuration and says what is wanted.
func (r *run) handshake() error {
	announced := false
	for {
		s, err := r.readLine()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		f := strings.SplitN(s, "|", 3)
		if f[0] != "config" || len(f) < 2 {
			return badLine(s)
		}
		if s == "config|ready" {
			break
		}
		if len(f) < 3 {
			return badLine(s)
		}
		announced = announced || f[1] == "subsystem"
		if err := r.config.set(f[1], f[2]); err != nil {
			return badLine(s)
		}
	}
	if !announced { // a server of old
		r.config.In, r.config.Out = true, true
	}
	return r.register()
}

func (c *Config) set(name, value string) error {
	switch name {
	case "smtpd-version":
		c.Version = value
	case "protocol":
		c.Protocol = value
	case "admd":
		c.ADMD = value
	case "smtp-session-timeout":
		n, err := strconv.ParseUint(value, 10, 31)
		c.SessionTimeout = time.Duration(n) * time.Second
		return err
	case "subsystem":
		c.In = c.In || value == "smtp-in"
		c.Out = c.Out || value == "smtp-out"
	case "decide":
		c.DecideIn = c.DecideIn || value == "smtp-in"
		c.DecideOut = c.DecideOut || value == "smtp-out"
	}
	return nil
}

func (r *run) register() error {
	if r.f.Configured != nil {
		if err := r.f.Configured(r.config); err != nil {
			return err
		}
	}
	if r.config.Out && !r.config.DecideOut && r.f.Out.decisions() {
		return errors.New("this server lets no filter decide about outgoing sessions")
	}
	for _, s := range []struct {
		name string
		side *Side
		on   bool
	}{{"smtp-in", &r.f.In, r.config.In}, {"smtp-out", &r.f.Out, r.config.Out}} {
		if !s.on {
			continue
		}
		for _, e := range s.side.events() {
			r.out.print("register|report|" + s.name + "|" + string(e))
		}
		for _, p := range s.side.phases() {
			r.out.print("register|filter|" + s.name + "|" + string(p))
		}
	}
	r.out.print("register|ready")
	r.out.flush()
	return nil
}

// events gives what has to be reported.
func (d *Side) events() []Event {
	if !d.used() {
		return nil
	}
	all := slices.Clone(tracked)
	for e := range d.reports {
		all = append(all, e)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// phases gives what is decided.
func (d *Side) phases() []Phase {
	var all []Phase
	for p := range d.decides {
		all = append(all, p)
	}
	if d.lines != nil || d.message != nil {
		all = append(all, dataLine, Commit)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
