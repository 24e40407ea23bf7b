package fsync

import (
	"errors"

	"golang.org/x/sys/unix"
)

// sync empties the cache of the drive too, which fsync(2) of macOS does not do. File systems
// that do not know the request, as those on a network, get the ordinary one.
func sync(fd int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_FULLFSYNC, 0)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
		return unix.Fsync(fd)
	}
	return err
}
