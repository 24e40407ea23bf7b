package expand

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/rules"
	"github.com/godwit-mta/godwit/core/table"
)

var update = flag.Bool("update", false, "write testdata/decisions.txt anew")

// users of the system: root, _smtpd and whoever has a .forward or is listed here.
type users struct{}

func (users) Lookup(_ context.Context, name string) (table.User, bool, error) {
	switch name {
	case "root", "rootlike":
		return table.User{Name: name, Home: "/root"}, true, nil
	case "alice", "bob", "carol", "vmail", "nohome", "insecure":
		return table.User{Name: name, UID: 1000, GID: 1000, Home: "/home/" + name}, true, nil
	case "flaky":
		return table.User{}, false, errors.New("directory server is down")
	}
	if _, err := os.Stat(filepath.Join("testdata/decisions/forward", filepath.Base(name))); err == nil {
		return table.User{Name: name, UID: 1001, GID: 1001, Home: "/home/" + name}, true, nil
	}
	return table.User{}, false, nil
}

func forward(_ context.Context, u table.User) ([]byte, bool, error) {
	switch u.Name {
	case "insecure":
		return nil, false, fmt.Errorf("%w: writable by others", ErrInsecure)
	case "nohome":
		return nil, false, errors.New("home is not mounted")
	case "rootlike":
		return []byte("|/bin/sh"), true, nil
	}
	content, err := os.ReadFile(filepath.Join("testdata/decisions/forward", u.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	return content, err == nil, err
}

func readTestFile(path string) ([]byte, error) {
	if path == "/etc/mail/denied" {
		return nil, fs.ErrPermission
	}
	return os.ReadFile(filepath.Join("testdata/decisions", filepath.Base(path)))
}

// opener gives what read reads as a file.
func opener(t testing.TB, read func(string) ([]byte, error)) func(string) (*os.File, error) {
	return func(path string) (*os.File, error) {
		text, err := read(path)
		if err != nil {
			return nil, err
		}
		copied := filepath.Join(t.TempDir(), "table")
		if err := os.WriteFile(copied, text, 0o600); err != nil {
			return nil, err
		}
		return os.Open(copied)
	}
}

// setup reads a configuration and wires what decides about recipients.
func setup(t testing.TB, text string) *Expander {
	t.Helper()
	cfg, _, err := config.Parse("smtpd.conf", []byte(text), nil, nil, config.Environment{Hostname: "mx.here.example"})
	if err != nil {
		t.Fatal(err)
	}
	set, err := table.NewSet(cfg.Tables, table.Sources{Users: users{}, OpenFile: opener(t, readTestFile),
		Facts: table.Facts{Hostname: "mx.here.example", SubAddrDelim: cfg.SubAddrDelim,
			Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("2001:db8::25")}}})
	if err != nil {
		t.Fatal(err)
	}
	matcher, err := rules.New(cfg.Rules, set, nil)
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(cfg, Sources{Tables: set, Rules: matcher, Forward: forward, ReadFile: readTestFile, DaemonUser: "_smtpd"})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// parseFacts reads "from=192.0.2.1 tls rcpt=bob@example.org".
func parseFacts(t *testing.T, line string) *rules.Session {
	t.Helper()
	s := &rules.Session{Addr: netip.MustParseAddr("192.0.2.9"), Helo: "client.example", Sender: address.Address{Local: "s", Domain: "example.com"}}
	parse := func(v string) address.Address {
		a, err := address.ParsePath(v)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		return a
	}
	for word := range strings.FieldsSeq(line) {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "from":
			if s.Local = value == "local"; s.Local {
				s.Addr = netip.Addr{}
			} else {
				s.Addr = netip.MustParseAddr(value)
			}
		case "rdns":
			s.RDNS = value
		case "helo":
			s.Helo = value
		case "tag":
			s.Tag = value
		case "user":
			s.Authenticated, s.Username = true, value
		case "tls":
			s.TLS = true
		case "sender":
			s.Sender = parse(value)
		case "rcpt":
			s.Rcpt = parse(value)
		default:
			t.Fatalf("unknown fact %q", word)
		}
	}
	return s
}

// TestDecisions compares the decision about each line that begins with a question mark
// with the lines below it.
func TestDecisions(t *testing.T) {
	text, err := os.ReadFile("testdata/decisions/smtpd.conf")
	if err != nil {
		t.Fatal(err)
	}
	e := setup(t, string(text))
	golden, err := os.ReadFile("testdata/decisions/decisions.txt")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	decisions := 0
	for sc := bufio.NewScanner(bytes.NewReader(golden)); sc.Scan(); {
		line := sc.Text()
		switch {
		case strings.HasPrefix(line, "? "):
			decisions++
			fmt.Fprintf(&got, "%s\n", line)
			fmt.Fprintf(&got, "%s\n\n", e.Explain(t.Context(), parseFacts(t, line[2:])))
		case strings.HasPrefix(line, "#"):
			fmt.Fprintf(&got, "%s\n", line)
		}
	}
	if *update {
		if err := os.WriteFile("testdata/decisions/decisions.txt", got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if decisions < 60 {
		t.Errorf("%d decisions, want at least 60", decisions)
	}
	g, w := strings.Split(got.String(), "\n\n"), strings.Split(string(golden), "\n\n")
	for i := range max(len(g), len(w)) {
		switch {
		case i >= len(g) || i >= len(w):
			t.Fatalf("%d decisions, want %d", len(g), len(w))
		case g[i] != w[i]:
			t.Errorf("got\n%s\nwant\n%s", g[i], w[i])
		}
	}
}
