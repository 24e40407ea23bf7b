//go:build !linux

package nonblock

import "syscall"

// Write writes to a descriptor that does not block. b must not be empty. Elsewhere than on Linux
// system calls are made by the C library or are not for us to choose: the scheduler is told.
func Write(fd uintptr, b []byte) (int, error) {
	n, err := syscall.Write(int(fd), b)
	return max(n, 0), err
}

// Read reads from a descriptor that does not block. b must not be empty.
func Read(fd uintptr, b []byte) (int, error) {
	n, err := syscall.Read(int(fd), b)
	return max(n, 0), err
}
