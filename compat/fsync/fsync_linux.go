package fsync

import "golang.org/x/sys/unix"

// sync leaves the times out: with an unchanged length that saves the file system's journal.
func sync(fd int) error { return unix.Fdatasync(fd) }
