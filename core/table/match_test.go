package table

import (
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/config"
)

func inline(t testing.TB, kind config.TableKind, keys ...string) *held {
	t.Helper()
	var entries []config.Entry
	for _, k := range keys {
		entries = append(entries, config.Entry{Key: k, Value: "value of " + k})
	}
	return newHeld(&contents{store: inlineEntries("smtpd.conf:1", entries), source: "smtpd.conf:1", kind: kind, delim: "+"}, nil)
}

func TestMatch(t *testing.T) {
	tests := []struct {
		service Service
		table   string // keys
		yes, no string // subjects; "-" stands for the empty one
	}{
		{Domain, "*.example.org", "a.example.org a.b.example.org A.EXAMPLE.ORG", "example.org aexample.org example.org.x -"},
		{Domain, "example.org", "example.org EXAMPLE.org", "a.example.org example.orgs"},
		{Domain, "*", "anything - a.b", ""},
		{Domain, "mail*.example.*", "mail.example.org mail7.x.example.a.b", "mai.example.org mail.example"},
		{Domain, "*a*b*c", "abc xaxbxc aabbcc", "acb abcd"},
		{Domain, "**.x", "a.x .x", "x"},
		{Domain, "[127.0.0.1]", "[127.0.0.1]", "127.0.0.1"},
		{NetAddr, "192.0.2.0/24", "192.0.2.0 192.0.2.255 ::ffff:192.0.2.7 [192.0.2.1]", "192.0.3.0 local - ::1 192.0.2"},
		{NetAddr, "10.0.0.0/8 10.1.0.0/16 10.1.2.3", "10.1.2.3 10.1.9.9 10.9.9.9", "11.1.2.3"},
		{NetAddr, "[::1] 2001:db8::/32 IPv6:2001:db9::1 [2001:dba::]/32", "::1 [::1] 2001:db8:1::2 2001:db9::1 2001:dba::9", "::2 2001:db9::2"},
		{NetAddr, "fe80::1%em0 fe80::2", "fe80::1%em0 fe80::2%em1 fe80::2", "fe80::1%em1 fe80::1"},
		{NetAddr, "local", "local", "127.0.0.1 ::1"},
		{NetAddr, "0.0.0.0/0", "1.2.3.4 ::ffff:1.2.3.4", "::1 local"},
		{NetAddr, "::/0", "::1 2001:db8::1", "1.2.3.4"},
		{NetAddr, "192.0.2.0/31 192.0.2.8/29 128.0.0.0/1", "192.0.2.1 192.0.2.15 192.0.3.1 255.0.0.1", "127.0.0.1 ::1"},
		{NetAddr, "2001:db8::/33 2001:db8:8000::8/125", "2001:db8:7fff::1 2001:db8:8000::f", "2001:db8:8000::10 2001:db9::"},
		{NetAddr, "::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"},
		{NetAddr, "host.example 1.2.3 1.2.3.4/33 1.2.3.4/x /8", "host.example", "1.2.3.4 0.0.0.0"},
		{MailAddr, "alice", "alice@example.org ALICE@x alice+tag@x alice", "bob@example.org"},
		{MailAddr, "alice@", "alice@example.org", "bob@x"},
		{MailAddr, "alice+tag", "alice+tag@x", "alice@x alice+other@x"},
		{MailAddr, "@example.org", "a@example.org b+c@Example.Org", "a@sub.example.org @ -"},
		{MailAddr, "alice@example.org", "alice@example.org Alice+x@EXAMPLE.org", "alice@example.net bob@example.org"},
		{MailAddr, "alice@*.example.org", "alice@a.b.example.org alice+t@a.example.org", "alice@example.org bob@a.example.org"},
		{MailAddr, "@*.example.org", "x@a.example.org", "x@example.org"},
		{MailAddr, "@*", "x@y x", "-"},
		{MailAddr, "@mail*.example.org Bob@a*", "x@mail7.example.org bob@ab bob+x@ab", "x@mail.example.net al@ab"},
		{MailAddr, "@*.b.example.org alice@c.*", "x@a.b.example.org x@y.a.b.example.org alice@c.x", "x@b.example.org"},
		{MailAddr, "@", "x@y - @", ""},
		{MailAddr, "<>", "- @", "x@y"},
		{MailAddr, "alice@example.org", "", "@ -"},
		{String, "Secret", "secret SECRET", "secre -"},
		{Regex, "^a.c$", "abc ABC", "abcd"},
		{Regex, "(?i)^ABC$", "abc", "abcd"},
		{Regex, `^\S+$`, "abc", "-"},
		{Regex, "^[[:upper:]]+$", "abc", "1"},
		{Regex, `\<cat\>`, "the.cat.sat", "concatenate"},
		{Regex, `[[:<:]]cat[[:>:]]`, "the.cat.sat", "concatenate"},
		{Regex, "^a**b++c?*d*+$ ^x{,2}$", "aabbccdd b x xx -", "xxx aa"},
		{Regex, "^a\\_\\y\\@b$ \\`q\\'", "a_y@b Q", "qq"},
		{Regex, `^[[.-.]a[=e=]]+$`, "-ae", "b ="},
		{Regex, `^\D+$`, "abc", "a1"},
		{Regex, `^a[[:punct:]]b$`, "a-b", "a1b"},
		{Regex, `^[a\]+$`, `a\a`, "b"},
		{Regex, `^[]x]+$`, "x]x", "y"},
		{Regex, `^[^]x]+$`, "abc", "x]"},
		{Regex, `^[\w.-]+$`, "a-b.c", "a@b"},
		{Regex, `^(10|11)\.[0-9]{1,3}\.`, "10.200.3.4", "12.1.1.1"},
	}
	for _, tt := range tests {
		db, _ := dbSet(t, strings.Join(strings.Fields(tt.table), "=x;")+"=x")
		for i, tab := range []Table{
			inline(t, config.ListKind, strings.Fields(tt.table)...),
			inline(t, config.MapKind, strings.Fields(tt.table)...), // its keys are the list
			db.tables["t"],
		} {
			if i == 2 && tt.service == Regex {
				continue // keys of databases are in lower case
			}
			matches(t, tab, tt.service, tt.table, tt.yes, true)
			matches(t, tab, tt.service, tt.table, tt.no, false)
		}
	}
}

