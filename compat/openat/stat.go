package openat

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Stamp tells one state of a file or directory from every other that it has been in: the system sets Changed at
// each change of its contents, names or attributes, and nobody can set it to a time of his choice. What was put
// back from a copy has another one. Two changes within one tick of the file system's clock have the same.
type Stamp struct {
	Inode   uint64
	Changed int64 // nanoseconds since 1970
	Size    int64 // octets
}

// Stat gives the stamp of a file, or of a link itself.
func Stat(dir *os.File, name string) (Stamp, error) {
	conn, err := dir.SyscallConn()
	if err != nil {
		return Stamp{}, err
	}
	var is Stamp
	var failed error
	err = conn.Control(func(at uintptr) { is, failed = stat(int(at), name) })
	switch {
	case err != nil:
		return Stamp{}, err
	case failed != nil:
		return Stamp{}, &os.PathError{Op: "lstat", Path: name, Err: failed}
	}
	return is, nil
}

func stat(at int, name string) (Stamp, error) {
	var st unix.Stat_t
	err := unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	for err == syscall.EINTR {
		err = unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	}
	return Stamp{Inode: uint64(st.Ino), Changed: st.Ctim.Nano(), Size: int64(st.Size)}, err
}
