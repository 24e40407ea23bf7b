package netif

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// dumpWait is how many seconds the kernel may take for a piece of its routing table.
const dumpWait = 5

// defaultRoutes gives the interfaces of the default routes by rtnetlink(7).
func defaultRoutes() ([]string, error) {
	var indexes []int
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		err := dump(unix.RTM_GETROUTE, family, unix.SizeofRtMsg, func(m netlinkMessage) {
			for _, i := range defaultVia(m) {
				if !slices.Contains(indexes, i) {
					indexes = append(indexes, i)
				}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return names(indexes), nil
}

// addresses gives the addresses of interfaces. The kernel is asked once for all of them:
// it has no answer for one interface only, and a host of containers has hundreds.
func addresses(interfaces []net.Interface) ([]Address, error) {
	up := make(map[int]*net.Interface, len(interfaces))
	for n := range interfaces {
		if i := &interfaces[n]; i.Flags&net.FlagUp != 0 {
			up[i.Index] = i
		}
	}
	var all []Address
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		err := dump(unix.RTM_GETADDR, family, unix.SizeofIfAddrmsg, func(m netlinkMessage) {
			if a, ok := parseAddress(m, up); ok {
				all = append(all, a)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// dump asks the kernel for all things of a family and takes the answer message by message;
// nothing is kept, because a router can have a million routes. A family that the kernel
// lacks has none.
func dump(kind uint16, family byte, size int, take func(netlinkMessage)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: dumpWait}); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Sendto(fd, dumpRequest(kind, family, size), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	buf := make([]byte, 64<<10)
	for {
		n, from, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != 0 {
			continue // not the kernel
		}
		if done, err := parseDump(buf[:n], take); done || err != nil {
			return err
		}
	}
}

// dumpRequest is a struct nlmsghdr and a struct of a size that begins with the family.
func dumpRequest(kind uint16, family byte, size int) []byte {
	b := make([]byte, unix.SizeofNlMsghdr+size)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	b[unix.SizeofNlMsghdr] = family
	return b
}

// parseDump takes the messages of one piece of an answer, and tells whether it is the last
// piece.
func parseDump(b []byte, take func(netlinkMessage)) (done bool, err error) {
	for len(b) > 0 {
		m, rest, ok := nextMessage(b)
		if !ok {
			return false, errTruncated
		}
		b = rest
		switch m.kind {
		case unix.NLMSG_DONE:
			return true, nil
		case unix.NLMSG_ERROR:
			if len(m.body) < 4 {
				return false, errTruncated
			}
			errno := unix.Errno(-int32(binary.NativeEndian.Uint32(m.body)))
			if errno == 0 || errno == unix.EOPNOTSUPP || errno == unix.EAFNOSUPPORT {
				return true, nil
			}
			return false, os.NewSyscallError("netlink", errno)
		}
		take(m)
	}
	return false, nil
}

var errTruncated = errors.New("netlink: message cut off")

// netlinkMessage is what follows a struct nlmsghdr.
type netlinkMessage struct {
	kind uint16
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
	m = netlinkMessage{binary.NativeEndian.Uint16(b[4:]), b[unix.SizeofNlMsghdr:length]}
	return m, after(b, int(length)), true
}

// after gives what follows a thing of a length that is filled up to a multiple of 4.
func after(b []byte, length int) []byte { return b[min((length+3)&^3, len(b)):] }

// eachAttribute goes through attributes. Each has its length and type in front.
func eachAttribute(b []byte, take func(kind uint16, value []byte)) {
	for len(b) >= unix.SizeofRtAttr {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtAttr || length > len(b) {
			return
		}
		take(binary.NativeEndian.Uint16(b[2:]), b[unix.SizeofRtAttr:length])
		b = after(b, length)
	}
}

// defaultVia gives the interfaces of a route, struct rtmsg and its attributes, if it leads
// to everywhere.
func defaultVia(m netlinkMessage) (indexes []int) {
	if m.kind != unix.RTM_NEWROUTE || !isDefault(m.body) {
		return nil
	}
	table := uint32(m.body[4])
	eachAttribute(m.body[unix.SizeofRtMsg:], func(kind uint16, value []byte) {
		switch {
		case kind == unix.RTA_TABLE && len(value) >= 4:
			table = binary.NativeEndian.Uint32(value)
		case kind == unix.RTA_OIF && len(value) >= 4:
			indexes = append(indexes, int(int32(binary.NativeEndian.Uint32(value))))
		case kind == unix.RTA_MULTIPATH:
			indexes = append(indexes, nextHops(value)...)
		}
	})
	if table != unix.RT_TABLE_MAIN && table != unix.RT_TABLE_DEFAULT {
		return nil
	}
	return indexes
}

// parseAddress reads a struct ifaddrmsg and its attributes, if it is about one of the
// interfaces. With a peer, IFA_LOCAL is our side and IFA_ADDRESS the other one. IFA_LABEL
// is a name like "eth0:1", which getifaddrs(3) gives for the name of the interface; only
// IPv4 addresses have it.
func parseAddress(m netlinkMessage, up map[int]*net.Interface) (a Address, ok bool) {
	if m.kind != unix.RTM_NEWADDR || len(m.body) < unix.SizeofIfAddrmsg {
		return a, false
	}
	i := up[int(int32(binary.NativeEndian.Uint32(m.body[4:])))]
	var local, remote netip.Addr
	label := ""
	eachAttribute(m.body[unix.SizeofIfAddrmsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(value)
		case unix.IFA_ADDRESS:
			remote, _ = netip.AddrFromSlice(value)
		case unix.IFA_LABEL:
			label = string(bytes.TrimRight(value, "\x00"))
		}
	})
	if !local.IsValid() {
		local = remote
	}
	if i == nil || !local.IsValid() || int(m.body[1]) > local.BitLen() {
		return a, false
	}
	a = address(i, local)
	a.Bits = int(m.body[1])
	if label != "" {
		a.Label = label
	}
	return a, true
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
