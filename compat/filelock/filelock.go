// Package filelock lets one process at a time have something, for as long as it lives.
//
// The lock is that of flock(2), on every system. It belongs to the open file: the kernel drops it when
// the process ends, however that happens, and two opens of one process exclude each other. Locks of
// fcntl(2) would vanish when any descriptor of the file is closed. On network file systems Linux
// and FreeBSD make flock(2) ask the server, so that it excludes other hosts too; OpenBSD, NetBSD and
// DragonFly lock for the host alone.
package filelock

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// HeldError says that another process has the lock.
type HeldError struct {
	PID int // 0: not known
}

func (e *HeldError) Error() string {
	if e.PID == 0 {
		return "in use by another process"
	}
	return fmt.Sprintf("in use by process %d", e.PID)
}

// Lock is a held lock.
type Lock struct{ f *os.File }

// Take opens the file, makes it, mode 0600, when it is missing, and locks it. While another process has the lock
// it tries again until wait is over, for one that is just ending; then the error is a *HeldError.
// The file stays when the lock is gone: removing it would let two processes lock two files.
func Take(path string, wait time.Duration) (*Lock, error) {
	const flags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK | syscall.O_CLOEXEC
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|flags, 0o600)
	if errors.Is(err, syscall.EROFS) {
		f, err = os.OpenFile(path, os.O_RDONLY|flags, 0)
	}
	if err != nil {
		return nil, err
	}
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, fmt.Errorf("%s: not a regular file", path))
	}
	for end := time.Now().Add(wait); ; time.Sleep(pause) {
		err := lock(f)
		if err == nil {
			break
		}
		if !errors.Is(err, errHeld) || !time.Now().Before(end) {
			if errors.Is(err, errHeld) {
				err = &HeldError{holder(f)}
			}
			f.Close()
			return nil, err
		}
	}
	sign(f)
	return &Lock{f}, nil
}

// pause is the time between two tries.
const pause = 20 * time.Millisecond

var errHeld = errors.New("locked")

// holder gives the process that wrote its number into the file, 0 for none.
func holder(f *os.File) int {
	var buf [16]byte
	n, err := f.ReadAt(buf[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0
	}
	pid, err := strconv.ParseUint(strings.TrimSpace(string(buf[:n])), 10, 31)
	if err != nil {
		return 0
	}
	return int(pid)
}

// sign says whose the lock is. It is for people: a full disk, or one that cannot be written to for a
// while, keeps nobody from it.
func sign(f *os.File) {
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	}
}

// Release drops the lock.
func (l *Lock) Release() error { return l.f.Close() }
