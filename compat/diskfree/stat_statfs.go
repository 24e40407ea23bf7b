//go:build linux || freebsd || darwin || dragonfly

package diskfree

import "golang.org/x/sys/unix"

func stat(fd int) (counts, error) {
	var s unix.Statfs_t
	if err := unix.Fstatfs(fd, &s); err != nil {
		return counts{}, err
	}
	return counts{uint64(s.Blocks), uint64(s.Bavail), uint64(s.Files), uint64(s.Ffree)}, nil
}
