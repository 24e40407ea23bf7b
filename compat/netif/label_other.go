//go:build !linux

package netif

// label does nothing: addresses of this system have no labels.
func label([]Address) error { return nil }
