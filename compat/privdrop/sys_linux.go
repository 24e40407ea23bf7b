package privdrop

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxGroups is NGROUPS_MAX of Linux since 2.6.4.
const maxGroups = 65536

// Credentials belong to a thread on Linux. Package syscall changes them on all threads.
func setUID(uid int) error { return syscall.Setresuid(uid, uid, uid) }
func setGID(gid int) error { return syscall.Setresgid(gid, gid, gid) }

func checkIDs(uid, gid int) error {
	if r, e, s := unix.Getresuid(); r != uid || e != uid || s != uid {
		return fmt.Errorf("privdrop: user is %d/%d/%d, not %d", r, e, s, uid)
	}
	if r, e, s := unix.Getresgid(); r != gid || e != gid || s != gid {
		return fmt.Errorf("privdrop: group is %d/%d/%d, not %d", r, e, s, gid)
	}
	return nil
}

// NoNewPrivs makes sure that no program which this process starts can gain privileges
// from set-user-id bits or file capabilities. It holds for all threads and cannot be
// undone. In a binary built with cgo the error is errors.ErrUnsupported: there the Go
// runtime does not reach the threads of others.
func NoNewPrivs() error {
	return prctlAll("no-new-privileges", unix.PR_SET_NO_NEW_PRIVS, 1)
}

// DieWithParent asks the kernel to kill this process when its parent dies. It must be
// called after Drop, because a change of user cancels it. It is a second line of
// defence: the end of the stream on the socket to the parent is the first, and the only
// one if the parent died before this call.
//
// The parent is, to Linux, the thread that started this process. Threads of a Go program
// live as long as it does unless a goroutine ends that has locked one: the parent must
// not start processes on such a goroutine. In a binary built with cgo the error is
// errors.ErrUnsupported.
func DieWithParent() error {
	return prctlAll("parent death signal", unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL))
}

func prctlAll(what string, option, arg uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, option, arg, 0, 0, 0, 0)
	switch {
	case errno == 0:
		return nil
	case errno == syscall.ENOTSUP:
		return fmt.Errorf("privdrop: %s: %w in a cgo build", what, errors.ErrUnsupported)
	}
	return fmt.Errorf("privdrop: %s: %w", what, errno)
}
