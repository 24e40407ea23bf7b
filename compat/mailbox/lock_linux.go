package mailbox

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Debian policy 11.6 and the tools of the other distributions: fcntl and a dotlock.
const wantDotlock = true

// kernelLock takes an fcntl lock on the whole file. It is of the kind that belongs to the
// open file: one of the process would vanish when any descriptor of the file is closed,
// and would not part two deliveries in one process. Both kinds exclude each other.
func kernelLock(f *os.File) error {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock)
	if errors.Is(err, unix.EINVAL) { // the file system or the kernel is older than 3.15
		err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &lock)
	}
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return ErrLocked
	}
	return err
}
