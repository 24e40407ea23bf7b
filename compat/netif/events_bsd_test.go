//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package netif

import (
	"testing"

	"golang.org/x/net/route"
	"golang.org/x/sys/unix"
)

func TestIsDefault(t *testing.T) {
	zero4, zero6 := &route.Inet4Addr{}, &route.Inet6Addr{}
	link := &route.LinkAddr{Index: 1}
	for _, test := range []struct {
		name      string
		flags     int
		dst, mask route.Addr
		want      bool
	}{
		{"default", unix.RTF_UP | unix.RTF_GATEWAY, zero4, zero4, true},
		{"default without a mask", unix.RTF_UP | unix.RTF_GATEWAY, zero4, nil, true},
		{"default by an interface", unix.RTF_UP, zero4, zero4, true},
		{"IPv6", unix.RTF_UP | unix.RTF_GATEWAY, zero6, zero6, true},
		{"::/96", unix.RTF_UP, zero6, &route.Inet6Addr{IP: [16]byte{0: 0xff, 11: 0xff}}, false},
		{"refused", unix.RTF_UP | unix.RTF_REJECT, zero6, zero6, false},
		{"dropped", unix.RTF_UP | unix.RTF_BLACKHOLE, zero4, zero4, false},
		{"a host", unix.RTF_UP | unix.RTF_HOST, zero4, nil, false},
		{"a network", unix.RTF_UP, &route.Inet4Addr{IP: [4]byte{10}}, &route.Inet4Addr{IP: [4]byte{255}}, false},
		{"half of everything", unix.RTF_UP, zero4, &route.Inet4Addr{IP: [4]byte{128}}, false},
		{"a link", unix.RTF_UP, link, nil, false},
		{"nothing", unix.RTF_UP, nil, nil, false},
	} {
		r := &route.RouteMessage{Flags: test.flags, Addrs: make([]route.Addr, unix.RTAX_MAX)}
		r.Addrs[unix.RTAX_DST], r.Addrs[unix.RTAX_NETMASK] = test.dst, test.mask
		if got := isDefault(r); got != test.want {
			t.Errorf("%s: got %v", test.name, got)
		}
	}
	if isDefault(&route.RouteMessage{}) {
		t.Error("a route without addresses leads everywhere")
	}
}

func TestRelevant(t *testing.T) {
	for kind, want := range map[byte]bool{unix.RTM_NEWADDR: true, unix.RTM_DELADDR: true, unix.RTM_IFINFO: true,
		unix.RTM_MISS: false, unix.RTM_GET: false} {
		if got := relevant([]byte{4, 0, unix.RTM_VERSION, kind}); got != want {
			t.Errorf("message %d: got %v", kind, got)
		}
	}
	if relevant(nil) {
		t.Error("nothing is relevant")
	}
}
