package table

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/config"
)

func TestParseFile(t *testing.T) {
	const list, mapping = config.ListKind, config.MapKind
	long := strings.Repeat("k", MaxKey)
	tests := []struct {
		data string
		kind config.TableKind
		want string // key=value;...
	}{
		{"", mapping, ""},
		{"# only a comment\n\n \t\n", mapping, ""},
		{"a\nb\n", list, "a=;b="},
		{"  a  \r\n\tb\t\r\n", list, "a=;b="},
		{"a: b\nc d\n e\tf g , h\n", mapping, "a=b;c=d;e=f g , h"},
		{"a : b\na :include:/x\na\t: b\n", mapping, "a=b;a=:include:/x;a=b"},
		{"a: b # no comment\n", mapping, "a=b # no comment"},
		{"a: #secret\nb #1: x\n", mapping, "a=#secret;b=#1: x"},
		{"a # a comment\nb # c\nc#d\ne #f\n", list, "a=;b=;c#d=;e #f="},
		{"# @list\na b # a comment\n[ #] #\n", list, "a b=;[ #]="},
		{"a: b,\n  c,\n\td\ne: f\n", mapping, "a=b, c, d;e=f"},
		{"a: b,\r\n # comment\r\n# another\r\n  c\r\ne: f", mapping, "a=b, c;e=f"},
		{"a:\n  b,\n  c\ne: f,\ng: h\n", mapping, "a=b, c;e=f,;g=h"},
		{"a: b, # x, y\n  c, #z\ne: f\n", mapping, "a=b, c, #z;e=f"},
		{"a: # x\nb # y\nc: #\n", mapping, "a=# x;b=# y;c=#"},
		{"a: # x\n  b, # y\n# z\n  c # d\n", mapping, "a=b, c # d"},
		{"a:\tb #x,\n c: d\n", mapping, "a=b #x, c: d"},
		{"a: b,\n\n  c: d\n", mapping, "a=b,;c=d"},
		{"a: b\n  c: d\n", mapping, "a=b;c=d"},
		{"a: b, \\\nc\n e: f\n", mapping, "a=b, c;e=f"},
		{"a: b\\\n   c \\\n# d\n", mapping, "a=b c # d"},
		{"a: \\\n b\n", mapping, "a=b"},
		{"a: b\\\\\nc: d\\\n", mapping, "a=b\\\\;c=d"},
		{"^a\\\nb\n", list, "^a\\=;b="},
		{"\"john doe\"@example.org: x\n\"a: b\n", mapping, "\"john doe\"@example.org=x;\"a=b"},
		{"# @list\na: b\nc d\n", list, "a: b=;c d="},
		{"#@list\n::1\n", list, "::1="},
		{"x\n# @list\na\n", list, "x=;a="},
		{"[::1]\n[2001:db8::]/32\n", list, "[::1]=;[2001:db8::]/32="},
		{"[::1] host\n[2001:db8::]/32: net\n", mapping, "[::1]=host;[2001:db8::]/32=net"},
		{"smtps://mx1\ntls://l@mx2:587\n", list, "smtps://mx1=;tls://l@mx2:587="},
		{"a smtp://b:25\nc: smtp://d\n", mapping, "a=smtp://b:25;c=smtp://d"},
		{"smtp://b:25 a\n", mapping, "smtp://b:25=a"},
		{"u:$2b$10$abc:def\n", mapping, "u=$2b$10$abc:def"},
		{"a b", mapping, "a=b"},
		{long + "\n", list, long + "="},
	}
	for _, tt := range tests {
		c, err := newText("/etc/t", tt.data, "+")
		if err != nil {
			t.Errorf("%q: %v", tt.data, err)
			continue
		}
		if got := entries(t, c); c.kind != tt.kind || got != tt.want {
			t.Errorf("%q: kind %d, %q, want kind %d, %q", tt.data, c.kind, got, tt.kind, tt.want)
		}
	}
}

