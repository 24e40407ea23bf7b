//go:build dragonfly || freebsd || openbsd

package netif

import (
	"bytes"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// groupRequest is struct ifgroupreq of <net/if.h>: a union of 16 octets, of which the
// pointer is used here, stands at its end.
type groupRequest struct {
	name   [unix.IFNAMSIZ]byte
	length uint32 // of members, in octets
	list   unsafe.Pointer
	_      [16 - unsafe.Sizeof(uintptr(0))]byte
}

// The number of an ioctl has the size of its argument in it.
var _ [0]struct{} = [unsafe.Sizeof(groupRequest{}) - unix.SIOCGIFGMEMB>>16&0x1fff]struct{}{}

type groupMember [unix.IFNAMSIZ]byte

// group gives the interfaces of a group of the system: SIOCGIFGMEMB, first for the length
// and then for the names. ErrNotFound is returned when there is none of that name.
func group(name string) ([]string, error) {
	var req groupRequest
	if name == "" || len(name) >= len(req.name) {
		return nil, ErrNotFound
	}
	copy(req.name[:], name)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("netif: socket: %w", err)
	}
	defer unix.Close(fd)
	var members []groupMember
	for range 5 { // the group can grow between the two questions
		if err = groupIoctl(fd, &req); err != nil {
			break
		}
		count := int(req.length) / len(groupMember{})
		if count == 0 {
			return nil, nil
		}
		members = make([]groupMember, count)
		req.list = unsafe.Pointer(unsafe.SliceData(members))
		if err = groupIoctl(fd, &req); err == nil {
			return memberNames(members), nil
		}
		req.list, req.length = nil, 0
	}
	if errors.Is(err, unix.ENOENT) {
		return nil, ErrNotFound
	}
	return nil, fmt.Errorf("netif: group %s: %w", name, err)
}

func groupIoctl(fd int, req *groupRequest) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCGIFGMEMB, uintptr(unsafe.Pointer(req)))
	if errno != 0 {
		return errno
	}
	return nil
}

func memberNames(members []groupMember) (list []string) {
	for _, m := range members {
		name, _, _ := bytes.Cut(m[:], []byte{0})
		if len(name) > 0 {
			list = append(list, string(name))
		}
	}
	return list
}
