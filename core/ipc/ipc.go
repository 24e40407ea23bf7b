// Package ipc carries typed messages, requests with answers, and file descriptors between
// two processes over a Unix stream socket. It knows nothing of mail.
//
// A frame is a header of 12 octets (payload length, kind, flags, number of descriptors,
// request number) and the encoded struct. Frames that wait are written together, so that
// under load one system call and one wake-up carry many. Who sends writes the frame itself
// unless somebody is writing: no other goroutine has to wake up for it. Descriptors travel with the
// first octet of their frame. Everything that is read is bounded: the other end may have
// been captured.
package ipc

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/compat/fdpass"
)

// Limits of one connection. Lengths are in octets.
const (
	MaxPayload = 16 << 20 // of one message
	MaxFiles   = fdpass.MaxFiles
	highWater  = 4 << 20 // unsent octets at which Send waits
	headerSize = 12
	readSize   = 32 << 10
)

// Kind says what a message is. Kinds are declared by those who talk.
type Kind uint16

// The flags of a frame.
const (
	flagRequest = 1 << iota // an answer is wanted
	flagReply
	flagError // the reply's payload is the text of an error
)

// ErrClosed is returned for everything that was under way when the connection ended.
var ErrClosed = errors.New("ipc: connection closed")

// ErrFiles is for a message whose descriptors were lost, because this process may not open more
// files. The connection goes on.
var ErrFiles = errors.New("ipc: descriptors were lost: too many open files")

// RemoteError is an error that the other process answered.
type RemoteError struct{ Text string }

func (e *RemoteError) Error() string { return e.Text }

// Conn is one end of a connection. Its methods may be called from any goroutine.
type Conn struct {
	sock  *net.UnixConn
	codec codec
	limit int // of a message that comes in, in octets

	workers workers
	waits   sync.Pool // *wait, of CallWithin

	mu      sync.Mutex
	wake    sync.Cond // the writer goroutine has work, or the connection is closed
	room    sync.Cond // there is room below highWater
	queue   []chunk
	queued  int     // octets in queue
	writing bool    // somebody writes; new frames wait in queue
	held    bool    // answers wait in queue for those that will follow at once
	rest    []chunk // what the writer goroutine has to write
	spare   []chunk
	closed  bool // nothing can be sent or received
	closing bool // nothing more will be sent
	lastID  uint32
	waiting map[uint32]chan *Request
	done    chan struct{} // closed when the writer has ended
}

// NewLimited is New for a peer that sends no message of more than limit octets.
func NewLimited(sock *net.UnixConn, limit int) *Conn {
	c := New(sock)
	c.limit = limit
	return c
}

// New takes over a socket, which FromFile makes of a descriptor. Messages are sent at once,
// but none is received before Serve is called.
func New(sock *net.UnixConn) *Conn {
	c := &Conn{sock: sock, limit: MaxPayload, waiting: make(map[uint32]chan *Request), done: make(chan struct{})}
	c.workers.init()
	c.wake.L, c.room.L = &c.mu, &c.mu
	go c.write()
	return c
}

// FromFile gives the connection behind a descriptor and closes the descriptor.
func FromFile(f *os.File) (*Conn, error) {
	defer f.Close()
	nc, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	sock, ok := nc.(*net.UnixConn)
	if !ok {
		nc.Close()
		return nil, errors.New("ipc: not a Unix socket")
	}
	return New(sock), nil
}

// Socket gives the socket, to ask for the credentials of its peer.
func (c *Conn) Socket() *net.UnixConn { return c.sock }

// Request is a message that came in. Files not taken by the handler are closed after it.
type Request struct {
	Kind  Kind
	conn  *Conn
	id    uint32
	flags uint8
	body  []byte
	files []*os.File
	async bool
	lost  bool // of its descriptors none could be received
}

// Decode reads the message into the struct that v points to.
func (r *Request) Decode(v any) error { return r.conn.codec.unmarshal(r.body, v) }

// Files hands over the descriptors that came with the message; the caller closes them.
func (r *Request) Files() []*os.File {
	files := r.files
	r.files = nil
	return files
}

// Wanted reports whether the sender waits for an answer.
func (r *Request) Wanted() bool { return r.flags&flagRequest != 0 }

// Reply answers with v, which may be nil for an empty answer. It never waits. The files
// are closed once they are sent.
func (r *Request) Reply(v any, files ...*os.File) {
	if !r.Wanted() {
		closeAll(files)
		return
	}
	if err := r.conn.send(r.Kind, flagReply, r.id, v, files, false); err != nil && !errors.Is(err, ErrClosed) {
		r.Fail(err)
	}
}

// Fail answers with an error.
func (r *Request) Fail(err error) {
	if r.Wanted() {
		_ = r.conn.send(r.Kind, flagReply|flagError, r.id, &RemoteError{err.Error()}, nil, false)
	}
}

// Send sends a message to which no answer is wanted. It takes over the files and closes
// them. It waits while too much is unsent.
func (c *Conn) Send(kind Kind, v any, files ...*os.File) error {
	return c.send(kind, 0, 0, v, files, true)
}

