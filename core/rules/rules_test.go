package rules

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/table"
)

// tables answers from a fixed list; the table "broken" cannot be asked.
type tables map[string][]string

func (t tables) Match(ctx context.Context, name string, service table.Service, key string) (bool, error) {
	if name == "broken" {
		return false, errors.New("connection refused")
	}
	set, err := table.NewSet([]config.Table{t.table(name)}, table.Sources{})
	if err != nil {
		return false, err
	}
	return set.Match(ctx, name, service, key)
}

func (t tables) table(name string) config.Table {
	tab := config.Table{Name: name, Backend: "static", Kind: config.ListKind}
	for _, k := range t[name] {
		tab.Entries = append(tab.Entries, config.Entry{Key: k})
	}
	return tab
}

func (t tables) Prepare(name string, service table.Service) error {
	if t[name] == nil && name != "broken" {
		return errors.New("no table " + name)
	}
	return nil
}

var testTables = tables{
	"any": {"local", "0.0.0.0/0", "::/0"}, "all": {"*"}, "lan": {"192.0.2.0/24"}, "here": {"local", "127.0.0.1"},
	"names": {"*.example.org"}, "org": {"example.org"}, "users": {"alice", "bob@example.org"},
	"senders": {"@example.com"}, "rcpts": {"carol"}, "tags": {"in"}, "v6": {`^\[2001:`}, "re": {"^mx"},
}

func on(table string) config.Match    { return config.Match{On: true, Table: table} }
func not(table string) config.Match   { return config.Match{On: true, Not: true, Table: table} }
func regex(table string) config.Match { return config.Match{On: true, Regex: true, Table: table} }

func sessions() map[string]Session {
	sender := address.Address{Local: "s", Domain: "example.com"}
	return map[string]Session{
		"socket":   {Local: true, Sender: sender},
		"lan":      {Addr: netip.MustParseAddr("192.0.2.1"), RDNS: "mx.example.org", Helo: "mx.example.org", Tag: "IN", Sender: sender},
		"mapped":   {Addr: netip.MustParseAddr("::ffff:192.0.2.1"), Sender: sender},
		"v6":       {Addr: netip.MustParseAddr("2001:db8::1"), RDNS: "other.example.net", Sender: sender},
		"nameless": {Addr: netip.MustParseAddr("198.51.100.1"), Helo: "x"},
		"alice":    {Addr: netip.MustParseAddr("198.51.100.1"), Authenticated: true, Username: "alice", TLS: true},
		"bob":      {Addr: netip.MustParseAddr("198.51.100.1"), Authenticated: true, Username: "bob@example.org"},
		"internal": {Addr: netip.MustParseAddr("198.51.100.1"), RDNS: "mx.example.org", Internal: true},
		"zero":     {},
	}
}

