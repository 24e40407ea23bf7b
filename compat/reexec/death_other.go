//go:build !linux && !freebsd

package reexec

import "syscall"

// These systems do not tell a process that its parent died. What is lost is said at
// Detach.
func dieWithParent(*syscall.SysProcAttr) {}
