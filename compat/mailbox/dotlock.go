package mailbox

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A dotlock is stale when it is this old and does not name a living process.
const (
	staleUnknown = 5 * time.Minute // it names no process
	staleDead    = time.Minute     // its process is gone here, but may run on another host
	touchEvery   = 30 * time.Second
)

// dotlock is a held MAILBOX.lock.
type dotlock struct {
	path    string
	info    os.FileInfo
	touched time.Time
}

// skipError says that dotlocks cannot be made in the directory by this user.
type skipError struct{ reason error }

func (e *skipError) Error() string { return "no dotlock: " + e.reason.Error() }

// takeDotlock tries once. It makes a file with a name of its own and links it to the name
// of the lock, which is atomic on network file systems too; whether it worked is asked from
// the link count, because the reply to the link may have been lost.
func takeDotlock(mailbox string) (*dotlock, error) {
	lock := mailbox + ".lock"
	own := filepath.Join(filepath.Dir(mailbox), fmt.Sprintf(".lk%d.%08x", os.Getpid(), rand.Uint32()))
	err := writePid(own)
	if noAccess(err) {
		return nil, &skipError{err}
	}
	if err != nil {
		return nil, err
	}
	defer os.Remove(own)
	linkErr := os.Link(own, lock)
	info, err := os.Lstat(own)
	if err != nil {
		return nil, err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink == 2 {
		return &dotlock{path: lock, info: info, touched: time.Now()}, nil
	}
	if noLinks(linkErr) {
		return createDotlock(lock)
	}
	// The file just made shows the time of the file system's own clock.
	if stale(lock, info.ModTime()) {
		_ = os.Remove(lock) // in a sticky directory only the owner can; then it stays
	}
	return nil, ErrLocked
}

// createDotlock is the way on file systems without hard links.
func createDotlock(lock string) (*dotlock, error) {
	err := writePid(lock)
	if errors.Is(err, os.ErrExist) {
		if stale(lock, time.Now()) {
			_ = os.Remove(lock)
		}
		return nil, ErrLocked
	}
	if err != nil {
		return nil, err
	}
	info, err := os.Lstat(lock)
	if err != nil {
		return nil, err
	}
	return &dotlock{path: lock, info: info, touched: time.Now()}, nil
}

// writePid makes a file with our process number in it. The mode lets other users' tools
// see who holds the lock.
func writePid(path string) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL | syscall.O_NOFOLLOW | syscall.O_CLOEXEC
	f, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(path)
	}
	return err
}

func (d *dotlock) touch() {
	if now := time.Now(); now.Sub(d.touched) > touchEvery {
		d.touched = now
		_ = os.Chtimes(d.path, now, now)
	}
}

// release removes the lock if it is still ours.
func (d *dotlock) release() {
	if info, err := os.Lstat(d.path); err == nil && os.SameFile(info, d.info) {
		_ = os.Remove(d.path)
	}
}

// stale reports whether the lock was forgotten. Only a regular file can be: anything else
// is not a lock that a mail program made, and is left to the administrator.
func stale(lock string, now time.Time) bool {
	info, err := os.Lstat(lock)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	age := now.Sub(info.ModTime())
	pid := readPid(lock)
	switch {
	case pid <= 1: // "0" and "1" are written by programs that mean no process
		return age > staleUnknown
	case alive(pid):
		return false
	default:
		return age > staleDead
	}
}

// readPid gives the process that a lock names, 0 for none.
func readPid(lock string) int {
	f, err := os.OpenFile(lock, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer f.Close()
	var buf [16]byte
	n, err := io.ReadFull(f, buf[:])
	if err == nil {
		return 0 // too long for a process number
	}
	pid, err := strconv.ParseInt(strings.Trim(string(buf[:n]), " \n\x00"), 10, 32)
	if err != nil {
		return 0
	}
	return int(pid)
}

func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

func noAccess(err error) bool {
	return errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EROFS)
}

func noLinks(err error) bool {
	return errors.Is(err, syscall.EPERM) || errors.Is(err, errors.ErrUnsupported)
}
