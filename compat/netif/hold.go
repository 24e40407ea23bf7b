package netif

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Socket is a listening socket that is kept for others: who keeps it is not woken when a
// client comes, as with a net.Listener, accepting or not.
type Socket struct{ fd int }

// Hold takes the socket of a listener, which is closed.
func Hold(l *net.TCPListener) (*Socket, error) {
	defer l.Close()
	raw, err := l.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := new(Socket)
	if cerr := raw.Control(func(fd uintptr) { s.fd, err = duplicate(int(fd)) }); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// File gives a copy of the socket.
func (s *Socket) File() (*os.File, error) {
	fd, err := duplicate(s.fd)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "listener"), nil
}

// Close closes the socket; the copies stay open.
func (s *Socket) Close() error { return os.NewSyscallError("close", unix.Close(s.fd)) }

// duplicate gives another descriptor that no program inherits.
func duplicate(fd int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	n, err := unix.Dup(fd)
	if err != nil {
		return 0, os.NewSyscallError("dup", err)
	}
	unix.CloseOnExec(n)
	return n, nil
}