// Call sends a request and waits for the answer, which is read into reply (nil: none is
// expected).
func (c *Conn) Call(ctx context.Context, kind Kind, v, reply any, files ...*os.File) error {
	got, err := c.CallFiles(ctx, kind, v, reply, files...)
	closeAll(got)
	return err
}

// CallFiles is Call for an answer that brings descriptors; the caller closes them.
func (c *Conn) CallFiles(ctx context.Context, kind Kind, v, reply any, files ...*os.File) ([]*os.File, error) {
	answer := make(chan *Request, 1)
	id, err := c.request(kind, v, files, answer)
	if err != nil {
		return nil, err
	}
	select {
	case r := <-answer:
		return c.answer(r, reply)
	case <-ctx.Done():
		c.giveUp(id, answer)
		return nil, ctx.Err()
	}
}

// wait is what a call needs to wait for its answer.
type wait struct {
	answer chan *Request
	timer  *time.Timer
}

// CallWithin is Call with a time limit instead of a context: what it waits with is used again. For calls
// of which each message needs some.
func (c *Conn) CallWithin(limit time.Duration, kind Kind, v, reply any) error {
	w, _ := c.waits.Get().(*wait)
	if w == nil {
		w = &wait{answer: make(chan *Request, 1), timer: time.NewTimer(limit)}
	} else {
		w.timer.Reset(limit)
	}
	defer c.waits.Put(w)
	defer w.timer.Stop()
	id, err := c.request(kind, v, nil, w.answer)
	if err != nil {
		return err
	}
	select {
	case r := <-w.answer:
		files, err := c.answer(r, reply)
		closeAll(files)
		return err
	case <-w.timer.C:
		c.giveUp(id, w.answer)
		return context.DeadlineExceeded
	}
}

// request sends a request. Its answer, or nil when the connection ends, will be put into the channel.
func (c *Conn) request(kind Kind, v any, files []*os.File, answer chan *Request) (id uint32, err error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		closeAll(files)
		return 0, ErrClosed
	}
	c.lastID++
	id = c.lastID
	c.waiting[id] = answer
	c.mu.Unlock()
	if err := c.send(kind, flagRequest, id, v, files, true); err != nil {
		c.giveUp(id, answer)
		return 0, err
	}
	return id, nil
}

// giveUp waits for an answer no longer. The channel is empty then and will stay so.
func (c *Conn) giveUp(id uint32, answer chan *Request) {
	if c.forget(id) {
		return
	}
	if r := <-answer; r != nil { // it came after all
		closeAll(r.files)
	}
}

func (c *Conn) answer(r *Request, reply any) ([]*os.File, error) {
	if r == nil {
		return nil, ErrClosed
	}
	if r.lost {
		return nil, ErrFiles
	}
	if r.flags&flagError != 0 {
		closeAll(r.files)
		remote := new(RemoteError)
		if err := r.Decode(remote); err != nil {
			return nil, err
		}
		return nil, remote
	}
	if err := r.Decode(reply); err != nil {
		closeAll(r.files)
		return nil, err
	}
	return r.files, nil
}

func (c *Conn) forget(id uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, there := c.waiting[id]
	delete(c.waiting, id)
	return there
}

// shut ends the connection for reading and writing and fails what is under way.
func (c *Conn) shut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shutLocked()
}

func (c *Conn) shutLocked() {
	if c.closed {
		return
	}
	c.closed = true
	c.workers.end()
	closeFiles(c.queue)
	closeFiles(c.rest)
	c.queue, c.rest, c.queued = nil, nil, 0
	for id, answer := range c.waiting {
		delete(c.waiting, id)
		answer <- nil
	}
	c.wake.Broadcast()
	c.room.Broadcast()
	c.sock.Close()
}

// Flush waits until everything that was sent is with the other end. One that does not take
// it in time loses the connection.
func (c *Conn) Flush(wait time.Duration) {
	_ = c.sock.SetWriteDeadline(time.Now().Add(wait))
	c.mu.Lock()
	c.letGo()
	for (c.writing || c.queued > 0) && !c.closed {
		c.wake.Wait()
	}
	c.mu.Unlock()
	_ = c.sock.SetWriteDeadline(time.Time{})
}

// closeWait is how long Close waits for the other end to read.
const closeWait = 5 * time.Second

// Close writes what waits and closes the connection.
func (c *Conn) Close() {
	c.mu.Lock()
	c.letGo()
	c.closing = true
	c.wake.Broadcast()
	c.room.Broadcast()
	c.mu.Unlock()
	_ = c.sock.SetWriteDeadline(time.Now().Add(closeWait))
	<-c.done
	c.shut()
}

// Abort closes the connection at once; what waits is lost.
func (c *Conn) Abort() {
	c.shut()
	<-c.done
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

func closeFiles(chunks []chunk) {
	for _, k := range chunks {
		closeAll(k.files)
	}
}
