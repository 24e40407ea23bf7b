//go:build !linux && !freebsd && !darwin && !dragonfly && !openbsd && !netbsd && !solaris

package diskfree

import "errors"

func stat(int) (counts, error) {
	return counts{}, errors.ErrUnsupported
}
