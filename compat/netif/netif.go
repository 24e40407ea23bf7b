// Package netif names the network interfaces of the host, their groups and their
// addresses, and tells when they change.
//
// OpenBSD, FreeBSD and DragonFly have groups of interfaces, which ifconfig(8) lists; the
// kernel is asked for their members. On OpenBSD "egress" is such a group, which the kernel
// keeps by the default routes. Where the system has no group of that name, these three
// are made here:
//
//	all     every interface
//	lo      the loopback interfaces; on Linux it is also the name of the only one
//	egress  the interfaces of the default routes, IPv4 and IPv6
//
// The default routes are read from the routing table: by netlink on Linux, in the tables
// "main" and "default" only, so that the routes of a policy, such as those of a tunnel, do
// not count; by sysctl(3) elsewhere, which gives the table of the process. On macOS those
// that are good for one interface only do not count: every tunnel of the system has one.
//
// A change is told by a netlink socket on Linux and a routing socket on the other
// systems. Where there is none, the channel of Watch goes by the clock.
package netif

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// ErrNotFound is a name that is neither an interface nor a group.
var ErrNotFound = errors.New("netif: no such interface")

// Address is one address of one interface. A link-local IPv6 address carries the
// interface as its zone.
type Address struct {
	Interface string
	Index     int    // of the interface
	Label     string // what the address is listed by: Interface, or on Linux "eth0:1" and the like
	Addr      netip.Addr
	Bits      int // length of the network's prefix
	Loopback  bool
}

// All gives the addresses of all interfaces that are up, in the system's order.
func All() ([]Address, error) {
	interfaces, err := net.Interfaces()
	if err == nil {
		var all []Address
		if all, err = addresses(interfaces); err == nil {
			return all, nil
		}
	}
	return nil, fmt.Errorf("netif: %w", err)
}

// address makes an Address of an interface. Label and Bits are still to be set.
func address(i *net.Interface, addr netip.Addr) Address {
	addr = addr.Unmap()
	if addr.Is6() && addr.IsLinkLocalUnicast() {
		addr = addr.WithZone(i.Name)
	}
	return Address{Interface: i.Name, Index: i.Index, Label: i.Name, Addr: addr, Loopback: i.Flags&net.FlagLoopback != 0}
}

// Find gives those of the addresses that a name stands for: a label, which mostly is the
// name of the interface, or the name of a group. An interface that is down or has no
// address, and a group without members, give an empty list. The error is ErrNotFound when
// there is neither.
func Find(all []Address, name string) ([]Address, error) {
	list := pick(all, func(a Address) bool { return a.Label == name })
	if len(list) > 0 {
		return list, nil
	}
	if _, err := net.InterfaceByName(name); err == nil {
		return nil, nil
	}
	members, err := group(name)
	switch {
	case err == nil:
		return pick(all, func(a Address) bool { return slices.Contains(members, a.Interface) }), nil
	case !errors.Is(err, ErrNotFound):
		return nil, err
	}
	switch name {
	case "all":
		return all, nil
	case "lo":
		return pick(all, func(a Address) bool { return a.Loopback }), nil
	case "egress":
		members, err := defaultRoutes()
		if err != nil {
			return nil, fmt.Errorf("netif: default routes: %w", err)
		}
		return pick(all, func(a Address) bool { return slices.Contains(members, a.Interface) }), nil
	}
	return nil, fmt.Errorf("%w: %s", ErrNotFound, name)
}

func pick(all []Address, take func(Address) bool) (list []Address) {
	for _, a := range all {
		if take(a) {
			list = append(list, a)
		}
	}
	return list
}

// names gives the names of interfaces. Those that have gone meanwhile are left out.
func names(indexes []int) (list []string) {
	for _, index := range indexes {
		i, err := net.InterfaceByIndex(index)
		if err == nil && !slices.Contains(list, i.Name) {
			list = append(list, i.Name)
		}
	}
	return list
}

// Absent reports whether listening failed because the host does not have the address, or
// cannot use it yet, such as an IPv6 address that is still being checked for duplicates.
func Absent(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) ||
		errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.ENXIO)
}
