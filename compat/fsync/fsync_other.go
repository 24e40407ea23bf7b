//go:build !linux && !darwin

package fsync

import "golang.org/x/sys/unix"

// sync writes the times too: x/sys has no fdatasync(2) here. Nothing is lost but speed.
func sync(fd int) error { return unix.Fsync(fd) }
