//go:build !linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd

package mailbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

const wantDotlock = true

// kernelLock refuses: it is not known which lock the tools of this system take, and a
// delivery under the wrong one loses mail.
func kernelLock(*os.File) error {
	return fmt.Errorf("mailbox locks on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
