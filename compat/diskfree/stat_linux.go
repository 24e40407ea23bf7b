package diskfree

import (
	"cmp"

	"golang.org/x/sys/unix"
)

// stat is statfs(2): blocks have f_frsize octets; kernels before 2.6 leave it zero. btrfs, FAT and others that
// make inodes as they need them give no number of files.
func stat(fd int) (counts, error) {
	var s unix.Statfs_t
	if err := unix.Fstatfs(fd, &s); err != nil {
		return counts{}, err
	}
	return counts{
		unit: cmp.Or(uint64(s.Frsize), uint64(s.Bsize)), blocks: uint64(s.Blocks), bfree: uint64(s.Bfree), avail: uint64(s.Bavail),
		files: uint64(s.Files), ffree: uint64(s.Ffree), favail: uint64(s.Ffree),
	}, nil
}
