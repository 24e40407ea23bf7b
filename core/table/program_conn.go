package table

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// programConn is one life of a program: a connection to its standard input and output.
// Whatever the program does wrong ends it.
type programConn struct {
	rw       io.ReadWriteCloser
	table    string
	patience time.Duration // for one answer while no other comes
	services [serviceCount]bool
	reader   *bufio.Reader
	room     chan struct{} // one for each request under way
	done     chan struct{} // closed when the connection has ended

	mu       sync.Mutex
	unsent   []byte
	writable chan struct{} // there is something unsent
	waiting  map[string]*question
	last     time.Time // when it answered last, or began to have something to answer
	err      error     // why it ended
}

// question is a request that was not answered yet. It stays one when who asked has given
// up: the program is going to answer it all the same.
type question struct {
	verb   string
	sent   time.Time
	result chan result // holds one
}

// Limits of one program.
const (
	mostInFlight  = 256 // requests that it was asked and has not answered
	handshakeWait = 30 * time.Second
	answerWait    = 20 * time.Second
	lostAfter     = 10 // times answerWait: an answer that never comes, while others do
)

// handshake greets a program that was just started and reads what it serves.
func handshake(ctx context.Context, rw io.ReadWriteCloser, table string, patience time.Duration) (*programConn, error) {
	c := &programConn{rw: rw, table: table, patience: patience, reader: bufio.NewReaderSize(rw, MaxLine),
		room: make(chan struct{}, mostInFlight), done: make(chan struct{}),
		writable: make(chan struct{}, 1), waiting: make(map[string]*question)}
	stop := context.AfterFunc(ctx, func() { rw.Close() })
	err := c.greet()
	if !stop() { // too late: the connection was closed
		err = errors.New("did not end the handshake in time")
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

func (c *programConn) greet() error {
	// One that does not listen may still have said why.
	_, _ = io.WriteString(c.rw, greeting(c.table))
	any := false
	for range mostRegisters {
		line, err := c.line()
		if err != nil {
			return fmt.Errorf("%w during the handshake", err)
		}
		service, ready, err := parseRegister(line)
		switch {
		case err != nil:
			return err
		case ready && !any:
			return errors.New("serves nothing")
		case ready:
			return nil
		}
		any, c.services[service] = true, true
	}
	return errors.New("does not end the handshake")
}

// line reads a line of the program.
func (c *programConn) line() (string, error) {
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

func (c *programConn) read() {
	for {
		line, err := c.line()
		if err == nil {
			err = c.take(line)
		}
		if err != nil {
			c.fail(err)
			return
		}
	}
}

// take hands an answer to who asked.
func (c *programConn) take(line string) error {
	verb, id, res, err := parseAnswer(line)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	q, asked := c.waiting[id]
	switch {
	case !asked:
		return fmt.Errorf("answered request %q, which waits for no answer", abbreviate(id))
	case verb == verbLookup && q.verb == verbFetch: // as the manual of OpenSMTPD has it
	case verb != q.verb:
		return fmt.Errorf("answered %q to a %s", abbreviate(verb+"-result"), q.verb)
	}
	r, err := parseResult(q.verb, res)
	if err != nil {
		return err
	}
	delete(c.waiting, id)
	c.last = time.Now()
	q.result <- r
	<-c.room
	return nil
}

// write sends what was asked for; everything that waits at once.
func (c *programConn) write() {
	var b []byte
	for {
		select {
		case <-c.done:
			return
		case <-c.writable:
		}
		c.mu.Lock()
		b, c.unsent = c.unsent, b[:0]
		c.mu.Unlock()
		if _, err := c.rw.Write(b); err != nil {
			c.fail(fmt.Errorf("does not take requests: %w", err))
			return
		}
	}
}

// guard ends a program that does not answer. One that answers slowly, one request after
// the other, lives on.
func (c *programConn) guard() {
	tick := time.NewTicker(c.patience / 4)
	defer tick.Stop()
	for {
		select {
		case <-c.done:
			return
		case now := <-tick.C:
			if c.hangs(now) {
				c.fail(fmt.Errorf("did not answer within %s", c.patience))
				return
			}
		}
	}
}

func (c *programConn) hangs(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, q := range c.waiting {
		if now.Sub(c.last) > c.patience || now.Sub(q.sent) > lostAfter*c.patience {
			return true
		}
	}
	return false
}

// fail ends the connection; everybody who waits gets an error.
func (c *programConn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	close(c.done)
	c.rw.Close()
}

// failure says why the connection ended.
func (c *programConn) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// ask sends a request and waits for the answer to it.
func (c *programConn) ask(ctx context.Context, verb string, service Service, key string) (result, error) {
	select {
	case c.room <- struct{}{}:
	case <-c.done:
		return result{}, c.failure()
	case <-ctx.Done():
		return result{}, errors.New("has too many requests waiting")
	}
	q := &question{verb: verb, result: make(chan result, 1)}
	c.send(q, service, key)
	select {
	case r := <-q.result:
		return r, nil
	case <-c.done:
		select {
		case r := <-q.result: // answered before it went wrong
			return r, nil
		default:
			return result{}, c.failure()
		}
	case <-ctx.Done():
		return result{}, errors.New("did not answer in time")
	}
}

func (c *programConn) send(q *question, service Service, key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := fmt.Sprintf("%08x", rand.Uint32())
	for c.waiting[id] != nil {
		id = fmt.Sprintf("%08x", rand.Uint32())
	}
	q.sent = time.Now()
	if len(c.waiting) == 0 {
		c.last = q.sent
	}
	c.waiting[id] = q
	c.unsent = append(c.unsent, request(q.sent, c.table, q.verb, service, id, key)...)
	select {
	case c.writable <- struct{}{}:
	default:
	}
}

// serves names what the program registered.
func (c *programConn) serves() string {
	var names []string
	for s, yes := range c.services {
		if yes {
			names = append(names, Service(s).String())
		}
	}
	return strings.Join(names, ", ")
}
