// Package peercred tells who is at the other end of a unix socket.
package peercred

import (
	"fmt"
	"net"
)

// Cred is the effective user and group of a process when it connected (for a socket
// pair: when the pair was made), as the kernel saw it. PID is 0 where the system does
// not tell it (FreeBSD, DragonFly); it is for log lines, never for decisions, because
// the process may be gone and its number in use again.
type Cred struct {
	UID, GID uint32
	PID      int
}

// Get gives the credentials of the peer of a connected socket.
func Get(c *net.UnixConn) (Cred, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Cred{}, fmt.Errorf("peercred: %w", err)
	}
	var cred Cred
	var getErr error
	if err := raw.Control(func(fd uintptr) { cred, getErr = get(int(fd)) }); err != nil {
		return Cred{}, fmt.Errorf("peercred: %w", err)
	}
	if getErr != nil {
		return Cred{}, fmt.Errorf("peercred: getsockopt: %w", getErr)
	}
	return cred, nil
}
