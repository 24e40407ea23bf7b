package ipc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/godwit-mta/godwit/compat/fdpass"
)

// Serve reads messages until the connection ends and calls handle for each that is not
// an answer. handle runs in the goroutine of Serve: it must be quick or call Request.Go.
// Answers may be sent only when it returns, unless it calls Flush.
// The error is io.EOF when the other end closed the connection.
func (c *Conn) Serve(handle func(*Request)) error {
	err := c.read(handle)
	c.shut()
	return err
}

// Go runs f in a goroutine of its own and keeps the request alive for it.
func (r *Request) Go(f func()) {
	if !r.async { // after Later the handler may have returned: nothing of the request is written then
		r.async = true
		r.body = append([]byte(nil), r.body...)
	}
	r.conn.workers.run(func() {
		defer func() { closeAll(r.files) }()
		defer r.rescue()
		f()
	})
}

// Later lets a request be answered after the handler has returned, by any goroutine. What it said and its
// descriptors are forgotten: it must have been decoded.
func (r *Request) Later() {
	closeAll(r.files)
	r.async, r.body, r.files = true, nil, nil
}

// rescue makes of a panic an error to who asked, so that one bad request does not end the
// process. Its stack goes to standard error, which is a log.
func (r *Request) rescue() {
	if p := recover(); p != nil {
		fmt.Fprintf(os.Stderr, "panic while answering message %d: %v\n%s", r.Kind, p, debug.Stack())
		r.Fail(errors.New("internal error"))
	}
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
		if errors.Is(err, fdpass.ErrTruncated) && n > 0 {
			files, err = append(files, nil), nil // stands for those of one message
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return io.EOF
		}
		have += n
		var used int
		if used, files, err = c.frames(buf[:have], files, handle); err != nil {
			return err
		}
		if len(files) > 4*MaxFiles {
			return errors.New("ipc: descriptors without a message")
		}
		buf, have = compact(buf, used, have)
	}
}

// frames hands on all messages that are whole, and gives the octets that they took and the
// descriptors that are left.
func (c *Conn) frames(b []byte, files []*os.File, handle func(*Request)) (used int, _ []*os.File, err error) {
	c.hold()
	defer c.release()
	for len(b)-used >= headerSize {
		size := int(binary.BigEndian.Uint32(b[used:])) + headerSize
		if size > c.limit+headerSize {
			return used, files, fmt.Errorf("ipc: message of %d octets", size)
		}
		if len(b)-used < size {
			break
		}
		if files, err = c.frame(b[used:used+size], files, handle); err != nil {
			return used, files, err
		}
		used += size
	}
	return used, files, nil
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
	switch {
	case n > 0 && len(files) > 0 && files[0] == nil:
		r.lost, files = true, files[1:]
	case n > len(files):
		return files, errors.New("ipc: message without its descriptors")
	default:
		r.files, files = files[:n:n], files[n:]
	}
	if r.flags&flagReply == 0 {
		if r.lost {
			r.Fail(ErrFiles)
			return files, nil
		}
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
