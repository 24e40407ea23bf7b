// Package fsync puts files and directories on stable storage. A sync that failed says
// nothing about what is on the disk, and neither does a second one that succeeds: the
// caller must treat everything that was written since the last good sync as lost.
package fsync

import (
	"errors"
	"os"
	"syscall"
)

// SyncFile makes the contents of f durable, and of its metadata what is needed to read
// them back: the length, not the times. It does not cover the directory entry.
func SyncFile(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := conn.Control(func(fd uintptr) {
		for {
			if failed = sync(int(fd)); failed != syscall.EINTR {
				return
			}
		}
	}); err != nil {
		return err
	}
	if failed != nil {
		return &os.PathError{Op: "fsync", Path: f.Name(), Err: failed}
	}
	return nil
}

// SyncDir makes durable which names stand in an open directory: those that were made,
// renamed and removed. File systems that cannot do this (some on a network, FAT) say so
// with EINVAL or ENOTSUP; they order such changes by themselves or not at all, and
// refusing mail would not change it.
func SyncDir(dir *os.File) error {
	err := dir.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}
