//go:build linux || freebsd

package child

import "syscall"

// attributes has the kernel kill the program when we die: otherwise it would see the end
// of its input and take a cut message for a whole one.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}
