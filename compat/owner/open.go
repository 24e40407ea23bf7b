package owner

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// ErrNotRegular is a file that is a link, a directory, a pipe or a device.
var ErrNotRegular = errors.New("not a regular file")

// GID gives the group id of the owner of a file; false when the file system does not say.
func GID(fi fs.FileInfo) (int, bool) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Gid), true
}

// Open opens a regular file for reading, also through symbolic links. A pipe without a
// writer does not hold us up.
func Open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// OpenRegular opens a file of a user for reading. The last part of the path must not be a
// symbolic link, the file must have one name only, and a pipe without a writer does not
// hold us up.
func OpenRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	// ELOOP is POSIX for O_NOFOLLOW; FreeBSD says EMLINK, NetBSD EFTYPE.
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.EMLINK) {
		return nil, &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}
	}
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil {
		st, ok := fi.Sys().(*syscall.Stat_t)
		if !fi.Mode().IsRegular() || !ok || st.Nlink != 1 {
			err = &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
