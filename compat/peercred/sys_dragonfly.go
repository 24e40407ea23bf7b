package peercred

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From sys/un.h and sys/ucred.h; x/sys does not have them.
const (
	solLocal      = 0
	localPeerCred = 1 // LOCAL_PEERCRED
)

type xucred struct {
	version uint32
	uid     uint32
	ngroups int16
	groups  [16]uint32
	_       uintptr
}

func get(fd int) (Cred, error) {
	var x xucred
	size := uint32(unsafe.Sizeof(x))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), solLocal, localPeerCred,
		uintptr(unsafe.Pointer(&x)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return Cred{}, errno
	}
	if x.version != 0 || x.ngroups < 1 || size < uint32(unsafe.Offsetof(x.groups))+4 {
		return Cred{}, errors.New("unknown form of struct xucred")
	}
	return Cred{UID: x.uid, GID: x.groups[0]}, nil
}
