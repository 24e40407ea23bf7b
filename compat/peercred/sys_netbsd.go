package peercred

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// From sys/un.h; x/sys does not have them.
const (
	solLocal     = 0
	localPeerEID = 3 // LOCAL_PEEREID
)

// LOCAL_PEEREID fills in struct unpcbid: pid, euid and egid, 32 bits each. x/sys has no
// getter for it, but this one takes any option of up to 20 octets.
func get(fd int) (Cred, error) {
	m, err := unix.GetsockoptIPv6Mreq(fd, solLocal, localPeerEID)
	if err != nil {
		return Cred{}, err
	}
	b := m.Multiaddr[:]
	return Cred{
		PID: int(int32(binary.NativeEndian.Uint32(b[0:]))),
		UID: binary.NativeEndian.Uint32(b[4:]),
		GID: binary.NativeEndian.Uint32(b[8:]),
	}, nil
}
