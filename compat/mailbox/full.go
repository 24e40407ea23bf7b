package mailbox

import (
	"errors"
	"syscall"
)

// OverQuota reports whether an error says that the user may not store more.
func OverQuota(err error) bool { return errors.Is(err, syscall.EDQUOT) }

// NoSpace reports whether an error says that the file system is full.
func NoSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) }
