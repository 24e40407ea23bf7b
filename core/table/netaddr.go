package table

import (
	"net/netip"
	"strings"
)

// netIndex finds addresses in a table of addresses, networks and the word local. Each
// length of prefix that occurs costs one map access. Entries that are none of these
// cover nothing.
func (c *contents) netIndex() func(string) (int32, bool) {
	nets := make(map[netip.Prefix]int32)
	zoned := make(map[netip.Addr]int32)
	var used4 [33]bool
	var used6 [129]bool
	for i, e := range c.entries {
		p, zone, ok := parseNet(e.key)
		switch {
		case !ok:
			continue
		case zone != "":
			zoned[p.Addr().WithZone(zone)] = int32(i)
			continue
		case p.Addr().Is4():
			used4[p.Bits()] = true
		default:
			used6[p.Bits()] = true
		}
		nets[p] = int32(i)
	}
	bits4, bits6 := lengths(used4[:]), lengths(used6[:])
	return func(key string) (int32, bool) {
		ip, ok := parseAddr(key)
		if !ok { // "local", for who comes over the local socket
			return c.findExact(key)
		}
		if i, ok := zoned[ip]; ok {
			return i, true
		}
		ip = ip.WithZone("")
		bits := bits6
		if ip.Is4() {
			bits = bits4
		}
		for _, n := range bits {
			if p, err := ip.Prefix(n); err == nil {
				if i, ok := nets[p]; ok {
					return i, true
				}
			}
		}
		return 0, false
	}
}

// lengths gives the prefix lengths in use, the longest first.
func lengths(used []bool) (bits []int) {
	for n := len(used) - 1; n >= 0; n-- {
		if used[n] {
			bits = append(bits, n)
		}
	}
	return bits
}

// parseNet reads an address or a network in one of the ways that table(5) allows.
func parseNet(s string) (p netip.Prefix, zone string, ok bool) {
	addr, bits, network := strings.Cut(s, "/")
	ip, ok := parseAddr(addr)
	if !ok {
		return p, "", false
	}
	if !network {
		return netip.PrefixFrom(ip, ip.BitLen()), ip.Zone(), true
	}
	p, err := netip.ParsePrefix(ip.WithZone("").String() + "/" + bits)
	return p.Masked(), "", err == nil
}

// parseAddr reads an address, also in brackets and with the prefix of an address literal.
// IPv4 in IPv6 becomes IPv4.
func parseAddr(s string) (netip.Addr, bool) {
	if len(s) > 1 && s[0] == '[' && s[len(s)-1] == ']' {
		s = s[1 : len(s)-1]
	}
	if len(s) > 5 && strings.EqualFold(s[:5], "ipv6:") {
		s = s[5:]
	}
	ip, err := netip.ParseAddr(s)
	return ip.Unmap(), err == nil
}
