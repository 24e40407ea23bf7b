package rules

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/table"
)

// decide gives the names of the sessions that a file takes a recipient from.
func decide(t *testing.T, text string, sessions map[string]Session, dest address.Address) []string {
	t.Helper()
	cfg, _, err := config.Parse("smtpd.conf", []byte(text), nil, nil, config.Environment{Hostname: "mail.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	set, err := table.NewSet(cfg.Tables, table.Sources{Facts: table.Facts{
		Hostname: "mail.example.org", Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, SubAddrDelim: "+",
	}})
	if err != nil {
		t.Fatal(err)
	}
	rules, err := New(cfg.Rules, set, nil)
	if err != nil {
		t.Fatal(err)
	}
	var taken []string
	for name, s := range sessions {
		if _, err := rules.Evaluate(context.Background(), &s, dest); err == nil {
			taken = append(taken, name)
		}
	}
	slices.Sort(taken)
	return taken
}

// TestOldSources: whom an old rule covers. Before 5.3 who authenticated, and what expansion
// made, was covered by all; from then on both counted as local.
func TestOldSources(t *testing.T) {
	lan, far := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")
	all := map[string]Session{
		"socket": {Local: true}, "loopback": {Addr: netip.MustParseAddr("127.0.0.1")},
		"lan": {Addr: lan}, "lan-auth": {Addr: lan, Authenticated: true, Username: "joe"},
		"far": {Addr: far}, "far-auth": {Addr: far, Authenticated: true, Username: "joe"},
		"lan-internal": {Addr: lan, Internal: true}, "far-internal": {Addr: far, Internal: true},
	}
	const (
		maps   = "hostname mail.example.org\nlisten on lo0 smtps certificate x auth\n"
		tables = "pki mail.example.org certificate c key k\nlisten on lo0 smtps auth\ntable lan { 192.0.2.0/24 }\ntable both { 192.0.2.0/24, local }\n"
	)
	local := "far-auth far-internal lan-auth lan-internal loopback socket"
	everybody := "far far-auth far-internal lan lan-auth lan-internal loopback socket"
	for _, tt := range []struct{ text, want string }{
		{maps + "accept from local for any relay", local},
		{maps + "accept for any relay", local},
		{maps + "accept from any for any relay", everybody},
		{maps + `accept from "192.0.2.0/24" for any relay`, "far-auth far-internal lan lan-auth lan-internal"},
		{maps + `accept from ( "192.0.2.1", "198.51.100.1" ) for any relay`, "far far-auth far-internal lan lan-auth lan-internal"},
		{tables + "accept from local for any relay", local},
		{tables + "accept from any for any relay", everybody},
		{tables + "accept from ! local for any relay", "far lan"},
		{tables + "accept from source <lan> for any relay", "lan"},
		{tables + "accept from source <both> for any relay", "far-auth far-internal lan lan-auth lan-internal socket"},
		{tables + "accept from ! source <lan> for any relay", "far far-auth far-internal lan-auth lan-internal loopback socket"},
		{tables + "accept from ! source <both> for any relay", "far loopback"},
		{tables + "accept from local authenticated for any relay", "far-auth lan-auth socket"},
		{tables + "accept from source <lan> authenticated for any relay", ""},
		{tables + "accept ! authenticated from any for any relay", "far far-internal lan lan-internal loopback"},
	} {
		if got := strings.Join(decide(t, tt.text, all, address.Address{Local: "x", Domain: "example.com"}), " "); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.text, got, tt.want)
		}
	}
}

// TestOldDestinations: which recipients old rules take, of local mail.
func TestOldDestinations(t *testing.T) {
	session := map[string]Session{"yes": {Local: true, Tag: "lo0", Sender: address.Address{Local: "s", Domain: "example.org"}}}
	for _, tt := range []struct {
		text, dest string
		want       bool
	}{
		{"accept for domain \"*.example.org\" relay", "a@b.example.org", true},
		{"accept for domain \"*.example.org\" relay", "a@example.org", false},
		{"accept for local deliver to mbox", "a@localhost", true},
		{"accept for local deliver to mbox", "a@mail.example.org", true},
		{"accept deliver to mbox", "a@mail.example.org", true},
		{"accept deliver to mbox", "a@example.com", false},
		{"accept for ! local relay", "a@example.com", true},
		{"accept for ! local relay", "a@localhost", false},
		{"accept for domain { example.org } recipient ! a@example.org relay", "a@example.org", false},
		{"accept for domain { example.org } recipient ! a@example.org relay", "b@example.org", true},
		{"accept for any sender ! \"@example.org\" relay", "a@b", false},
		{"accept for any sender \"@example.org\" relay", "a@b", true},
		{"accept for domain example.org virtual { a@example.org } relay\naccept for any relay", "a@example.org", true},
		{"accept for domain example.org virtual { a@example.org } relay\naccept for any relay", "b@example.org", false},
		{"reject for domain example.org\naccept for any relay", "b@example.org", false},
		{"accept tagged lo0 for any relay", "a@b", true},
		{"accept tagged ! lo0 for any relay", "a@b", false},
		{"hostname other.example.org\naccept for local deliver to mbox", "a@localhost", true},
		{"hostname other.example.org\naccept for local deliver to mbox", "a@mail.example.org", true},
		{"hostname other.example.org\naccept for local deliver to mbox", "a@other.example.org", false},
		{"size 1M\naccept on lo0 for all relay", "a@b", true},
		{"size 1M\naccept for { domain a.example, domain b.example } relay", "x@b.example", true},
		{"size 1M\naccept for { domain a.example, domain b.example } relay", "x@c.example", false},
		{"size 1M\naccept for domain { a.example => x, b.example => y } relay", "x@b.example", true},
	} {
		dest, _ := address.Parse(tt.dest)
		if got := decide(t, tt.text, session, dest); (len(got) > 0) != tt.want {
			t.Errorf("%s: %s taken %v", tt.text, tt.dest, got)
		}
	}
}
