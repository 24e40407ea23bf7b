//go:build !386 && !s390x

package fdpass

import (
	"net"
	"syscall"
	"unsafe"
)

// receiver receives without telling the scheduler of it: compat/nonblock says why.
type receiver struct {
	raw  syscall.RawConn
	step func(fd uintptr) bool // receive, made once
	msg  syscall.Msghdr
	vec  syscall.Iovec
	n    int
	err  error
}

func (r *receiver) init(c *net.UnixConn) {
	if r.raw, r.err = c.SyscallConn(); r.err == nil {
		r.step = r.receive
	}
}

// read receives octets and control data.
func (r *receiver) read(b, oob []byte) (n, oobn, flags int, err error) {
	if r.step == nil {
		return 0, 0, 0, r.err
	}
	r.vec.Base = unsafe.SliceData(b)
	r.vec.SetLen(len(b))
	r.msg = syscall.Msghdr{Iov: &r.vec, Iovlen: 1, Control: unsafe.SliceData(oob)}
	r.msg.SetControllen(len(oob))
	err = r.raw.Read(r.step)
	r.vec.Base = nil
	if err == nil {
		err = r.err
	}
	if err != nil {
		return 0, 0, 0, err
	}
	return r.n, int(r.msg.Controllen), int(r.msg.Flags), nil
}

// receive reports whether something came, or never will; otherwise it is called again.
func (r *receiver) receive(fd uintptr) bool {
	for {
		room := r.msg.Controllen
		n, _, errno := syscall.RawSyscall(syscall.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&r.msg)), syscall.MSG_CMSG_CLOEXEC)
		switch errno {
		case 0:
			r.n, r.err = int(n), nil
			return true
		case syscall.EINTR:
			r.msg.Controllen = room
		case syscall.EAGAIN:
			r.msg.Controllen = room
			return false
		default:
			r.n, r.err = 0, errno
			return true
		}
	}
}
