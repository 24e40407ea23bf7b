//go:build netbsd || solaris

package diskfree

import "golang.org/x/sys/unix"

// stat is statvfs(2): blocks have f_frsize octets.
func stat(fd int) (counts, error) {
	var s unix.Statvfs_t
	if err := unix.Fstatvfs(fd, &s); err != nil {
		return counts{}, err
	}
	return counts{
		unit: uint64(s.Frsize), blocks: uint64(s.Blocks), bfree: uint64(s.Bfree), avail: uint64(s.Bavail),
		files: uint64(s.Files), ffree: uint64(s.Ffree), favail: uint64(s.Favail),
	}, nil
}
