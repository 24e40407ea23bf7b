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
	"encoding/binary"
	"errors"
	"fmt"
	"io"
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

// RemoteError is an error that the other process answered.
type RemoteError struct{ Text string }

func (e *RemoteError) Error() string { return e.Text }

// Conn is one end of a connection. Its methods may be called from any goroutine.
type Conn struct {
	sock  *net.UnixConn
	codec codec

	mu      sync.Mutex
	wake    sync.Cond // the writer goroutine has work, or the connection is closed
	room    sync.Cond // there is room below highWater
	queue   []chunk
	queued  int     // octets in queue
	writing bool    // somebody writes; new frames wait in queue
	rest    []chunk // what the writer goroutine has to write
	spare   []chunk
	closed  bool // nothing can be sent or received
	closing bool // nothing more will be sent
	lastID  uint32
	waiting map[uint32]chan *Request
	done    chan struct{} // closed when the writer has ended
}

// chunk is a run of frames; the descriptors belong to its first frames.
type chunk struct {
	data  []byte
	files []*os.File
}

// New takes over a socket, which FromFile makes of a descriptor. Messages are sent at once,
// but none is received before Serve is called.
func New(sock *net.UnixConn) *Conn {
	c := &Conn{sock: sock, waiting: make(map[uint32]chan *Request), done: make(chan struct{})}
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
	_, err := c.CallFiles(ctx, kind, v, reply, files...)
	return err
}

// CallFiles is Call for an answer that brings descriptors; the caller closes them.
func (c *Conn) CallFiles(ctx context.Context, kind Kind, v, reply any, files ...*os.File) ([]*os.File, error) {
	answer := make(chan *Request, 1)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		closeAll(files)
		return nil, ErrClosed
	}
	c.lastID++
	id := c.lastID
	c.waiting[id] = answer
	c.mu.Unlock()
	if err := c.send(kind, flagRequest, id, v, files, true); err != nil {
		c.forget(id)
		return nil, err
	}
	select {
	case r := <-answer:
		if r == nil {
			return nil, ErrClosed
		}
		return c.answer(r, reply)
	case <-ctx.Done():
		if !c.forget(id) { // it came after all
			if r := <-answer; r != nil {
				closeAll(r.files)
			}
		}
		return nil, ctx.Err()
	}
}

