package fdpass

import (
	"errors"
	"net"
	"syscall"

	"github.com/godwit-mta/godwit/compat/nonblock"
)

// TryWrite writes as much of b as the socket takes at once, and never waits. That it took
// nothing is no error.
func TryWrite(c *net.UnixConn, b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	if werr := raw.Write(func(fd uintptr) bool {
		n, err = nonblock.Write(fd, b)
		return true
	}); werr != nil {
		return 0, werr
	}
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
		err = nil
	}
	return n, err
}
