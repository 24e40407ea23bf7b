package child

import "golang.org/x/sys/unix"

// maxInherited bounds the search where the kernel cannot do it. What we open ourselves is
// closed by exec anyway; what we inherited was open early and has a small number.
const maxInherited = 1024

// closeOnExecEach marks every descriptor but the first three, one by one.
func closeOnExecEach() {
	for fd := uintptr(3); fd < maxInherited; fd++ {
		_, _ = unix.FcntlInt(fd, unix.F_SETFD, unix.FD_CLOEXEC) // EBADF: not open
	}
}