func (c *Conn) answer(r *Request, reply any) ([]*os.File, error) {
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

// send appends a frame to what the writer has to write.
func (c *Conn) send(kind Kind, flags uint8, id uint32, v any, files []*os.File, wait bool) error {
	if len(files) > MaxFiles {
		closeAll(files)
		return fmt.Errorf("ipc: %d descriptors in one message", len(files))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for wait && c.queued > highWater && !c.closed && !c.closing {
		c.room.Wait()
	}
	if c.closed || c.closing {
		closeAll(files)
		return ErrClosed
	}
	if len(c.queue) == 0 || len(files) > 0 {
		c.queue = append(c.queue, chunk{})
	}
	last := &c.queue[len(c.queue)-1]
	start := len(last.data)
	b := binary.BigEndian.AppendUint32(last.data, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(kind))
	b = append(b, flags, byte(len(files)))
	b = binary.BigEndian.AppendUint32(b, id)
	b, err := c.codec.marshal(b, v)
	payload := len(b) - start - headerSize
	if err == nil && payload > MaxPayload {
		err = fmt.Errorf("ipc: message of %d octets", payload)
	}
	if err != nil {
		last.data = last.data[:start]
		closeAll(files)
		return err
	}
	binary.BigEndian.PutUint32(b[start:], uint32(payload))
	last.data, last.files = b, append(last.files, files...)
	c.queued += len(b) - start
	if !c.writing {
		c.writing = true
		c.direct()
	}
	return nil
}

// direct writes what waits without waiting for the other end; what the socket does not
// take, and descriptors, are left to the writer. Whoever sets writing calls it, holding
// the lock, so that under load one goroutine writes for many.
func (c *Conn) direct() {
	for c.queued > 0 && !c.closed {
		batch := c.take()
		c.mu.Unlock()
		rest, err := c.try(batch)
		c.mu.Lock()
		if err != nil {
			closeFiles(rest)
			c.shutLocked()
			return
		}
		if len(rest) > 0 {
			c.rest = rest
			c.wake.Broadcast()
			return
		}
		c.recycle(batch)
	}
	c.writing = false
	c.wake.Broadcast()
}

// take gives what waits.
func (c *Conn) take() []chunk {
	batch := c.queue
	c.queue, c.queued = c.spare, 0
	c.spare = nil
	c.room.Broadcast()
	return batch
}

// recycle keeps the buffer of a batch for the next one.
func (c *Conn) recycle(batch []chunk) {
	if len(batch) == 1 && cap(batch[0].data) <= readSize && c.spare == nil {
		batch[0] = chunk{data: batch[0].data[:0]}
		c.spare = batch
	}
}

// try writes as much of a batch as goes at once and gives the rest.
func (c *Conn) try(batch []chunk) ([]chunk, error) {
	for i := range batch {
		k := &batch[i]
		if len(k.files) > 0 {
			return batch[i:], nil
		}
		for len(k.data) > 0 {
			n, err := fdpass.TryWrite(c.sock, k.data)
			if err != nil {
				return batch[i:], err
			}
			if n == 0 {
				return batch[i:], nil
			}
			if n == len(k.data) {
				break
			}
			k.data = k.data[n:]
		}
	}
	return nil, nil
}

// write sends what could not be sent at once, until the connection is closed.
func (c *Conn) write() {
	defer close(c.done)
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		for c.rest == nil && !c.closed && (!c.closing || c.writing) {
			c.wake.Wait()
		}
		if c.rest == nil {
			return
		}
		rest := c.rest
		c.rest = nil
		c.mu.Unlock()
		err := c.writeAll(rest)
		c.mu.Lock()
		if err != nil {
			c.shutLocked()
			return
		}
		c.direct()
	}
}

func (c *Conn) writeAll(batch []chunk) error {
	for i := range batch {
		if err := c.writeChunk(&batch[i]); err != nil {
			closeFiles(batch[i+1:])
			return err
		}
	}
	return nil
}

func (c *Conn) writeChunk(k *chunk) error {
	defer closeAll(k.files)
	if len(k.data) == 0 {
		return nil
	}
	if len(k.files) > 0 {
		_, err := fdpass.Write(c.sock, k.data, k.files)
		return err
	}
	_, err := c.sock.Write(k.data)
	return err
}

// Serve reads messages until the connection ends and calls handle for each that is not
// an answer. handle runs in the goroutine of Serve: it must be quick or call Request.Go.
// The error is io.EOF when the other end closed the connection.
func (c *Conn) Serve(handle func(*Request)) error {
	err := c.read(handle)
	c.shut()
	return err
}

// Go runs f in a goroutine of its own and keeps the request alive for it.
func (r *Request) Go(f func()) {
	r.async = true
	r.body = append([]byte(nil), r.body...)
	go func() {
		defer func() { closeAll(r.files) }()
		f()
	}()
}

func (c *Conn) read(handle func(*Request)) error {
	buf := make([]byte, readSize)
	var have int
	var files []*os.File
	defer func() { closeAll(files) }()
	reader := fdpass.NewReader(c.sock)
	for {
		n, got, err := reader.Read(buf[have:])
		files = append(files, got...)
		if err != nil {
			return err
		}
		if n == 0 {
			return io.EOF
		}
		have += n
		used := 0
		for have-used >= headerSize {
			size := int(binary.BigEndian.Uint32(buf[used:])) + headerSize
			if size > MaxPayload+headerSize {
				return fmt.Errorf("ipc: message of %d octets", size)
			}
			if have-used < size {
				break
			}
			if files, err = c.frame(buf[used:used+size], files, handle); err != nil {
				return err
			}
			used += size
		}
		if len(files) > 4*MaxFiles {
			return errors.New("ipc: descriptors without a message")
		}
		buf, have = compact(buf, used, have)
	}
}

// compact moves what is not used yet to the front and makes room for the frame that
// begins there.
func compact(buf []byte, used, have int) ([]byte, int) {
	rest := have - used
	need := readSize
	if rest >= headerSize {
		need = max(need, int(binary.BigEndian.Uint32(buf[used:]))+headerSize)
	}
	if need > len(buf) || len(buf) > readSize && need == readSize {
		grown := make([]byte, need)
		copy(grown, buf[used:have])
		return grown, rest
	}
	copy(buf, buf[used:have])
	return buf, rest
}

// frame hands one message on and gives back the descriptors that are not its own.
func (c *Conn) frame(b []byte, files []*os.File, handle func(*Request)) ([]*os.File, error) {
	r := &Request{
		Kind:  Kind(binary.BigEndian.Uint16(b[4:])),
		conn:  c,
		id:    binary.BigEndian.Uint32(b[8:]),
		flags: b[6],
		body:  b[headerSize:],
	}
	n := int(b[7])
	if n > len(files) {
		return files, errors.New("ipc: message without its descriptors")
	}
	r.files, files = files[:n:n], files[n:]
	if r.flags&flagReply == 0 {
		handle(r)
		if !r.async {
			closeAll(r.files)
		}
		return files, nil
	}
	c.mu.Lock()
	answer, there := c.waiting[r.id]
	delete(c.waiting, r.id)
	c.mu.Unlock()
	if !there {
		closeAll(r.files)
		return files, nil
	}
	r.body = append([]byte(nil), r.body...)
	answer <- r
	return files, nil
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

// closeWait is how long Close waits for the other end to read.
const closeWait = 5 * time.Second

// Close writes what waits and closes the connection.
func (c *Conn) Close() {
	c.mu.Lock()
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
