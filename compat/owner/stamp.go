package owner

import (
	"io/fs"
	"syscall"
)

// Stamp tells states of a file apart: after any change it is another one, also when the
// clock was set back or the times were set by hand. Times are in nanoseconds since 1970.
type Stamp struct {
	Device, Inode     uint64
	Size              int64
	Modified, Changed int64
}

// StampOf gives the stamp of a file. Where the file system says less, it has less in it.
func StampOf(fi fs.FileInfo) Stamp {
	s := Stamp{Size: fi.Size(), Modified: fi.ModTime().UnixNano()}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		s.Device, s.Inode, s.Changed = uint64(st.Dev), uint64(st.Ino), changed(st)
	}
	return s
}
