//go:build !linux && !freebsd

package child

import "syscall"

// attributes cannot ask for a signal at our death here: a program that is reading its
// input when we are killed sees the input end early.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true}
}
