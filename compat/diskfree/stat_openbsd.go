package diskfree

import "golang.org/x/sys/unix"

func stat(fd int) (counts, error) {
	var s unix.Statfs_t
	if err := unix.Fstatfs(fd, &s); err != nil {
		return counts{}, err
	}
	return counts{s.F_blocks, uint64(s.F_bavail), s.F_files, s.F_ffree}, nil
}
