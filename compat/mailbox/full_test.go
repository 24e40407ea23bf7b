package mailbox

import (
	"io/fs"
	"syscall"
	"testing"
)

func TestFull(t *testing.T) {
	for err, want := range map[error][2]bool{
		syscall.EDQUOT: {true, false},
		syscall.ENOSPC: {false, true},
		syscall.EIO:    {false, false},
	} {
		wrapped := &fs.PathError{Op: "write", Path: "x", Err: err}
		if got := [2]bool{OverQuota(wrapped), NoSpace(wrapped)}; got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}
