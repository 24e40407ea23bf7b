//go:build !linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd

package netif

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

// defaultRoutes: the routing table of this system is not known here.
func defaultRoutes() ([]string, error) {
	return nil, fmt.Errorf("%w on %s", errors.ErrUnsupported, runtime.GOOS)
}

// openEvents: the system is looked at again and again instead.
func openEvents() (*os.File, error) {
	return nil, fmt.Errorf("netif: events: %w on %s", errors.ErrUnsupported, runtime.GOOS)
}

func relevant([]byte) bool { return true }
