// Package owner tells to whom a file belongs.
package owner

import (
	"io/fs"
	"syscall"
)

// UID gives the user id of the owner of a file; false when the file system does not say.
func UID(fi fs.FileInfo) (int, bool) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Uid), true
}
