// Package netif names the network interfaces of the host and their addresses.
package netif

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// ErrNotFound is an interface that does not exist or is not up.
var ErrNotFound = errors.New("netif: no such interface")

// Address is one address of one interface. A link-local IPv6 address carries the
// interface as its zone.
type Address struct {
	Interface string
	Addr      netip.Addr
	Bits      int // length of the network's prefix
	Loopback  bool
}

// All gives the addresses of all interfaces that are up, in the system's order.
func All() ([]Address, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("netif: %w", err)
	}
	var all []Address
	for i := range interfaces {
		list, err := of(&interfaces[i])
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return all, nil
}

// Addresses gives the addresses of one interface. An interface that is up and has none
// gives an empty list.
func Addresses(name string) ([]Address, error) {
	i, err := net.InterfaceByName(name)
	if err != nil || i.Flags&net.FlagUp == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	return of(i)
}

func of(i *net.Interface) ([]Address, error) {
	if i.Flags&net.FlagUp == 0 {
		return nil, nil
	}
	addrs, err := i.Addrs()
	if err != nil {
		return nil, fmt.Errorf("netif: %s: %w", i.Name, err)
	}
	var list []Address
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		addr, ok := netip.AddrFromSlice(n.IP)
		if !ok {
			continue
		}
		addr = addr.Unmap()
		if addr.Is6() && addr.IsLinkLocalUnicast() {
			addr = addr.WithZone(i.Name)
		}
		bits, _ := n.Mask.Size()
		list = append(list, Address{i.Name, addr, bits, i.Flags&net.FlagLoopback != 0})
	}
	return list, nil
}

// Default gives the names of the interfaces that lead to the rest of the world, which
// OpenBSD calls the group "egress". The kernel is asked which address it would send
// from; nothing is sent. Without a default route the list is empty.
func Default() ([]string, error) {
	all, err := All()
	if err != nil {
		return nil, err
	}
	var names []string
	// Addresses for documentation (RFC 5737 section 3, RFC 3849): only the default
	// route leads to them.
	for _, far := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} {
		conn, err := net.Dial("udp", far)
		if err != nil {
			continue // no route for this family
		}
		local := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
		conn.Close()
		for _, a := range all {
			if a.Addr == local && !a.Loopback && !slices.Contains(names, a.Interface) {
				names = append(names, a.Interface)
			}
		}
	}
	return names, nil
}
