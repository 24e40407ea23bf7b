//go:build !linux && !freebsd && !openbsd && !netbsd && !dragonfly

package reexec

import "syscall"

// The flag is set after the fact; the lock keeps this process from starting another one
// in between.
func socketpair() ([2]int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	return fds, err
}
