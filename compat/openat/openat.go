// Package openat reads what lies below an open directory with as few system calls as there can be: a
// queue of a hundred thousand small files is read at every start.
package openat

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// ReadFile gives the contents of a file, and never more than max octets and one: who gets one more than
// max has read a part. The last part of the name may not be a link; a FIFO is not waited for.
func ReadFile(dir *os.File, name string, max int) ([]byte, error) {
	var b []byte
	err := with(dir, name, unix.O_NOFOLLOW|unix.O_NONBLOCK, func(fd int) (err error) {
		defer unix.Close(fd)
		b, err = readAll(fd, max)
		return err
	})
	return b, err
}

// Names gives the names in a directory, in no order.
func Names(dir *os.File, name string) (names []string, err error) {
	err = with(dir, name, unix.O_DIRECTORY, func(fd int) error {
		defer unix.Close(fd)
		buf := buffers.Get().(*[]byte)
		defer buffers.Put(buf)
		for {
			n := 0
			err := retry(func() (err error) {
				n, err = unix.ReadDirent(fd, *buf)
				return err
			})
			if err != nil || n <= 0 {
				return err
			}
			_, _, names = unix.ParseDirent((*buf)[:n], -1, names)
		}
	})
	return names, err
}

// buffers are what directories are read into.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 8<<10)
	return &b
}}

// Exists reports whether there is a file, or a link, of that name.
func Exists(dir *os.File, name string) (bool, error) {
	conn, err := dir.SyscallConn()
	if err != nil {
		return false, err
	}
	var failed error
	err = conn.Control(func(at uintptr) {
		failed = retry(func() error {
			var st unix.Stat_t
			return unix.Fstatat(int(at), name, &st, unix.AT_SYMLINK_NOFOLLOW)
		})
	})
	switch {
	case err != nil:
		return false, err
	case failed == syscall.ENOENT:
		return false, nil
	case failed != nil:
		return false, &os.PathError{Op: "lstat", Path: name, Err: failed}
	}
	return true, nil
}

// with calls f with a new descriptor.
func with(dir *os.File, name string, flags int, f func(fd int) error) error {
	conn, err := dir.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(at uintptr) {
		fd := -1
		failed = retry(func() (err error) {
			fd, err = unix.Openat(int(at), name, unix.O_RDONLY|unix.O_CLOEXEC|flags, 0)
			return err
		})
		if failed == nil {
			failed = f(fd)
		}
	})
	if err == nil && failed != nil {
		err = &os.PathError{Op: "open", Path: name, Err: failed}
	}
	return err
}

func readAll(fd, max int) ([]byte, error) {
	b := make([]byte, min(1024, max+1))
	for n := 0; ; {
		m := 0
		err := retry(func() (err error) {
			m, err = unix.Read(fd, b[n:])
			return err
		})
		if err != nil {
			return nil, err
		}
		if n += m; m == 0 || n > max {
			return b[:n], nil
		}
		if n == len(b) {
			b = append(b, make([]byte, min(len(b), max+1-len(b)))...)
		}
	}
}

func retry(f func() error) error {
	for {
		if err := f(); err != syscall.EINTR {
			return err
		}
	}
}
