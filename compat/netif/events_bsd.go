//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package netif

import (
	"os"

	"golang.org/x/net/route"
	"golang.org/x/sys/unix"
)

// openEvents opens a routing socket, route(4).
func openEvents() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_ROUTE, unix.SOCK_RAW, unix.AF_UNSPEC)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), "route"), nil
}

// relevant reports whether a message of a routing socket is about an interface, an
// address or a default route. Every message begins with its length, the version and the
// type.
func relevant(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	switch b[3] {
	case unix.RTM_GET, unix.RTM_LOSING, unix.RTM_MISS, unix.RTM_REDIRECT:
		return false
	case unix.RTM_ADD, unix.RTM_DELETE, unix.RTM_CHANGE:
		messages, err := route.ParseRIB(route.RIBTypeRoute, b)
		if err != nil {
			return true
		}
		for _, m := range messages {
			if r, ok := m.(*route.RouteMessage); ok && isDefault(r) {
				return true
			}
		}
		return false
	}
	return true
}

// isDefault reports whether a route leads to everywhere. The mask of such a route is empty
// or absent; that of "::/96", which some systems refuse to route, is neither.
func isDefault(r *route.RouteMessage) bool {
	if r.Flags&(unix.RTF_HOST|unix.RTF_REJECT|unix.RTF_BLACKHOLE|oneInterface) != 0 {
		return false
	}
	var dst, mask route.Addr
	if len(r.Addrs) > unix.RTAX_NETMASK {
		dst, mask = r.Addrs[unix.RTAX_DST], r.Addrs[unix.RTAX_NETMASK]
	}
	return dst != nil && isZero(dst) && (mask == nil || isZero(mask))
}

func isZero(a route.Addr) bool {
	switch a := a.(type) {
	case *route.Inet4Addr:
		return a.IP == [4]byte{}
	case *route.Inet6Addr:
		return a.IP == [16]byte{}
	}
	return false
}
