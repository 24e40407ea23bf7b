package filter

import (
	"context"
	"errors"
	"net/netip"
	"testing"
)

// asked is a Tables that has one key, and notes what it is asked for.
type asked struct{ has, what string }

func (a *asked) Match(_ context.Context, table, service, key string) (bool, error) {
	a.what = table + " " + service + " " + key
	if table == "broken" {
		return false, errors.New("broken")
	}
	return key == a.has, nil
}

func TestBuiltin(t *testing.T) {
	v4 := Session{Host: "a.example", FCrDNS: Pass, Source: netip.MustParseAddrPort("192.0.2.1:1"), Helo: "helo.example", Sender: "s@example.org"}
	v6 := v4
	v6.Source, v6.Host, v6.FCrDNS = netip.MustParseAddrPort("[2001:db8::1]:1"), "", Fail
	mapped := v4
	mapped.Source = netip.MustParseAddrPort("[::ffff:192.0.2.1]:1")
	failing := v6
	failing.FCrDNS = Failing
	ann := v4
	ann.User, ann.Auth = "ann", true
	at := v4
	at.User, at.Auth = "ann@example.org", true
	local := Session{Local: true, Auth: true, Host: "localhost"}
	for _, c := range []struct {
		name      string
		s         *Session
		phase     Phase
		condition Condition
		table     string // in front of it ~ for a regular expression
		arg, has  string
		met       bool
		asked     string
	}{
		{"fcrdns", &v4, Connect, OnFCrDNS, "", "", "", true, ""},
		{"no fcrdns", &v6, Connect, OnFCrDNS, "", "", "", false, ""},
		{"rdns", &v4, Connect, OnRDNS, "", "", "", true, ""},
		{"no rdns", &v6, Connect, OnRDNS, "", "", "", false, ""},
		{"rdns in a table", &v4, Connect, OnRDNS, "t", "", "a.example", true, "t domain a.example"},
		{"rdns not in a table", &v4, Connect, OnRDNS, "t", "", "b.example", false, "t domain a.example"},
		{"no rdns, a table", &v6, Connect, OnRDNS, "t", "", "", false, ""},
		{"rdns, expression", &v4, Connect, OnRDNS, "~t", "", "a.example", true, "t regex a.example"},
		{"src", &v4, Connect, OnSource, "t", "", "192.0.2.1", true, "t netaddr 192.0.2.1"},
		{"src of IPv6", &v6, Connect, OnSource, "t", "", "", false, "t netaddr 2001:db8::1"},
		{"src of IPv6, expression", &v6, Connect, OnSource, "~t", "", "", false, "t regex [2001:db8::1]"},
		{"src, mapped", &mapped, Connect, OnSource, "~t", "", "", false, "t regex 192.0.2.1"},
		{"src, local", &local, Connect, OnSource, "t", "", "local", true, "t netaddr local"},
		{"helo at ehlo", &v4, Ehlo, OnHelo, "t", "new.example", "new.example", true, "t domain new.example"},
		{"helo at helo", &v4, Helo, OnHelo, "t", "new.example", "", false, "t domain new.example"},
		{"helo later", &v4, MailFrom, OnHelo, "t", "x", "helo.example", true, "t domain helo.example"},
		{"no auth", &v4, MailFrom, OnAuth, "", "", "", false, ""},
		{"auth", &ann, MailFrom, OnAuth, "", "", "", true, ""},
		{"auth, local", &local, MailFrom, OnAuth, "", "", "", true, ""},
		{"auth in a table", &ann, MailFrom, OnAuth, "t", "", "ann", true, "t string ann"},
		{"auth with a domain", &at, MailFrom, OnAuth, "t", "", "", false, "t mailaddr ann@example.org"},
		{"auth, local, a table", &local, MailFrom, OnAuth, "t", "", "", false, ""},
		{"auth, expression", &at, MailFrom, OnAuth, "~t", "", "", false, "t regex ann@example.org"},
		{"mail-from at once", &v4, MailFrom, OnMailFrom, "t", "new@example.org", "new@example.org", true, "t mailaddr new@example.org"},
		{"mail-from later", &v4, RcptTo, OnMailFrom, "t", "x", "s@example.org", true, "t mailaddr s@example.org"},
		{"null sender, expression", &v4, MailFrom, OnMailFrom, "~t", "", "", true, "t regex "},
		{"rcpt-to", &v4, RcptTo, OnRcptTo, "t", "r@example.org", "r@example.org", true, "t mailaddr r@example.org"},
	} {
		for _, not := range []bool{false, true} {
			tables := &asked{has: c.has}
			b := Builtin{Phase: c.phase, Condition: c.condition, Not: not, Table: c.table, Tables: tables, Decision: Decision{Verdict: Junk}}
			if c.table != "" && c.table[0] == '~' {
				b.Table, b.Regex = c.table[1:], true
			}
			d, err := b.Decide(t.Context(), c.s, c.phase, c.arg)
			if err != nil || (d.Verdict == Junk) != (c.met != not) || tables.what != c.asked || b.Phases() != Phases(0).With(c.phase) {
				t.Errorf("%s, not %t: %v, %v, asked %q", c.name, not, d, err, tables.what)
			}
		}
	}
	for _, c := range []struct {
		d, want Decision
	}{
		{Decision{Reject, "550 no name"}, Decision{Reject, "451 4.4.3 Temporary failure looking up the name of your address"}},
		{Decision{Disconnect, "550 no name"}, Decision{Disconnect, "451 4.4.3 Temporary failure looking up the name of your address"}},
		{Decision{Verdict: Junk}, Decision{}},
		{Decision{Verdict: Bypass}, Decision{}},
	} {
		b := Builtin{Phase: Connect, Condition: OnFCrDNS, Not: true, Decision: c.d}
		if got, err := b.Decide(t.Context(), &failing, Connect, ""); got != c.want || err != nil {
			t.Errorf("look-up failed, %v: got %v, %v", c.d, got, err)
		}
	}
	b := Builtin{Phase: Connect, Condition: OnSource, Table: "broken", Tables: &asked{}, Decision: Decision{Verdict: Junk}, Not: true}
	if d, err := b.Decide(t.Context(), &v4, Connect, ""); err == nil || d != (Decision{}) {
		t.Error("a table that cannot be asked decides", d)
	}
}

func TestParseCondition(t *testing.T) {
	for i, word := range []string{"fcrdns", "rdns", "src", "helo", "auth", "mail-from", "rcpt-to"} {
		if c, ok := ParseCondition(word); !ok || c != Condition(i) {
			t.Errorf("%s: %v, %t", word, c, ok)
		}
	}
	if _, ok := ParseCondition("tls"); ok {
		t.Error("tls is a condition")
	}
}
