// Package diskfree tells how much room a file system has left.
package diskfree

import "os"

// Space is the room of a file system for those who are not root, in percent of its size.
// Inodes is 100 where the file system makes them as it needs them.
type Space struct {
	Blocks, Inodes int
}

// Of gives the room of the file system on which the open file or directory lies.
func Of(f *os.File) (Space, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return Space{}, err
	}
	var s counts
	var failed error
	if err := conn.Control(func(fd uintptr) { s, failed = stat(int(fd)) }); err != nil {
		return Space{}, err
	}
	if failed != nil {
		return Space{}, &os.PathError{Op: "statfs", Path: f.Name(), Err: failed}
	}
	return Space{percent(s.bavail, s.blocks), percent(s.ffree, s.files)}, nil
}

type counts struct {
	blocks, bavail, files, ffree uint64
}

// percent of a total that is not told is everything. Some systems give a negative number
// of blocks when only root's reserve is left, which is a very large one here.
func percent(free, total uint64) int {
	switch {
	case total == 0:
		return 100
	case free > total:
		return 0
	}
	return int(float64(free) / float64(total) * 100)
}
