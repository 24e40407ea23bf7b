//go:build freebsd || darwin

package diskfree

import "golang.org/x/sys/unix"

// stat is statfs(2): blocks have f_bsize octets. f_bavail and f_ffree are signed on FreeBSD.
func stat(fd int) (counts, error) {
	var s unix.Statfs_t
	if err := unix.Fstatfs(fd, &s); err != nil {
		return counts{}, err
	}
	return counts{
		unit: uint64(s.Bsize), blocks: uint64(s.Blocks), bfree: uint64(s.Bfree), avail: uint64(s.Bavail),
		files: uint64(s.Files), ffree: uint64(s.Ffree), favail: uint64(s.Ffree),
	}, nil
}
