//go:build !dragonfly && !freebsd && !openbsd

package netif

// group finds nothing: the system has no groups of interfaces.
func group(string) ([]string, error) { return nil, ErrNotFound }