func TestCriteria(t *testing.T) {
	r := func(f func(*config.Rule)) config.Rule {
		rule := config.Rule{From: on("any"), For: on("all"), Action: "a"}
		f(&rule)
		return rule
	}
	dest := address.Address{Local: "carol", Domain: "example.org"}
	tests := []struct {
		name string
		rule config.Rule
		want string // sessions that match; of those with a known source
	}{
		{"any", r(func(*config.Rule) {}), "socket lan mapped v6 nameless alice bob internal"},
		{"from local", r(func(r *config.Rule) { r.From = on("here") }), "socket internal"},
		{"!from local", r(func(r *config.Rule) { r.From = not("here") }), "lan mapped v6 nameless alice bob zero"},
		{"from src", r(func(r *config.Rule) { r.From = on("lan") }), "lan mapped"},
		{"from src regex", r(func(r *config.Rule) { r.From = regex("v6") }), "v6"},
		{"from socket", r(func(r *config.Rule) { r.FromSocket = on("") }), "socket"},
		{"!from socket", r(func(r *config.Rule) { r.FromSocket = not("") }), "lan mapped v6 nameless alice bob"},
		{"from rdns", r(func(r *config.Rule) { r.RDNS = on("") }), "socket lan v6"},
		{"!from rdns", r(func(r *config.Rule) { r.RDNS = not("") }), "mapped nameless alice bob"},
		{"from rdns table", r(func(r *config.Rule) { r.RDNS = on("names") }), "lan"},
		{"!from rdns table", r(func(r *config.Rule) { r.RDNS = not("names") }), "socket v6 internal"},
		{"from rdns regex", r(func(r *config.Rule) { r.RDNS = regex("re") }), "lan"},
		{"for domain", r(func(r *config.Rule) { r.For = on("org") }), "socket lan mapped v6 nameless alice bob internal"},
		{"!for domain", r(func(r *config.Rule) { r.For = not("org") }), ""},
		{"helo", r(func(r *config.Rule) { r.Helo = on("names") }), "lan"},
		{"auth", r(func(r *config.Rule) { r.Auth = on("") }), "socket alice bob"},
		{"!auth", r(func(r *config.Rule) { r.Auth = not("") }), "lan mapped v6 nameless internal"},
		{"auth table", r(func(r *config.Rule) { r.Auth = on("users") }), "alice bob"},
		{"!auth table", r(func(r *config.Rule) { r.Auth = not("users") }), "socket lan mapped v6 nameless internal"},
		{"tls", r(func(r *config.Rule) { r.TLS = on("") }), "alice"},
		{"!tls", r(func(r *config.Rule) { r.TLS = not("") }), "socket lan mapped v6 nameless bob internal"},
		{"mail-from", r(func(r *config.Rule) { r.MailFrom = on("senders") }), "socket lan mapped v6"},
		{"rcpt-to", r(func(r *config.Rule) { r.RcptTo = not("rcpts") }), ""},
		{"tag", r(func(r *config.Rule) { r.Tag = on("tags") }), "lan"},
	}
	for _, tt := range tests {
		rules, err := New([]config.Rule{tt.rule}, testTables, nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, s := range sessions() {
			_, err := rules.Evaluate(t.Context(), &s, dest)
			if want := slices.Contains(strings.Fields(tt.want), name); (err == nil) != want {
				t.Errorf("%s, session %s: %v, want match %v", tt.name, name, err, want)
			}
		}
	}
}

func TestReplies(t *testing.T) {
	s := &Session{Local: true, Rcpt: address.Address{Local: "first", Domain: "example.org"}}
	dest := address.Address{Local: "later", Domain: "example.net"}
	reject := config.Rule{From: on("any"), For: on("all"), Reject: true}
	accept := config.Rule{From: on("any"), For: on("all"), Action: "a"}
	broken := config.Rule{From: on("any"), For: on("broken"), Action: "b"}
	elsewhere := config.Rule{From: not("any"), For: on("broken"), Action: "c"}
	tests := []struct {
		name  string
		rules []config.Rule
		want  string
	}{
		{"none", nil, "550 Invalid recipient: <first@example.org>"},
		{"reject", []config.Rule{reject, accept}, "550 Invalid recipient: <first@example.org>"},
		{"broken", []config.Rule{broken, accept}, "451 Temporary failure: <first@example.org>"},
		{"not asked", []config.Rule{elsewhere, accept, broken}, "a"},
		{"first wins", []config.Rule{accept, reject, broken}, "a"},
	}
	for _, tt := range tests {
		r, err := New(tt.rules, testTables, nil)
		if err != nil {
			t.Fatal(err)
		}
		rule, err := r.Evaluate(t.Context(), s, dest)
		got := ""
		var reply *gosmtp.SMTPError
		switch {
		case errors.As(err, &reply):
			got = fmt.Sprintf("%d %s", reply.Code, reply.Message)
			if reply.EnhancedCode[0] != reply.Code/100 {
				t.Errorf("%s: enhanced code %v with %d", tt.name, reply.EnhancedCode, reply.Code)
			}
		case rule != nil:
			got = rule.Action
		}
		if got != tt.want {
			t.Errorf("%s: %q (%v), want %q", tt.name, got, err, tt.want)
		}
	}
}

func TestNewErrors(t *testing.T) {
	rule := config.Rule{Pos: config.Pos{File: "smtpd.conf", Line: 9}, From: on("any"), For: on("nosuch")}
	if _, err := New([]config.Rule{rule}, testTables, nil); err == nil || err.Error() != "smtpd.conf:9: no table nosuch" {
		t.Errorf("error %v", err)
	}
}
