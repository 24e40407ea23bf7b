//go:build !linux && !freebsd && !darwin && !openbsd && !netbsd && !dragonfly

package peercred

import "errors"

func get(int) (Cred, error) { return Cred{}, errors.ErrUnsupported }
