// Package diskfree tells how much room a file system has left.
package diskfree

import (
	"errors"
	"math"
	"os"
	"syscall"
)

// Space is the room of a file system for those who are not root: what it keeps back for root does not
// count, neither as free nor as a part of the whole. That is how df(1) counts.
type Space struct {
	Blocks int   // percent of the octets that are free; 100 when the file system does not tell
	Inodes int   // percent of the inodes; 100 where they are made as they are needed
	Free   int64 // octets
	Size   int64 // octets that are free or used; math.MaxInt64, as Free, when it does not tell
}

// Of gives the room of the file system on which the open file or directory lies. A quota of the user is
// not counted.
func Of(f *os.File) (Space, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return Space{}, err
	}
	var c counts
	var failed error
	if err := conn.Control(func(fd uintptr) { c, failed = stat(int(fd)) }); err != nil {
		return Space{}, err
	}
	if failed != nil {
		return Space{}, &os.PathError{Op: "statfs", Path: f.Name(), Err: failed}
	}
	return c.space(), nil
}

// Full reports whether an error says that there was no room on the disk, or in the quota, for what was
// to be written.
func Full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// counts is what the system tells. Some give a negative number of free blocks when only root's
// reserve is left, which is a very large one here.
type counts struct {
	unit                 uint64 // octets of a block
	blocks, bfree, avail uint64
	files, ffree, favail uint64
}

func (c counts) space() Space {
	s := Space{Blocks: percent(c.blocks, c.bfree, c.avail), Inodes: percent(c.files, c.ffree, c.favail),
		Free: math.MaxInt64, Size: math.MaxInt64}
	if c.blocks > 0 {
		used, avail := split(c.blocks, c.bfree, c.avail)
		s.Free, s.Size = octets(avail, c.unit), octets(used+avail, c.unit)
	}
	return s
}

// split gives what is used and what an ordinary user can still use.
func split(total, free, avail uint64) (used, rest uint64) {
	if free > total {
		free = 0
	}
	if avail > free {
		avail = 0
	}
	return total - free, avail
}

// percent is that of what is available. A total that is not told is no limit.
func percent(total, free, avail uint64) int {
	if total == 0 {
		return 100
	}
	used, rest := split(total, free, avail)
	if rest == 0 {
		return 0
	}
	return int(float64(rest) / (float64(used) + float64(rest)) * 100)
}

func octets(n, unit uint64) int64 {
	if unit > 0 && n > math.MaxInt64/unit {
		return math.MaxInt64
	}
	return int64(n * unit)
}
