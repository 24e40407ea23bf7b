package netif

import (
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The tests make messages with the byte order of the machine.

type attr struct {
	kind  uint16
	value []byte
}

func u32(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

func (a attr) bytes() []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(a.value)))
	b = binary.NativeEndian.AppendUint16(b, a.kind)
	b = append(b, a.value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func message(kind uint16, body []byte) []byte {
	b := u32(uint32(unix.SizeofNlMsghdr + len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_MULTI)
	return slices.Concat(b, u32(1), u32(0), body)
}

// routeMessage is an RTM_NEWROUTE.
func routeMessage(family, dstLen, table, kind byte, flags uint32, attrs ...attr) []byte {
	body := append([]byte{family, dstLen, 0, 0, table, 3, 0, kind}, u32(flags)...)
	for _, a := range attrs {
		body = append(body, a.bytes()...)
	}
	return message(unix.RTM_NEWROUTE, body)
}

// negative is how the kernel reports an error.
func negative(e syscall.Errno) uint32 { return ^uint32(e) + 1 }

func oif(n uint32) attr { return attr{unix.RTA_OIF, u32(n)} }

func hop(n uint32) []byte {
	gateway := attr{unix.RTA_GATEWAY, []byte{192, 0, 2, 1}}.bytes()
	b := binary.NativeEndian.AppendUint16(nil, uint16(8+len(gateway)))
	return slices.Concat(b, []byte{0, 0}, u32(n), gateway)
}

// vias gives the interfaces of default routes in a piece of an answer.
func vias(b []byte) (indexes []int, done bool, err error) {
	done, err = parseDump(b, func(m netlinkMessage) { indexes = append(indexes, defaultVia(m)...) })
	return indexes, done, err
}

func TestParseDump(t *testing.T) {
	const v4, v6, main, unicast = unix.AF_INET, unix.AF_INET6, unix.RT_TABLE_MAIN, unix.RTN_UNICAST
	gateway := attr{unix.RTA_GATEWAY, []byte{192, 0, 2, 1}}
	for _, test := range []struct {
		name string
		in   []byte
		want []int
		done bool
	}{
		{"nothing", nil, nil, false},
		{"by a gateway", routeMessage(v4, 0, main, unicast, 0, attr{unix.RTA_TABLE, u32(main)}, gateway, oif(3)), []int{3}, false},
		{"without one", routeMessage(v4, 0, main, unicast, 0, oif(3)), []int{3}, false},
		{"IPv6", routeMessage(v6, 0, main, unicast, 0, oif(4)), []int{4}, false},
		{"table default", routeMessage(v4, 0, unix.RT_TABLE_DEFAULT, unicast, 0, oif(3)), []int{3}, false},
		{"table of a policy", routeMessage(v4, 0, 100, unicast, 0, oif(3)), nil, false},
		{"large table of a policy", routeMessage(v4, 0, unix.RT_TABLE_COMPAT, unicast, 0, attr{unix.RTA_TABLE, u32(51820)}, oif(3)), nil, false},
		{"to a network", routeMessage(v4, 24, main, unicast, 0, oif(3)), nil, false},
		{"unreachable", routeMessage(v6, 0, main, unix.RTN_UNREACHABLE, 0, oif(1)), nil, false},
		{"blackhole", routeMessage(v4, 0, main, unix.RTN_BLACKHOLE, 0), nil, false},
		{"cached", routeMessage(v6, 0, main, unicast, unix.RTM_F_CLONED, oif(3)), nil, false},
		{"another family", routeMessage(unix.AF_MPLS, 0, main, unicast, 0, oif(3)), nil, false},
		{"several hops", routeMessage(v4, 0, main, unicast, 0, attr{unix.RTA_MULTIPATH, slices.Concat(hop(5), hop(6))}), []int{5, 6}, false},
		{"a hop that is cut off", routeMessage(v4, 0, main, unicast, 0, attr{unix.RTA_MULTIPATH, slices.Concat(hop(5), hop(6)[:12])}), []int{5}, false},
		{"a hop of length 0", routeMessage(v4, 0, main, unicast, 0, attr{unix.RTA_MULTIPATH, make([]byte, 16)}), nil, false},
		{"a short interface", routeMessage(v4, 0, main, unicast, 0, attr{unix.RTA_OIF, []byte{3}}), nil, false},
		{"a short message", message(unix.RTM_NEWROUTE, []byte{v4, 0, 0, 0}), nil, false},
		{"an address", message(unix.RTM_NEWADDR, make([]byte, 24)), nil, false},
		{"the end", slices.Concat(routeMessage(v4, 0, main, unicast, 0, oif(3)), message(unix.NLMSG_DONE, u32(0))), []int{3}, true},
		{"no such family", message(unix.NLMSG_ERROR, u32(negative(unix.EOPNOTSUPP))), nil, true},
	} {
		got, done, err := vias(test.in)
		if !slices.Equal(got, test.want) || done != test.done || err != nil {
			t.Errorf("%s: got %v, %v, %v, want %v, %v", test.name, got, done, err, test.want, test.done)
		}
	}
}

func TestParseDumpErrors(t *testing.T) {
	for name, in := range map[string][]byte{
		"refused":      message(unix.NLMSG_ERROR, u32(negative(unix.EPERM))),
		"short error":  message(unix.NLMSG_ERROR, nil),
		"cut off":      routeMessage(unix.AF_INET, 0, unix.RT_TABLE_MAIN, unix.RTN_UNICAST, 0, oif(3))[:30],
		"length of 4":  append(u32(4), make([]byte, 20)...),
		"large length": append(u32(1<<31), make([]byte, 20)...),
	} {
		if got, _, err := vias(in); err == nil {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestParseAddress(t *testing.T) {
	up := map[int]*net.Interface{7: {Index: 7, Name: "eth0"}, 1: {Index: 1, Name: "lo", Flags: net.FlagLoopback}}
	head := func(family, bits byte, index uint32) []byte {
		return append([]byte{family, bits, 0x80, 0}, u32(index)...)
	}
	v4 := head(unix.AF_INET, 24, 7)
	local := attr{unix.IFA_LOCAL, []byte{192, 0, 2, 1}}.bytes()
	peer := attr{unix.IFA_ADDRESS, []byte{192, 0, 2, 2}}.bytes()
	label := attr{unix.IFA_LABEL, []byte("eth0:1\x00")}.bytes()
	linkLocal := attr{unix.IFA_ADDRESS, netip.MustParseAddr("fe80::1").AsSlice()}.bytes()
	loopback := attr{unix.IFA_ADDRESS, netip.IPv6Loopback().AsSlice()}.bytes()
	eth := func(label, addr string, bits int) Address {
		return Address{Interface: "eth0", Index: 7, Label: label, Addr: netip.MustParseAddr(addr), Bits: bits}
	}
	for _, test := range []struct {
		name string
		in   netlinkMessage
		want Address
	}{
		{"IPv4", netlinkMessage{unix.RTM_NEWADDR, slices.Concat(v4, local)}, eth("eth0", "192.0.2.1", 24)},
		{"a label", netlinkMessage{unix.RTM_NEWADDR, slices.Concat(v4, local, label)}, eth("eth0:1", "192.0.2.1", 24)},
		{"a peer", netlinkMessage{unix.RTM_NEWADDR, slices.Concat(v4, peer, local)}, eth("eth0", "192.0.2.1", 24)},
		{"link-local", netlinkMessage{unix.RTM_NEWADDR, slices.Concat(head(unix.AF_INET6, 64, 7), linkLocal)}, eth("eth0", "fe80::1%eth0", 64)},
		{"loopback", netlinkMessage{unix.RTM_NEWADDR, slices.Concat(head(unix.AF_INET6, 128, 1), loopback)},
			Address{Interface: "lo", Index: 1, Label: "lo", Addr: netip.IPv6Loopback(), Bits: 128, Loopback: true}},
		{"an interface that is down", netlinkMessage{unix.RTM_NEWADDR, slices.Concat(head(unix.AF_INET, 24, 8), local)}, Address{}},
		{"a long prefix", netlinkMessage{unix.RTM_NEWADDR, slices.Concat(head(unix.AF_INET, 33, 7), local)}, Address{}},
		{"a short address", netlinkMessage{unix.RTM_NEWADDR, slices.Concat(v4, attr{unix.IFA_LOCAL, []byte{1}}.bytes())}, Address{}},
		{"cut off", netlinkMessage{unix.RTM_NEWADDR, v4[:5]}, Address{}},
		{"a route", netlinkMessage{unix.RTM_NEWROUTE, slices.Concat(v4, local)}, Address{}},
	} {
		if got, ok := parseAddress(test.in, up); got != test.want || ok != got.Addr.IsValid() {
			t.Errorf("%s: got %+v, %v", test.name, got, ok)
		}
	}
}

// TestCaptured: pieces of an answer of Linux 6.18 on a machine with one interface, number 4, of
// either family and default routes by it.
func TestCaptured(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("captured on a machine with little-endian order")
	}
	for _, text := range captured {
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := vias(b); err != nil || !slices.Equal(got, []int{4}) {
			t.Errorf("got %v, %v", got, err)
		}
	}
}

func TestRelevant(t *testing.T) {
	for _, test := range []struct {
		name string
		in   []byte
		want bool
	}{
		{"a link", message(unix.RTM_NEWLINK, make([]byte, 16)), true},
		{"an address", message(unix.RTM_NEWADDR, make([]byte, 8)), true},
		{"an address goes", message(unix.RTM_DELADDR, make([]byte, 8)), true},
		{"a default route", routeMessage(unix.AF_INET, 0, unix.RT_TABLE_MAIN, unix.RTN_UNICAST, 0, oif(3)), true},
		{"a route", routeMessage(unix.AF_INET, 24, unix.RT_TABLE_MAIN, unix.RTN_UNICAST, 0, oif(3)), false},
		{"a neighbour", message(unix.RTM_NEWNEIGH, make([]byte, 12)), false},
		{"nonsense", []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17}, true},
	} {
		if got := relevant(test.in); got != test.want {
			t.Errorf("%s: got %v", test.name, got)
		}
	}
}

func FuzzDump(f *testing.F) {
	for _, text := range captured {
		b, _ := hex.DecodeString(text)
		f.Add(b)
	}
	f.Add(routeMessage(unix.AF_INET, 0, unix.RT_TABLE_MAIN, unix.RTN_UNICAST, 0, attr{unix.RTA_MULTIPATH, slices.Concat(hop(5), hop(6))}))
	f.Add(message(unix.RTM_NEWADDR, slices.Concat([]byte{unix.AF_INET, 24, 0, 0}, u32(4), attr{unix.IFA_LOCAL, []byte{192, 0, 2, 1}}.bytes(),
		attr{unix.IFA_LABEL, []byte("eth0:1\x00")}.bytes())))
	f.Add(message(unix.NLMSG_ERROR, u32(negative(unix.EPERM))))
	f.Fuzz(func(t *testing.T, b []byte) {
		relevant(b)
		up := map[int]*net.Interface{4: {Index: 4, Name: "eth0"}}
		_, _ = parseDump(b, func(m netlinkMessage) {
			if a, ok := parseAddress(m, up); ok && (!a.Addr.IsValid() || a.Bits > a.Addr.BitLen()) {
				t.Errorf("got %+v", a)
			}
		})
		indexes, _, _ := vias(b)
		if len(indexes) > len(b)/8 {
			t.Errorf("%d interfaces of %d octets", len(indexes), len(b))
		}
	})
}
