package program

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"
)

// Limits of one program.
const (
	MaxLine      = 8192     // octets of a line, with its end
	mostInFlight = 256      // requests that it was asked and has not answered
	mostUnsent   = 1 << 20  // octets: who has more to say waits
	writePiece   = 64 << 10 // octets that are written at a time
	lostAfter    = 10       // times Patience: an answer that never comes, while others do
	mostLines    = 64       // of a handshake
	maxText      = 500      // octets of what a program says that are repeated
)

// Conn is one life of a program: a connection to its standard input and output. Whatever
// the program does wrong ends it.
type Conn struct {
	rw       io.ReadWriteCloser
	patience time.Duration
	reader   *bufio.Reader
	room     chan struct{} // one for each request under way
	done     chan struct{} // closed when something went wrong
	ended    chan struct{} // closed when nothing is read any more

	mu       sync.Mutex
	space    sync.Cond // unsent became shorter, or the connection ended
	unsent   []byte
	writable chan struct{} // there is something unsent
	writing  bool
	waiting  map[uint64]*question
	last     uint64    // id of a request
	moved    time.Time // when an octet went either way, or something began to be wanted
	err      error     // why it ended
}

// question is a request that was not answered yet.
type question struct {
	verb string
	sent time.Time
	take func(a *Answer) error
	done chan struct{} // closed when it is answered
	err  error         // of the answer
}

// meter notes that the program does something.
type meter struct{ c *Conn }

func (m meter) Read(b []byte) (int, error) {
	n, err := m.c.rw.Read(b)
	if n > 0 {
		m.c.progress()
	}
	return n, err
}

func (c *Conn) progress() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved = time.Now()
}

// handshake greets a program that was just started and waits until it is ready.
func handshake(ctx context.Context, rw io.ReadWriteCloser, opts *Options) (*Conn, error) {
	c := &Conn{rw: rw, patience: opts.Patience, room: make(chan struct{}, mostInFlight), done: make(chan struct{}),
		ended: make(chan struct{}), writable: make(chan struct{}, 1), waiting: make(map[uint64]*question)}
	c.reader = bufio.NewReaderSize(meter{c}, MaxLine)
	c.space.L = &c.mu
	stop := context.AfterFunc(ctx, func() { rw.Close() })
	err := c.greet(opts)
	if !stop() { // too late: the connection was closed
		err = errors.New("was not ready in time")
	}
	if err != nil {
		rw.Close()
		return nil, err
	}
	go c.read()
	go c.write()
	go c.guard()
	return c, nil
}

func (c *Conn) greet(opts *Options) error {
	text := "config|protocol|" + protocolVersion + "\nconfig|backend|" + opts.Backend + "\n"
	for _, line := range opts.Config {
		text += "config|" + line + "\n"
	}
	// One that does not listen may still have said why.
	_, _ = io.WriteString(c.rw, text+"config|ready\n")
	registered := false
	for range mostLines {
		line, err := c.line()
		switch {
		case err != nil:
			return fmt.Errorf("%w during the handshake", err)
		case line == "register|ready" && registered:
			return nil
		case line == "register|"+opts.Backend:
			registered = true
		default:
			return fmt.Errorf("said %q instead of %q", abbreviate(line), "register|"+opts.Backend)
		}
	}
	return errors.New("does not end the handshake")
}

// line reads a line of the program.
func (c *Conn) line() (string, error) {
	b, err := c.reader.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", fmt.Errorf("wrote a line longer than %d octets", MaxLine)
	case err != nil && len(b) > 0:
		return "", errors.New("ended in the middle of a line")
	case errors.Is(err, io.EOF):
		return "", errors.New("closed its output")
	case err != nil:
		return "", fmt.Errorf("cannot be read: %w", err)
	}
	return string(b[:len(b)-1]), nil
}

func (c *Conn) read() {
	defer close(c.ended)
	for {
		line, err := c.line()
		if err == nil {
			err = c.take(line)
		}
		if err != nil {
			c.Fail(err)
			return
		}
	}
}

