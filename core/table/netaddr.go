package table

import (
	"hash/maphash"
	"net/netip"
	"strings"
)

// network is an entry of a table of networks. IPv4 addresses are in their IPv6 form.
type network struct {
	addr [16]byte
	bits uint8
	ref  uint32
}

// networks are the networks of a table: a hash table of addresses and lengths of prefix.
type networks struct {
	all   []network
	slots []uint32 // index in all + 1, or 0
	seed  maphash.Seed
	used  [129]bool // lengths of prefix
	bits  []uint8   // the lengths in use, the longest first
	zoned map[netip.Addr]uint32
}

// netIndex finds addresses in a table of addresses, networks and the word local. Each
// length of prefix that occurs costs one step. Entries that are none of these cover
// nothing.
func (c *contents) netIndex() (finder, error) {
	n := &networks{seed: maphash.MakeSeed()}
	err := c.each(func(ref uint32, key, _ string) error {
		n.add(ref, key)
		return nil
	})
	n.index()
	return func(key []byte) (uint32, bool, error) {
		ip, ok := parseAddr(string(key))
		if !ok { // "local", for who comes over the local socket
			return c.find(key)
		}
		ref, found := n.find(ip)
		return ref, found, nil
	}, err
}

func (n *networks) add(ref uint32, key string) {
	p, zone, ok := parseNet(key)
	switch {
	case !ok:
		return
	case zone != "":
		if n.zoned == nil {
			n.zoned = make(map[netip.Addr]uint32)
		}
		n.zoned[p.Addr().WithZone(zone)] = ref
		return
	}
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	n.used[bits] = true
	n.all = append(n.all, network{p.Addr().As16(), uint8(bits), ref})
}

func (n *networks) index() {
	size := 2
	for size < 2*len(n.all) {
		size *= 2
	}
	n.slots = make([]uint32, size)
	for i := range n.all {
		slot, _ := n.slot(n.all[i].addr, n.all[i].bits)
		n.slots[slot] = uint32(i) + 1 // the last of equal ones counts
	}
	for b := len(n.used) - 1; b >= 0; b-- {
		if n.used[b] {
			n.bits = append(n.bits, uint8(b))
		}
	}
}

func (n *networks) slot(addr [16]byte, bits uint8) (slot int, index uint32) {
	mask := uint64(len(n.slots) - 1)
	b := append(addr[:], bits)
	for h := maphash.Bytes(n.seed, b) & mask; ; h = (h + 1) & mask {
		i := n.slots[h]
		if i == 0 || n.all[i-1].addr == addr && n.all[i-1].bits == bits {
			return int(h), i
		}
	}
}

func (n *networks) find(ip netip.Addr) (uint32, bool) {
	if ref, ok := n.zoned[ip]; ok {
		return ref, true
	}
	addr := ip.As16()
	for _, b := range n.bits {
		if ip.Is4() && b < 96 {
			break
		}
		clearTail(&addr, b)
		if _, i := n.slot(addr, b); i != 0 {
			return n.all[i-1].ref, true
		}
	}
	return 0, false
}

// clearTail clears the bits after the first bits ones.
func clearTail(addr *[16]byte, bits uint8) {
	i := bits / 8
	if bits%8 != 0 {
		addr[i] &= 0xff << (8 - bits%8)
		i++
	}
	clear(addr[i:])
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
