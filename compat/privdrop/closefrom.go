package privdrop

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxScan bounds the search where the kernel does not list descriptors.
const maxScan = 1 << 16

// CloseFrom closes the descriptors from first on that this process inherited when it was
// started. It belongs at the start of a process, before anything is opened on purpose
// without close-on-exec.
//
// What was inherited cannot have had the close-on-exec flag, and what the Go runtime and
// its packages open (the poller among it) always has it: the flag tells them apart.
//
// Where the system cannot list the descriptors, only the first 65536 are looked at.
func CloseFrom(first int) error {
	for _, fd := range candidates(first) {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			continue // not open, or ours
		}
		if err := syscall.Close(fd); err != nil {
			return fmt.Errorf("privdrop: close descriptor %d: %w", fd, err)
		}
	}
	return nil
}

// candidates gives every descriptor from first on that may be open.
func candidates(first int) []int {
	var fds []int
	// /dev/fd is not asked: on several systems it shows only 0 to 2, or 0 to 63.
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		for _, e := range entries {
			if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= first {
				fds = append(fds, fd)
			}
		}
		return fds
	}
	end := maxScan
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err == nil && uint64(lim.Cur) < maxScan {
		end = int(lim.Cur)
	}
	for fd := first; fd < end; fd++ {
		fds = append(fds, fd)
	}
	return fds
}
