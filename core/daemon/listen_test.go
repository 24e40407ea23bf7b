package daemon

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/godwit-mta/godwit/core/config"
)

func TestPlan(t *testing.T) {
	host := newFakeHost("lo=127.0.0.1", "lo=::1", "eth0=192.0.2.1", "eth0=fe80::1%eth0", "eth0=2001:db8::1")
	host.name("localhost", "127.0.0.1", "::1")
	host.name("mx.test", "::ffff:192.0.2.1", "192.0.2.9", "192.0.2.1")
	for _, test := range []struct {
		name   string
		lines  []config.Listener
		want   []string // number of the line, address
		missed []string
	}{
		{"an interface", []config.Listener{{Interface: "eth0"}},
			[]string{"1 192.0.2.1:25", "1 [fe80::1%eth0]:25", "1 [2001:db8::1]:25"}, nil},
		{"one family", []config.Listener{{Interface: "eth0", Family: "inet4"}, {Interface: "lo", Family: "inet6"}},
			[]string{"1 192.0.2.1:25", "2 [::1]:25"}, nil},
		{"the first line counts", []config.Listener{{Interface: "lo"}, {Interface: "all"}},
			[]string{"1 127.0.0.1:25", "1 [::1]:25", "2 192.0.2.1:25", "2 [fe80::1%eth0]:25", "2 [2001:db8::1]:25"}, nil},
		{"no address left", []config.Listener{{Interface: "127.0.0.1"}, {Interface: "127.0.0.1"}},
			[]string{"1 127.0.0.1:25"}, []string{"f:2: listen on 127.0.0.1: lines above have all its addresses with port 25 already"}},
		{"other ports", []config.Listener{{Interface: "127.0.0.1"}, {Interface: "127.0.0.1", Port: 587}},
			[]string{"1 127.0.0.1:25", "2 127.0.0.1:587"}, nil},
		{"every address", []config.Listener{{Interface: "0.0.0.0"}, {Interface: "::"}},
			[]string{"1 0.0.0.0:25", "2 [::]:25"}, nil},
		{"a mapped address", []config.Listener{{Interface: "::ffff:192.0.2.1"}}, []string{"1 192.0.2.1:25"}, nil},
		{"a host name", []config.Listener{{Interface: "localhost"}}, []string{"1 127.0.0.1:25", "1 [::1]:25"}, nil},
		{"a host name with an address twice", []config.Listener{{Interface: "mx.test"}},
			[]string{"1 192.0.2.1:25", "1 192.0.2.9:25"}, nil},
		{"nothing of that name", []config.Listener{{Interface: "eth9"}}, nil,
			[]string{"f:1: listen on eth9: no such interface, group or host name"}},
		{"an interface without addresses", []config.Listener{{Interface: "empty0"}}, nil,
			[]string{"f:1: listen on empty0: no address"}},
		{"no address of the family", []config.Listener{{Interface: "127.0.0.1", Family: "inet6"}}, nil,
			[]string{"f:1: listen on 127.0.0.1: no address of family inet6"}},
	} {
		cfg := &config.Config{Listeners: test.lines}
		for i := range test.lines {
			test.lines[i].Pos = config.Pos{File: "f", Line: i + 1}
			if test.lines[i].Port == 0 {
				test.lines[i].Port = 25
			}
		}
		plan, err := newResolver(host.network()).plan(cfg, false)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, w := range plan.want {
			got = append(got, fmt.Sprint(w.Pos.Line, " ", w.Addr))
		}
		if missed := slices.Concat(plan.missing, plan.shadowed); !slices.Equal(got, test.want) || !slices.Equal(missed, test.missed) {
			t.Errorf("%s: got %q and %q, want %q and %q", test.name, got, missed, test.want, test.missed)
		}
		all := len(plan.interfaces)
		plan.interfaces = slices.DeleteFunc(plan.interfaces, netip.Addr.IsUnspecified)
		if listens := slices.ContainsFunc(plan.want, func(b boundListener) bool { return b.Addr.Addr().IsUnspecified() }); len(plan.interfaces) != 5 || listens != (all > 5) {
			t.Errorf("%s: interfaces %v", test.name, plan.interfaces)
		}
	}
}

// TestPlanNames: addresses of a host name are kept while it has no answer, and asked for
// only once in a while.
func TestPlanNames(t *testing.T) {
	host := newFakeHost()
	r := newResolver(host.network())
	cfg := &config.Config{Listeners: []config.Listener{{Interface: "mx.test", Port: 25}, {Interface: "mx.test", Port: 587}}}
	for _, step := range []struct {
		addrs []string
		fresh bool
		want  string
		asked int
	}{
		{nil, true, "[]", 1},
		{nil, false, "[]", 2}, // what is missing is asked for each time
		{[]string{"192.0.2.1"}, false, "[192.0.2.1:25 192.0.2.1:587]", 3},
		{[]string{"192.0.2.2"}, false, "[192.0.2.1:25 192.0.2.1:587]", 3},
		{[]string{"192.0.2.2"}, true, "[192.0.2.2:25 192.0.2.2:587]", 4},
		{nil, true, "[192.0.2.2:25 192.0.2.2:587]", 5},
	} {
		host.name("mx.test", step.addrs...)
		plan, err := r.plan(cfg, step.fresh)
		if err != nil {
			t.Fatal(err)
		}
		var got []netip.AddrPort
		for _, w := range plan.want {
			got = append(got, w.Addr)
		}
		if fmt.Sprint(got) != step.want || host.asked["mx.test"] != step.asked || !plan.named {
			t.Errorf("%+v: got %v, asked %d times", step, got, host.asked["mx.test"])
		}
	}
}
