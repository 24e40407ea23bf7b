// Package fdpass sends open files over a stream socket between two processes of one
// host (SCM_RIGHTS, unix(7) and its relatives).
//
// Descriptors ride on the first byte of a write. A stream has no borders, so the reader
// must use this package for every read: a plain read would lose what rides along.
package fdpass

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
)

// MaxFiles is how many files one call carries.
const MaxFiles = 16

// maxControl is more descriptors than a kernel lets one message carry (253 on Linux, 512
// elsewhere). A message with more than MaxFiles is refused, but it is received whole:
// some kernels leave descriptors behind that a short buffer could not take.
const maxControl = 512

// ErrTooMany is a message with more than MaxFiles files.
var ErrTooMany = errors.New("fdpass: too many files in one message")

// ErrTruncated is a message of which the kernel kept back descriptors, for example
// because this process may not open more.
var ErrTruncated = errors.New("fdpass: descriptors were lost")

// Write writes all of b, and with its first byte the files, which stay open here. b must
// not be empty when there are files. The number of bytes written tells after an error
// whether the files have gone: they have if it is not 0.
func Write(c *net.UnixConn, b []byte, files []*os.File) (int, error) {
	if len(files) == 0 {
		return c.Write(b)
	}
	if len(files) > MaxFiles {
		return 0, ErrTooMany
	}
	if len(b) == 0 {
		return 0, errors.New("fdpass: files need at least one byte to ride on")
	}
	var room [MaxFiles]int
	fds, err := descriptors(room[:0], files)
	if err != nil {
		return 0, err
	}
	n, _, err := c.WriteMsgUnix(b, syscall.UnixRights(fds...), nil)
	// The numbers in fds mean these files only for as long as nobody closes them.
	runtime.KeepAlive(files)
	if err != nil || n == len(b) {
		return n, err
	}
	m, err := c.Write(b[n:])
	return n + m, err
}

// descriptors appends the numbers of the files. It does not use File.Fd, which would
// make the file blocking for both processes.
func descriptors(fds []int, files []*os.File) ([]int, error) {
	for _, f := range files {
		raw, err := f.SyscallConn()
		if err != nil {
			return nil, err
		}
		if err := raw.Control(func(fd uintptr) { fds = append(fds, int(fd)) }); err != nil {
			return nil, err
		}
	}
	return fds, nil
}

// Reader reads bytes and files from one connection. It is for one goroutine at a time.
type Reader struct {
	in  receiver
	oob []byte
}

// NewReader gives a Reader for c.
func NewReader(c *net.UnixConn) *Reader {
	r := &Reader{oob: make([]byte, syscall.CmsgSpace(4*maxControl))}
	r.in.init(c)
	return r
}

// Read reads up to len(b) bytes and the files that came with them. The files are
// close-on-exec and belong to the caller. At the end of the stream the error is io.EOF.
// After any error no file is left open, and the connection should be given up: what the
// sender meant is not known any more.
func (r *Reader) Read(b []byte) (n int, files []*os.File, err error) {
	n, oobn, flags, err := r.in.read(b, r.oob)
	if oobn > 0 {
		files, err = take(r.oob[:oobn], err)
	}
	switch {
	case err != nil:
	case flags&syscall.MSG_CTRUNC != 0:
		err = ErrTruncated
	case len(files) > MaxFiles:
		err = ErrTooMany
	case n == 0 && len(b) > 0:
		err = io.EOF
	}
	if err != nil {
		closeAll(files)
		if errors.Is(err, io.EOF) {
			err = io.EOF
		}
		return n, nil, err
	}
	return n, files, nil
}

// Read is Reader.Read for a single read.
func Read(c *net.UnixConn, b []byte) (n int, files []*os.File, err error) {
	return NewReader(c).Read(b)
}

// take makes files of the descriptors in the control data; err is what the read said.
// Descriptors that stand before damaged control data are returned with the error.
func take(oob []byte, err error) ([]*os.File, error) {
	messages, perr := syscall.ParseSocketControlMessage(oob)
	if perr != nil && err == nil {
		err = fmt.Errorf("fdpass: control data: %w", perr)
	}
	var files []*os.File
	for i := range messages {
		fds, perr := syscall.ParseUnixRights(&messages[i])
		if perr != nil {
			continue // credentials or time stamps; they carry no descriptor
		}
		for _, fd := range fds {
			// They are close-on-exec: from the kernel where it can do that at once, or set
			// by the net package.
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return files, err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
