//go:build linux || freebsd || openbsd || netbsd || dragonfly

package reexec

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func socketpair() ([2]int, error) {
	return syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
}
