package netif

import (
	"encoding/binary"
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// dumpWait is how many seconds the kernel may take for a piece of its routing table.
const dumpWait = 5

// defaultRoutes gives the interfaces of the default routes by rtnetlink(7). What is read
// is thrown away piece by piece: a router can have a million routes.
func defaultRoutes() ([]string, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: dumpWait}); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	var indexes []int
	for i, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		seq := uint32(i + 1)
		if err := unix.Sendto(fd, dumpRequest(seq, family), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return nil, os.NewSyscallError("sendto", err)
		}
		if indexes, err = readDump(fd, seq, indexes); err != nil {
			return nil, err
		}
	}
	return names(indexes), nil
}

// dumpRequest asks for all routes of a family: struct nlmsghdr and struct rtmsg.
func dumpRequest(seq uint32, family byte) []byte {
	b := make([]byte, unix.SizeofNlMsghdr+unix.SizeofRtMsg)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.RTM_GETROUTE)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	binary.NativeEndian.PutUint32(b[8:], seq)
	b[unix.SizeofNlMsghdr] = family
	return b
}

func readDump(fd int, seq uint32, indexes []int) ([]int, error) {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			if err == unix.EINTR {
				continue
			}
			return nil, os.NewSyscallError("recvfrom", err)
		}
		if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != 0 {
			continue // not the kernel
		}
		found, done, err := parseDump(buf[:n], seq)
		if err != nil {
			return nil, err
		}
		for _, i := range found {
			if !slices.Contains(indexes, i) {
				indexes = append(indexes, i)
			}
		}
		if done {
			return indexes, nil
		}
	}
}

// parseDump gives the interfaces of the default routes in one piece of an answer, and
// whether it is the last piece.
func parseDump(b []byte, seq uint32) (indexes []int, done bool, err error) {
	for len(b) > 0 {
		m, rest, ok := nextMessage(b)
		if !ok {
			return nil, false, errTruncated
		}
		b = rest
		if m.seq != seq {
			continue
		}
		switch m.kind {
		case unix.NLMSG_DONE:
			return indexes, true, nil
		case unix.NLMSG_ERROR:
			if len(m.body) < 4 {
				return nil, false, errTruncated
			}
			errno := unix.Errno(-int32(binary.NativeEndian.Uint32(m.body)))
			if errno == 0 || errno == unix.EOPNOTSUPP || errno == unix.EAFNOSUPPORT {
				return indexes, true, nil // a kernel without the family
			}
			return nil, false, os.NewSyscallError("netlink", errno)
		case unix.RTM_NEWROUTE:
			indexes = append(indexes, defaultVia(m.body)...)
		}
	}
	return indexes, false, nil
}

var errTruncated = errors.New("netlink: message cut off")

// netlinkMessage is what follows a struct nlmsghdr.
type netlinkMessage struct {
	kind uint16
	seq  uint32
	body []byte
}

// nextMessage takes the first message off. Messages stand at multiples of 4.
func nextMessage(b []byte) (m netlinkMessage, rest []byte, ok bool) {
	if len(b) < unix.SizeofNlMsghdr {
		return m, nil, false
	}
	length := binary.NativeEndian.Uint32(b)
	if length < unix.SizeofNlMsghdr || uint64(length) > uint64(len(b)) {
		return m, nil, false
	}
	m = netlinkMessage{binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint32(b[8:]), b[unix.SizeofNlMsghdr:length]}
	return m, after(b, int(length)), true
}

// after gives what follows a thing of a length that is filled up to a multiple of 4.
func after(b []byte, length int) []byte { return b[min((length+3)&^3, len(b)):] }

// defaultVia gives the interfaces of a route, struct rtmsg and its attributes, if it leads
// to everywhere. Each attribute has its length and type in front.
func defaultVia(body []byte) (indexes []int) {
	if !isDefault(body) {
		return nil
	}
	table := uint32(body[4])
	for b := body[unix.SizeofRtMsg:]; len(b) >= unix.SizeofRtAttr; {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtAttr || length > len(b) {
			break
		}
		value := b[unix.SizeofRtAttr:length]
		switch kind := binary.NativeEndian.Uint16(b[2:]); {
		case kind == unix.RTA_TABLE && len(value) >= 4:
			table = binary.NativeEndian.Uint32(value)
		case kind == unix.RTA_OIF && len(value) >= 4:
			indexes = append(indexes, int(int32(binary.NativeEndian.Uint32(value))))
		case kind == unix.RTA_MULTIPATH:
			indexes = append(indexes, nextHops(value)...)
		}
		b = after(b, length)
	}
	if table != unix.RT_TABLE_MAIN && table != unix.RT_TABLE_DEFAULT {
		return nil
	}
	return indexes
}

// isDefault reports by its struct rtmsg whether a route leads to everywhere: the length
// of the destination is 0, and packets are neither refused nor dropped.
func isDefault(rtmsg []byte) bool {
	return len(rtmsg) >= unix.SizeofRtMsg && (rtmsg[0] == unix.AF_INET || rtmsg[0] == unix.AF_INET6) &&
		rtmsg[1] == 0 && rtmsg[7] == unix.RTN_UNICAST && binary.NativeEndian.Uint32(rtmsg[8:])&unix.RTM_F_CLONED == 0
}

// nextHops gives the interfaces of a route with several: struct rtnexthop, each with its
// length in front.
func nextHops(b []byte) (indexes []int) {
	for len(b) >= unix.SizeofRtNexthop {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtNexthop || length > len(b) {
			break
		}
		indexes = append(indexes, int(int32(binary.NativeEndian.Uint32(b[4:]))))
		b = after(b, length)
	}
	return indexes
}

// openEvents opens a netlink socket on which the kernel tells of changes.
func openEvents() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	groups := uint32(unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR |
		unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

// relevant reports whether one of the messages is about an interface, an address or a
// default route.
func relevant(b []byte) bool {
	for len(b) > 0 {
		m, rest, ok := nextMessage(b)
		if !ok {
			return true
		}
		b = rest
		switch m.kind {
		case unix.RTM_NEWLINK, unix.RTM_DELLINK, unix.RTM_NEWADDR, unix.RTM_DELADDR:
			return true
		case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
			if isDefault(m.body) {
				return true
			}
		}
	}
	return false
}
