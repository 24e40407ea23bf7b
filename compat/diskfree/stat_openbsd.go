package diskfree

import "golang.org/x/sys/unix"

// stat is statfs(2): blocks have f_bsize octets; f_favail are the inodes for those who are not root.
func stat(fd int) (counts, error) {
	var s unix.Statfs_t
	if err := unix.Fstatfs(fd, &s); err != nil {
		return counts{}, err
	}
	return counts{
		unit: uint64(s.F_bsize), blocks: s.F_blocks, bfree: s.F_bfree, avail: uint64(s.F_bavail),
		files: s.F_files, ffree: s.F_ffree, favail: uint64(s.F_favail),
	}, nil
}