// take hands an answer to who asked, who reads what belongs to it.
func (c *Conn) take(line string) error {
	a, err := parseAnswer(line)
	if err != nil {
		return err
	}
	c.mu.Lock()
	q := c.waiting[a.id]
	c.mu.Unlock()
	switch {
	case q == nil:
		return fmt.Errorf("answered request %d, which waits for no answer", a.id)
	case a.verb != q.verb:
		return fmt.Errorf("answered %q to a %s", abbreviate(a.verb+"-result"), q.verb)
	}
	a.c = c
	if a.err == nil {
		if err := q.take(a); err != nil {
			return fmt.Errorf("answered a %s wrongly: %w", q.verb, err)
		}
	}
	c.mu.Lock()
	delete(c.waiting, a.id)
	c.mu.Unlock()
	q.err = a.err
	close(q.done)
	<-c.room
	return nil
}

// write sends what was asked for; everything that waits at once.
func (c *Conn) write() {
	var b []byte
	for {
		select {
		case <-c.done:
			return
		case <-c.writable:
		}
		c.mu.Lock()
		b, c.unsent, c.writing = c.unsent, b[:0], true
		c.space.Broadcast()
		c.mu.Unlock()
		for rest := b; len(rest) > 0; {
			n, err := c.rw.Write(rest[:min(len(rest), writePiece)])
			if err != nil {
				c.Fail(fmt.Errorf("does not take requests: %w", err))
				return
			}
			c.progress()
			rest = rest[n:]
		}
		c.mu.Lock()
		c.writing = false
		c.mu.Unlock()
		if cap(b) > 2*mostUnsent {
			b = nil
		}
	}
}

// guard ends a program that does not answer, or does not listen. One that answers slowly,
// one request after the other, lives on.
func (c *Conn) guard() {
	tick := time.NewTicker(c.patience / 4)
	defer tick.Stop()
	for {
		select {
		case <-c.done:
			return
		case now := <-tick.C:
			if c.hangs(now) {
				c.Fail(fmt.Errorf("did not answer within %s", c.patience))
				return
			}
		}
	}
}

func (c *Conn) hangs(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	busy := len(c.waiting) > 0 || len(c.unsent) > 0 || c.writing
	if busy && now.Sub(c.moved) > c.patience {
		return true
	}
	for _, q := range c.waiting {
		if now.Sub(q.sent) > lostAfter*c.patience {
			return true
		}
	}
	return false
}

// Fail ends this life of the program; everybody who waits gets an error.
func (c *Conn) Fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	close(c.done)
	c.rw.Close()
	c.space.Broadcast()
}

// failure says why the connection ended.
func (c *Conn) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Done is closed when this life of the program is over.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Ask sends a request and waits for the answer. Rest is what follows the id of the request:
// its fields, each with a bar before it, the end of the line and the blocks that belong to
// it. When the answer is ok, take reads what comes with it, in another goroutine that nobody
// else's answer can pass; an error of take ends the program. Take may be nil when nothing
// comes. The error is ErrNotFound or an *Error when the program answered so, otherwise that
// of the life that ended before the answer.
func (c *Conn) Ask(verb string, rest []byte, take func(a *Answer) error) error {
	select {
	case c.room <- struct{}{}:
	case <-c.done:
		return c.gone()
	}
	if take == nil {
		take = func(a *Answer) error { return a.Expect() }
	}
	q := &question{verb: verb, take: take, done: make(chan struct{})}
	if err := c.send(q, verb, rest); err != nil {
		return err
	}
	select {
	case <-q.done:
		return q.err
	case <-c.ended:
	}
	select {
	case <-q.done: // answered before it went wrong
		return q.err
	default:
		return c.gone()
	}
}

func (c *Conn) gone() error { return fmt.Errorf("the program %w", c.failure()) }

// Tell sends what wants no answer. It waits while the program does not listen.
func (c *Conn) Tell(verb string, rest []byte) error { return c.send(nil, verb, rest) }

func (c *Conn) send(q *question, verb string, rest []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.unsent) >= mostUnsent && c.err == nil {
		c.space.Wait()
	}
	if c.err != nil {
		return fmt.Errorf("the program %w", c.err)
	}
	now := time.Now()
	if len(c.waiting) == 0 && len(c.unsent) == 0 && !c.writing {
		c.moved = now
	}
	c.unsent = append(c.unsent, verb...)
	if q != nil {
		c.last++
		q.sent = now
		c.waiting[c.last] = q
		c.unsent = append(c.unsent, '|')
		c.unsent = strconv.AppendUint(c.unsent, c.last, 10)
	}
	c.unsent = append(c.unsent, rest...)
	select {
	case c.writable <- struct{}{}:
	default:
	}
	return nil
}
