package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/config"
)

// TestCheckFiles: what lies outside of the text is a warning with its place each.
func TestCheckFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text := strings.NewReplacer(
		"LIST", write("list", "a\nb\n", 0o644), "MAP", write("map", "a b\n", 0o644),
		"BROKEN", write("broken", "a b\nc\n", 0o644), "OPEN", write("open", "x", 0o644),
		"NONE", filepath.Join(dir, "none")).Replace(`pki a.example cert "NONE" key "NONE"
pki b.example cert "OPEN" key "OPEN"
ca corp cert "NONE"
table list file:LIST
table map file:MAP
table broken file:BROKEN
table none file:NONE
listen on lo senders <list>
action a mbox alias <list>
action b mbox alias <map>
match from src <none> action a
match for domain regex { "[" } action b
ca empty cert "OPEN"
`)
	cfg, _, err := config.Parse("smtpd.conf", []byte(text), nil, nil, config.Environment{Hostname: "x"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range CheckFiles(cfg) {
		got = append(got, w.String())
	}
	want := []struct{ place, about string }{
		{"1:1", "none: no such file"}, {"2:1", "insecure permissions"}, {"3:1", "ca corp: open"}, {"13:1", "ca empty: "},
		{"6:7", "broken:2"}, {"7:7", "none: no such file"}, {"8:1", "needs a mapping"},
		{"9:1", "needs a mapping"}, {"12:1", "["},
	}
	if len(got) != len(want) {
		t.Fatalf("%d warnings:\n%s", len(got), strings.Join(got, "\n"))
	}
	for i, w := range want {
		if !strings.HasPrefix(got[i], "smtpd.conf:"+w.place+": warning: ") || !strings.Contains(got[i], w.about) {
			t.Errorf("got %s, want %v", got[i], w)
		}
	}
}

// TestCheckInterfaces: what is no interface is a warning, unless it looks like a host name.
func TestCheckInterfaces(t *testing.T) {
	text := "listen on eth0\nlisten on eth9\nlisten on 192.0.2.1\nlisten on mx.example.org\nlisten on localhost\n" +
		"action a relay\nmatch for any action a\n"
	cfg, _, err := config.Parse("smtpd.conf", []byte(text), nil, nil, config.Environment{Hostname: "x"})
	if err != nil {
		t.Fatal(err)
	}
	got := checkInterfaces(cfg, newFakeHost("eth0=192.0.2.7").network())
	if len(got) != 1 || got[0].Pos.Line != 2 || !strings.Contains(got[0].Message, `"eth9"`) {
		t.Errorf("got %v", got)
	}
}
