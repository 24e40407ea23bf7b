//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package mailbox

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// kernelLock takes the lock of flock(2), which is that of O_EXLOCK. An fcntl(2) lock
// beside it would exclude ourselves here.
func kernelLock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}
