package mta

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/envelope"
)

// TestWhereTheDNSLeads: mail exchangers that are this host under another address, or no host
// at all, and more of them than anybody needs.
func TestWhereTheDNSLeads(t *testing.T) {
	us := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1"), addr2}
	all := append([]netip.Addr{netip.IPv4Unspecified()}, us...)
	const loops, none = "loops back to this host", "No MX found for destination"
	tests := []struct {
		addrs string
		local []netip.Addr
		text  string // "": delivered
	}{
		{"127.0.0.1", us, loops},
		{"::1", us, loops},
		{"::ffff:127.0.0.1", us, loops},
		{"0.0.0.0", us, loops},
		{"::", us, loops},
		{"::ffff:0.0.0.0", us, loops},
		{"192.0.2.2", us, loops},
		{"::ffff:192.0.2.2", us, loops},
		{"127.0.0.2", all, loops},
		{"127.255.255.254", all, loops},
		{"::ffff:127.9.9.9", all, loops},
		{"127.0.0.2", us, ""}, // another server of this host, if there is one
		{"224.0.0.1", us, none},
		{"ff02::1", us, none},
		{"255.255.255.255", us, none},
		{"240.0.0.1", us, none},
		{"0.1.2.3", us, none},
		{"192.0.2.1 224.0.0.1 255.255.255.255", us, ""},
		{"192.0.2.1 192.0.2.2", us, loops}, // RFC 5321 section 5.1: not better than us
	}
	for i, tt := range tests {
		b := newBench(t, func(c *Config) { c.LocalAddrs = func() []netip.Addr { return tt.local } })
		s := &sink{}
		b.net.to[addr1] = s.start(t, nil)
		b.net.to[netip.MustParseAddr("127.0.0.2")] = b.net.to[addr1]
		h := MXHost{Name: "mx.example", Preference: 10}
		for a := range strings.FieldsSeq(tt.addrs) {
			h.Addrs = append(h.Addrs, netip.MustParseAddr(a))
		}
		b.resolver.mx["example.com"] = []MXHost{h}
		r := b.one(defaultRelay, "x\n", "u@example.com")
		want := envelope.Delivered
		switch tt.text {
		case loops:
			want = envelope.Loop
		case none:
			want = envelope.TempFail
		}
		if r.Status != want || !strings.Contains(r.Text, tt.text) || want != envelope.Delivered && len(b.net.dials) > 0 {
			t.Errorf("%d: %s: %+v, connected to %v", i, tt.addrs, r, b.net.dials)
		}
	}
}

// TestManyServers: of a huge set so many are tried as the bound allows.
func TestManyServers(t *testing.T) {
	b := newBench(t, nil)
	for i := range 1000 {
		h := MXHost{Name: fmt.Sprintf("mx%d.example", i), Preference: uint16(i)}
		for j := range 10 {
			h.Addrs = append(h.Addrs, netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), byte(j + 1)}))
		}
		b.resolver.mx["example.com"] = append(b.resolver.mx["example.com"], h)
	}
	if r := b.one(defaultRelay, "x\n", "u@example.com"); r.Status != envelope.TempFail || len(b.net.dials) > maxTargets {
		t.Errorf("%+v after %d connections", r, len(b.net.dials))
	}
}
