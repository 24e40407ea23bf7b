package peercred

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// SO_PEERCRED fills in struct sockpeercred: uid, gid and pid, 32 bits each. x/sys has no
// getter for it, but this one takes any option of up to 20 octets.
func get(fd int) (Cred, error) {
	m, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Cred{}, err
	}
	b := m.Multiaddr[:]
	return Cred{
		UID: binary.NativeEndian.Uint32(b[0:]),
		GID: binary.NativeEndian.Uint32(b[4:]),
		PID: int(int32(binary.NativeEndian.Uint32(b[8:]))),
	}, nil
}
