package table

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
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
		kind, entries, err := parseFile("/etc/t", tt.data)
		var got []string
		for _, e := range entries {
			got = append(got, e.key+"="+e.value)
		}
		if err != nil || kind != tt.kind || strings.Join(got, ";") != tt.want {
			t.Errorf("%q: kind %d, %q, %v, want kind %d, %q", tt.data, kind, got, err, tt.kind, tt.want)
		}
	}
}

func TestParseFileErrors(t *testing.T) {
	tests := []struct{ data, want string }{
		{"a: b\nc\n", "/etc/t:2: invalid map entry"},
		{"a: b\nc:\n", "/etc/t:2: invalid map entry"},
		{"\n\na:\n", "/etc/t:3: invalid map entry"},
		{":x\n", "/etc/t:1: invalid entry without a key"},
		{"a\nb\x00c\n", "/etc/t:2: control character in line"},
		{strings.Repeat("k", MaxKey+1), "/etc/t:1: key longer than 1023 octets"},
		{"a\n" + strings.Repeat("k", MaxLine+1), "/etc/t:2: line longer than 65536 octets"},
	}
	for _, tt := range tests {
		_, entries, err := parseFile("/etc/t", tt.data)
		if err == nil || err.Error() != tt.want || entries != nil {
			t.Errorf("%.20q: %v, want %s", tt.data, err, tt.want)
		}
	}
}

func FuzzFile(f *testing.F) {
	for _, s := range []string{"a: b\n", "# @list\na b\n", "[::1] x\n", "a :include:/x\n", "[\n", ":\n", "a : b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data string) {
		kind, entries, err := parseFile("f", data)
		if err != nil {
			return
		}
		for _, e := range entries {
			if e.key == "" || len(e.key) > MaxKey || strings.ContainsAny(e.key+e.value, "\n\x00") ||
				(kind == config.ListKind) != (e.value == "") {
				t.Errorf("%q: entry %+v in kind %d", data, e, kind)
			}
		}
		for service := range Auth {
			tab := newStatic(newContents("f", kind, entries, "+"))
			if tab.Prepare(service) != nil {
				continue
			}
			for _, e := range entries {
				_, err := tab.Match(t.Context(), service, e.key)
				if err != nil {
					t.Errorf("%q: Match(%s, %q): %v", data, service, e.key, err)
				}
			}
		}
	})
}

func TestReload(t *testing.T) {
	content, readErr := "alice: bob\n", error(nil)
	src := Sources{ReadFile: func(string) ([]byte, error) { return []byte(content), readErr }}
	set, err := NewSet([]config.Table{{Name: "t", Backend: "file", Path: "/t"}}, src)
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Prepare("t", Alias); err != nil {
		t.Fatal(err)
	}
	lookup := func(want string) {
		t.Helper()
		if got, _, err := set.Lookup(t.Context(), "t", Alias, "ALICE"); got != want || err != nil {
			t.Errorf("alice is %q, %v, want %q", got, err, want)
		}
	}
	lookup("bob")
	for _, bad := range []string{"alice: carol\nbroken\n", "alice\n"} {
		content = bad
		if set.Reload(t.Context(), "t") == nil {
			t.Errorf("%q was taken", bad)
		}
		lookup("bob")
	}
	content, readErr = "alice: carol\n", os.ErrPermission
	if err := set.Reload(t.Context(), "t"); !errors.Is(err, os.ErrPermission) {
		t.Errorf("error %v", err)
	}
	lookup("bob")
	if readErr = nil; set.Reload(t.Context(), "t") != nil {
		t.Error("good file refused")
	}
	lookup("carol")
	if set.Reload(t.Context(), "nosuch") == nil {
		t.Error("unknown table reloaded")
	}
}

func TestReloadKeepsRegex(t *testing.T) {
	content := "^a\n"
	src := Sources{ReadFile: func(string) ([]byte, error) { return []byte(content), nil }}
	set, err := NewSet([]config.Table{{Name: "t", Backend: "file", Path: "/t"}}, src)
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Prepare("t", Regex); err != nil {
		t.Fatal(err)
	}
	content = "^b\n(\n"
	if err := set.Reload(t.Context(), "t"); err == nil || !strings.HasPrefix(err.Error(), "/t:2: ") {
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
	for name, service := range map[string]Service{"l": Alias, "m": Domain, "nosuch": String, config.GetPwNam: UserInfo, config.AnyHost: Auth} {
		if set.Prepare(name, service) == nil {
			t.Errorf("%s can serve %s", name, service)
		}
	}
}

func TestNewSetErrors(t *testing.T) {
	_, err := NewSet([]config.Table{
		{Pos: config.Pos{File: "c", Line: 1}, Name: "db", Backend: "db", Path: "/x"},
		{Pos: config.Pos{File: "c", Line: 2}, Name: "f", Backend: "file", Path: "/x"},
		{Pos: config.Pos{File: "c", Line: 3}, Name: config.AnyHost, Backend: "static"},
		{Pos: config.Pos{File: "c", Line: 4}, Name: "u", Backend: "getpwnam"},
	}, Sources{ReadFile: func(path string) ([]byte, error) { return nil, fmt.Errorf("open %s: gone", path) }})
	for _, want := range []string{`c:1: table "db": backend "db" is not supported`, `c:2: table "f": open /x: gone`,
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

func BenchmarkLookup(b *testing.B) {
	entries := make([]entry, 1_000_000)
	for i := range entries {
		entries[i] = entry{key: "user" + strconv.Itoa(i) + "@example.org", value: "x"}
	}
	tab := newStatic(newContents("f", config.MapKind, entries, "+"))
	for _, service := range []Service{Alias, MailAddr, Domain} {
		_ = tab.Prepare(service)
		b.Run(service.String(), func(b *testing.B) {
			for b.Loop() {
				if _, ok, _ := tab.Lookup(b.Context(), service, "user777777@example.org"); !ok {
					b.Fatal("not found")
				}
			}
		})
	}
}
