// Package nonblock reads from and writes to sockets that do not block.
//
// Go's scheduler is told of each system call, so that it can give the processor to others
// when the call takes its time. A write to a socket never does, but it wakes who reads: when
// that one runs first, on this processor, Go takes the call for a long one, hands its work to
// another thread and looks for long calls every 20 microseconds from then on. In processes that
// mostly write to each other that was a fifth of all the work.
//
// A session that waits for its client needs no buffer as long as nothing comes: ReadLate asks for
// one when it reads.
package nonblock

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// Conn is a socket with a Write that the scheduler is not told of. Not more than one
// goroutine writes at a time, and not more than one reads.
type Conn struct {
	net.Conn
	raw  syscall.RawConn
	step func(fd uintptr) bool // write, made once
	rest []byte                // what Write has not written yet
	err  error

	read func(fd uintptr) bool // readLate, made once
	to   Buffer
	got  int
	fail error
}

// Buffer is where ReadLate reads to. Room gives it, not empty; Drop is called when there was
// nothing to read.
type Buffer = interface {
	Room() []byte
	Drop()
}

// Wrap gives conn, written to in this way if it is a socket.
func Wrap(conn net.Conn) net.Conn {
	s, ok := conn.(syscall.Conn)
	if !ok {
		return conn
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return conn
	}
	c := &Conn{Conn: conn, raw: raw}
	c.step, c.read = c.write, c.readLate
	return c
}

// ReadLate is Read to a buffer that is given back for the time in which nothing comes.
func (c *Conn) ReadLate(to Buffer) (int, error) {
	c.to, c.got, c.fail = to, 0, nil
	err := c.raw.Read(c.read)
	c.to = nil
	switch {
	case err == nil && c.fail != nil:
		err = &net.OpError{Op: "read", Net: c.RemoteAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: c.fail}
	case err == nil && c.got == 0:
		err = io.EOF
	}
	return c.got, err
}

// readLate reports whether ReadLate is done; otherwise it is called again when there is something.
func (c *Conn) readLate(fd uintptr) bool {
	for {
		n, err := Read(fd, c.to.Room())
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			c.to.Drop()
			return false
		default:
			c.got, c.fail = n, err
			return true
		}
	}
}

// Write is of net.Conn; deadlines hold.
func (c *Conn) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	c.rest, c.err = b, nil
	err := c.raw.Write(c.step)
	n := len(b) - len(c.rest)
	c.rest = nil
	if err == nil && c.err != nil {
		err = &net.OpError{Op: "write", Net: c.RemoteAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: c.err}
	}
	return n, err
}

// write reports whether Write is done; otherwise it is called again when there is room.
func (c *Conn) write(fd uintptr) bool {
	for len(c.rest) > 0 {
		n, err := Write(fd, c.rest)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return false
		case err != nil:
			c.err = err
			return true
		case n == 0:
			c.err = io.ErrUnexpectedEOF
			return true
		default:
			c.rest = c.rest[n:]
		}
	}
	return true
}

// CloseWrite tells the other end that nothing more comes.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
