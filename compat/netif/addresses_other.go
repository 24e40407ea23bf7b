//go:build !linux

package netif

import (
	"net"
	"net/netip"
)

// addresses gives the addresses of interfaces. The system is asked for those of each. One
// that has gone meanwhile has none.
func addresses(interfaces []net.Interface) ([]Address, error) {
	var all []Address
	for n := range interfaces {
		i := &interfaces[n]
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		list, err := i.Addrs()
		if err != nil {
			if _, gone := net.InterfaceByName(i.Name); gone != nil {
				continue
			}
			return nil, err
		}
		for _, network := range list {
			network, ok := network.(*net.IPNet)
			if !ok {
				continue
			}
			if addr, ok := netip.AddrFromSlice(network.IP); ok {
				a := address(i, addr)
				a.Bits, _ = network.Mask.Size()
				all = append(all, a)
			}
		}
	}
	return all, nil
}
