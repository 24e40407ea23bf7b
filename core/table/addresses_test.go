package table

import (
	"context"
	"net/netip"
	"testing"

	"github.com/godwit-mta/godwit/core/config"
)

// TestSetAddresses: <localhost> and <localnames> hold the addresses of the host as they are
// now, in all the ways in which a client's address or a recipient's domain can be written.
func TestSetAddresses(t *testing.T) {
	set, err := NewSet(nil, Sources{Facts: Facts{Hostname: "mx.example.org", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		table         string
		service       Service
		key           string
		before, after bool
	}{
		{config.LocalHost, NetAddr, "local", true, true},
		{config.LocalHost, NetAddr, "192.0.2.1", true, false},
		{config.LocalHost, NetAddr, "::ffff:192.0.2.1", true, false},
		{config.LocalHost, NetAddr, "192.0.2.2", false, true},
		{config.LocalHost, NetAddr, "::ffff:192.0.2.2", false, true},
		{config.LocalHost, NetAddr, "2001:db8::2", false, true},
		{config.LocalHost, NetAddr, "2001:db8:0::0:2", false, true},
		{config.LocalHost, NetAddr, "fe80::1%em0", false, true},
		{config.LocalHost, NetAddr, "fe80::1%em1", false, false}, // another host's, on another link
		{config.LocalHost, NetAddr, "fe80::1", false, false},
		{config.LocalHost, NetAddr, "127.0.0.1", false, false},
		{config.LocalHost, NetAddr, "", false, false},
		{config.LocalNames, Domain, "localhost", true, true},
		{config.LocalNames, Domain, "MX.example.org", true, true},
		{config.LocalNames, Domain, "192.0.2.1", true, false},
		{config.LocalNames, Domain, "[192.0.2.1]", true, false},
		{config.LocalNames, Domain, "[192.0.2.2]", false, true},
		{config.LocalNames, Domain, "[2001:db8::2]", false, true},
		{config.LocalNames, Domain, "example.org", false, false},
		{config.AnyHost, NetAddr, "192.0.2.1", true, true},
	}
	check := func(when string, want func(i int) bool) {
		t.Helper()
		for i, test := range tests {
			got, err := set.Match(context.Background(), test.table, test.service, test.key)
			if err != nil || got != want(i) {
				t.Errorf("%s: %s %q: got %v, %v", when, test.table, test.key, got, err)
			}
		}
	}
	check("before", func(i int) bool { return tests[i].before })
	var addrs []netip.Addr
	for _, a := range []string{"::ffff:192.0.2.2", "2001:db8::2", "fe80::1%em0"} {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	if err := set.SetAddresses(addrs); err != nil {
		t.Fatal(err)
	}
	check("after", func(i int) bool { return tests[i].after })
}
