package peercred

import (
	"errors"

	"golang.org/x/sys/unix"
)

const solLocal = 0 // SOL_LOCAL of sys/un.h

func get(fd int) (Cred, error) {
	x, err := unix.GetsockoptXucred(fd, solLocal, unix.LOCAL_PEERCRED)
	if err != nil {
		return Cred{}, err
	}
	if x.Ngroups < 1 {
		return Cred{}, errors.New("no group")
	}
	return Cred{UID: x.Uid, GID: x.Groups[0]}, nil
}
