//go:build !darwin && !dragonfly && !freebsd && !linux && !netbsd && !openbsd

package filelock

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

// lock refuses: without one, two daemons would destroy each other's mail.
func lock(*os.File) error {
	return fmt.Errorf("flock on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
