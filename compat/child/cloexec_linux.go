package child

import "golang.org/x/sys/unix"

// closeOnExec keeps descriptors that we inherited from the program.
func closeOnExec() {
	if unix.CloseRange(3, ^uint(0)>>1, unix.CLOSE_RANGE_CLOEXEC) != nil {
		closeOnExecEach() // before Linux 5.11
	}
}