// entries gives the entries of contents, key=value;...
func entries(t testing.TB, c *contents) string {
	t.Helper()
	var got []string
	err := c.each(func(_ uint32, key, value string) error {
		got = append(got, key+"="+value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(got, ";")
}

func TestParseFileErrors(t *testing.T) {
	tests := []struct{ data, want string }{
		{"a: b\nc\n", "/etc/t:2: invalid map entry"},
		{"a: b\nc:\n", "/etc/t:2: invalid map entry"},
		{"\n\na:\n", "/etc/t:3: invalid map entry"},
		{"a:\nb: c\n", "/etc/t:1: invalid map entry"},
		{"a:\n # b\n", "/etc/t:1: invalid map entry"},
		{"a: b,\n c\x01\n", "/etc/t:1: control character in line"},
		{":x\n", "/etc/t:1: invalid entry without a key"},
		{"a: b,\n" + strings.Repeat(" c,\n", MaxLine/4), "/etc/t:1: entry longer than 65536 octets"},
		{"a\nb\x00c\n", "/etc/t:2: control character in line"},
		{strings.Repeat("k", MaxKey+1), "/etc/t:1: key longer than 1023 octets"},
		{"a\n" + strings.Repeat("k", MaxLine+1), "/etc/t:2: line longer than 65536 octets"},
	}
	for _, tt := range tests {
		_, err := newText("/etc/t", tt.data, "+")
		if err == nil || err.Error() != tt.want {
			t.Errorf("%.20q: %v, want %s", tt.data, err, tt.want)
		}
	}
}

func FuzzFile(f *testing.F) {
	for _, s := range []string{"a: b\n", "# @list\na b\n", "[::1] x\n", "a :include:/x\n", "[\n", ":\n", "a : b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data string) {
		c, err := newText("f", data, "+")
		if err != nil {
			return
		}
		tab := newHeld(c, nil)
		for service := range Auth {
			if tab.Prepare(service) != nil {
				continue
			}
			err := c.each(func(ref uint32, key, value string) error {
				if key == "" || len(key) > MaxKey || len(value) > MaxLine+1 || strings.ContainsAny(key+value, "\n\x00") ||
					(c.kind == config.ListKind) != (value == "") {
					t.Errorf("%q: entry %q = %q in kind %d", data, key, value, c.kind)
				}
				if !strings.HasPrefix(c.where(ref), "f:") {
					t.Errorf("%q: entry at %s", data, c.where(ref))
				}
				_, err := tab.Match(t.Context(), service, key)
				return err
			})
			if err != nil {
				t.Errorf("%q: %s: %v", data, service, err)
			}
		}
	})
}

// put writes a file.
func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// fileSet has the table t, which is read from the file path.
func fileSet(t testing.TB, backend, text string, service Service) (set *Set, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "t")
	put(t, path, text)
	set, err := NewSet([]config.Table{{Name: "t", Backend: backend, Path: path}}, Sources{})
	if err == nil {
		err = set.Prepare("t", service)
	}
	if err != nil {
		t.Fatal(err)
	}
	return set, path
}

func TestReload(t *testing.T) {
	set, path := fileSet(t, "file", "alice: bob\n", Alias)
	lookup := func(want string) {
		t.Helper()
		if got, _, err := set.Lookup(t.Context(), "t", Alias, "ALICE"); got != want || err != nil {
			t.Errorf("alice is %q, %v, want %q", got, err, want)
		}
	}
	lookup("bob")
	for _, bad := range []string{"alice: carol\nbroken\n", "alice\n"} {
		put(t, path, bad)
		if set.Reload(t.Context(), "t") == nil {
			t.Errorf("%q was taken", bad)
		}
		lookup("bob")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := set.Reload(t.Context(), "t"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	lookup("bob")
	put(t, path, "alice: carol\n")
	if err := set.Reload(t.Context(), "t"); err != nil {
		t.Errorf("good file refused: %v", err)
	}
	lookup("carol")
	if set.Reload(t.Context(), "nosuch") == nil {
		t.Error("unknown table reloaded")
	}
}

func TestReloadKeepsRegex(t *testing.T) {
	set, path := fileSet(t, "file", "^a\n", Regex)
	put(t, path, "^b\n(\n")
	if err := set.Reload(t.Context(), "t"); err == nil || !strings.HasPrefix(err.Error(), path+":2: ") {
		t.Errorf("error %v does not name the line", err)
	}
	if ok, err := set.Match(t.Context(), "t", Regex, "abc"); !ok || err != nil {
		t.Errorf("the old pattern is gone: %v, %v", ok, err)
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := ReadFile(path, 5); string(data) != "12345" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	for name, most := range map[string]int64{path: 4, dir: 100, filepath.Join(dir, "none"): 100} {
		if _, err := ReadFile(name, most); err == nil {
			t.Errorf("ReadFile(%s, %d) without an error", name, most)
		}
	}
}

func TestNewSet(t *testing.T) {
	pos := config.Pos{File: "smtpd.conf", Line: 7}
	facts := Facts{Hostname: "mx.example.org", SubAddrDelim: "+",
		Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fe80::1%em0"), netip.MustParseAddr("::1")}}
	set, err := NewSet([]config.Table{
		{Pos: pos, Name: "m", Backend: "static", Kind: config.MapKind, Entries: []config.Entry{{Key: "K", Value: "1"}, {Key: "k", Value: "2"}}},
		{Pos: pos, Name: "l", Backend: "static", Kind: config.ListKind, Entries: []config.Entry{{Key: "A"}, {Key: "b"}}},
	}, Sources{Facts: facts})
	if err != nil {
		t.Fatal(err)
	}
	if v, ok, err := set.Lookup(t.Context(), "m", Alias, "k"); v != "2" || !ok || err != nil {
		t.Errorf("the last of equal keys does not win: %q, %v, %v", v, ok, err)
	}
	var got []string
	for range 5 {
		v, _, _ := set.Fetch(t.Context(), "l", Source)
		got = append(got, v)
	}
	if strings.Join(got, "") != "AbAbA" {
		t.Errorf("fetched %q", got)
	}
	for _, tt := range []struct {
		table   string
		service Service
		key     string
		want    bool
	}{
		{config.LocalNames, Domain, "LocalHost", true},
		{config.LocalNames, Domain, "mx.example.org", true},
		{config.LocalNames, Domain, "[192.0.2.1]", true},
		{config.LocalNames, Domain, "[::1]", true},
		{config.LocalNames, Domain, "mx", false},
		{config.LocalHost, NetAddr, "192.0.2.1", true},
		{config.LocalHost, NetAddr, "fe80::1%em0", true},
		{config.LocalHost, NetAddr, "fe80::1%em1", false},
		{config.LocalHost, NetAddr, "local", true},
		{config.LocalHost, NetAddr, "192.0.2.2", false},
		{config.LocalHost, NetAddr, "", false},
		{config.AnyHost, NetAddr, "local", true},
		{config.AnyHost, NetAddr, "2001:db8::1", true},
		{config.AnyHost, NetAddr, "192.0.2.2", true},
		{config.AnyDestination, Domain, "anything", true},
		{"l", String, strings.Repeat("a", MaxKey+1), false},
	} {
		if ok, err := set.Match(t.Context(), tt.table, tt.service, tt.key); ok != tt.want || err != nil {
			t.Errorf("%s: Match(%.40q) = %v, %v, want %v", tt.table, tt.key, ok, err, tt.want)
		}
	}
	for name, service := range map[string]Service{"l": Alias, "m": Auth, "nosuch": String, config.GetPwNam: UserInfo, config.AnyHost: Auth} {
		if set.Prepare(name, service) == nil {
			t.Errorf("%s can serve %s", name, service)
		}
	}
}

func TestNewSetErrors(t *testing.T) {
	_, err := NewSet([]config.Table{
		{Pos: config.Pos{File: "c", Line: 1}, Name: "p", Backend: "p", Path: "/x"},
		{Pos: config.Pos{File: "c", Line: 2}, Name: "f", Backend: "file", Path: "/x"},
		{Pos: config.Pos{File: "c", Line: 3}, Name: config.AnyHost, Backend: "static"},
		{Pos: config.Pos{File: "c", Line: 4}, Name: "u", Backend: "getpwnam"},
	}, Sources{OpenFile: func(path string) (*os.File, error) { return nil, fmt.Errorf("open %s: gone", path) }})
	for _, want := range []string{`c:1: table "p": backend "p" is not supported`, `c:2: table "f": open /x: gone`,
		`c:3: table "<anyhost>" defined twice`, `c:4: table "u": backend "getpwnam" is not supported`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %s", err, want)
		}
	}
}

func TestParseUser(t *testing.T) {
	u, err := ParseUser("a", "1000:100:/home/a")
	if err != nil || u != (User{"a", 1000, 100, "/home/a"}) || u.String() != "1000:100:/home/a" {
		t.Errorf("%+v, %v", u, err)
	}
	for _, s := range []string{"", "1:2", "1:2:", "1:2:home", "-1:2:/h", "1:4294967296:/h", "1:2:/h:x", "1:2:/h\n", "+1:2:/h", " 1:2:/h"} {
		if _, err := ParseUser("a", s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}
