//go:build dragonfly || freebsd || netbsd || openbsd

package netif

// oneInterface is a flag that only macOS has.
const oneInterface = 0