func matches(t *testing.T, tab Table, service Service, keys, subjects string, want bool) {
	t.Helper()
	if err := tab.Prepare(service); err != nil {
		t.Errorf("%s %q: %v", service, keys, err)
		return
	}
	for s := range strings.FieldsSeq(subjects) {
		got, err := tab.Match(t.Context(), service, strings.TrimPrefix(s, "-"))
		if err != nil || got != want {
			t.Errorf("%s %q: Match(%q) = %v, %v, want %v", service, keys, s, got, err, want)
		}
	}
}

func TestNetSpecific(t *testing.T) {
	tab := inline(t, config.MapKind, "10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0")
	for key, want := range map[string]string{"10.1.1.1": "value of 10.1.0.0/16", "10.2.1.1": "value of 10.0.0.0/8", "9.9.9.9": "value of 0.0.0.0/0"} {
		if got, ok, err := tab.Lookup(t.Context(), NetAddr, key); got != want || !ok || err != nil {
			t.Errorf("Lookup(%s) = %q, %v, %v, want %q", key, got, ok, err, want)
		}
	}
}

func TestBadRegex(t *testing.T) {
	for _, s := range []string{"(", "[a", "a{2,1}", "*", `\`, strings.Repeat("a", maxPatternLen+1)} {
		tab := inline(t, config.ListKind, "fine", s)
		err := tab.Prepare(Regex)
		if err == nil || !strings.HasPrefix(err.Error(), "smtpd.conf:1: ") {
			t.Errorf("%q: error %v has no place", s, err)
		}
		if _, err := tab.Match(t.Context(), Regex, "x"); err == nil {
			t.Errorf("%q: matches without an error", s)
		}
	}
}

// naive is the meaning of a pattern, written down.
func naive(p, s string) bool {
	if p == "" {
		return s == ""
	}
	if p[0] != '*' {
		return s != "" && p[0] == s[0] && naive(p[1:], s[1:])
	}
	for i := 0; i <= len(s); i++ {
		if naive(p[1:], s[i:]) {
			return true
		}
	}
	return false
}

func FuzzGlob(f *testing.F) {
	f.Add("*.example.org", "a.b.example.org")
	f.Add("*a*ab", "aaab")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, p, s string) {
		if len(p) > 12 || len(s) > 16 {
			return // the model takes exponential time
		}
		want := naive(p, s)
		if got := Glob(p, s); got != want {
			t.Errorf("Glob(%q, %q) = %v", p, s, got)
		}
		if p == "" || strings.ToLower(p) != p || strings.ToLower(s) != s {
			return
		}
		if got, _ := inline(t, config.ListKind, p).Match(t.Context(), Domain, s); got != want {
			t.Errorf("domain table %q: Match(%q) = %v", p, s, got)
		}
	})
}

// Matching takes the same time for patterns that drive backtracking matchers mad.
func TestGlobManyStars(t *testing.T) {
	if Glob(strings.Repeat("*a", 500)+"b", strings.Repeat("a", 1000)) {
		t.Error("matches")
	}
}
