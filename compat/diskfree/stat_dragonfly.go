package diskfree

import "golang.org/x/sys/unix"

// stat is statfs(2): blocks have f_bsize octets. HAMMER2, which makes inodes as it needs them, gives
// the number of files and none that is free, also through null mounts. So none that is free means here that
// it is not told; on a UFS without free inodes it is the creation of a file that fails.
func stat(fd int) (counts, error) {
	var s unix.Statfs_t
	if err := unix.Fstatfs(fd, &s); err != nil {
		return counts{}, err
	}
	c := counts{unit: uint64(s.Bsize), blocks: uint64(s.Blocks), bfree: uint64(s.Bfree), avail: uint64(s.Bavail)}
	if s.Ffree > 0 {
		c.files, c.ffree, c.favail = uint64(s.Files), uint64(s.Ffree), uint64(s.Ffree)
	}
	return c, nil
}
