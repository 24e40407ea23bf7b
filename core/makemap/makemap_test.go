package makemap

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// file writes a file in a directory of its own.
func file(t *testing.T, text string, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "map")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func dump(t *testing.T, path string) string {
	t.Helper()
	var out strings.Builder
	if err := Dump(path, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestMake(t *testing.T) {
	for _, c := range []struct {
		text string
		t    Type
		n    int
		want string
	}{
		{"Alice: bob\n# no\n\nCarol dave # x\n", Any, 2, "alice\tbob\ncarol\tdave # x\n"},
		{"a: b,\n  c\n", Aliases, 1, "a\tb, c\n"},
		{"a: |\"exec x, y\"\n", Aliases, 1, "a\t|\"exec x, y\"\n"},
		{"Example.org\n*.example.net\n", Any, 2, "example.org\n*.example.net\n"},
		{"^A\\S: b$\n^a\\s: b$\n", Set, 2, "^a\\S: b$\n^a\\s: b$\n"},
		{"", Any, 0, ""},
	} {
		source := file(t, c.text, 0o640)
		n, err := Make(source, source+".db", c.t, nil)
		if err != nil || n != c.n {
			t.Errorf("%q: %d, %v", c.text, n, err)
			continue
		}
		if got := dump(t, source+".db"); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
		if n, err := Check(source, c.t); n != c.n || err != nil {
			t.Errorf("%q: checked %d, %v", c.text, n, err)
		}
	}
}

func TestMakeErrors(t *testing.T) {
	for _, c := range []struct {
		text string
		t    Type
		want string
	}{
		{"a: b\nA: c\n", Any, ":2: duplicate entry for a, which is in "},
		{"a\n", Aliases, ":1: invalid map entry"},
		{"a: b\nc: d, \"e\n", Aliases, ":2: quote without an end"},
		{"a: " + strings.Repeat("b", 70000), Any, ":1: line longer than"},
	} {
		source := file(t, c.text, 0o600)
		if err := os.WriteFile(source+".db", []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Make(source, source+".db", c.t, nil)
		if err == nil || !strings.HasPrefix(err.Error(), source+c.want) {
			t.Errorf("%.40q: %v", c.text, err)
		}
		old, err := os.ReadFile(source + ".db")
		left, _ := filepath.Glob(filepath.Join(filepath.Dir(source), "*"))
		if string(old) != "old" || len(left) != 2 {
			t.Errorf("%.40q: %q, %v; left %q", c.text, old, err, left)
		}
	}
	if _, err := Make("/nonexistent/map", "/nonexistent/map.db", Any, nil); err == nil {
		t.Error("no source and no error")
	}
	if err := Dump(file(t, "a: b\n", 0o600), os.Stderr); err == nil {
		t.Error("a text file was dumped")
	}
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	fi, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fi.Mode()
}

// The permissions are those of the old database, or else those of the source; a link stays.
func TestModes(t *testing.T) {
	source := file(t, "a: b\n", 0o640)
	out := filepath.Join(filepath.Dir(source), "link.db")
	if err := os.Symlink("real.db", out); err != nil {
		t.Fatal(err)
	}
	if _, err := Make(source, source+".db", Any, nil); err != nil || mode(t, source+".db") != 0o640 {
		t.Errorf("%v, mode %v", err, mode(t, source+".db"))
	}
	if err := os.Rename(source+".db", filepath.Join(filepath.Dir(source), "real.db")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(out, 0o604); err != nil {
		t.Fatal(err)
	}
	stdin, err := os.Open(source)
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if _, err := Make(Stdin, out, Any, stdin); err != nil || mode(t, out)&fs.ModeSymlink == 0 {
		t.Errorf("%v, mode %v", err, mode(t, out))
	}
	if m := mode(t, filepath.Join(filepath.Dir(source), "real.db")); m != 0o604 {
		t.Errorf("mode %v", m)
	}
	if got := dump(t, out); got != "a\tb\n" {
		t.Errorf("%q", got)
	}
}

func TestParseOptions(t *testing.T) {
	for _, c := range []struct {
		args string
		want Options
		bad  bool
	}{
		{"f", Options{Source: "f", Output: "f.db"}, false},
		{"-d btree -o x f", Options{Source: "f", Output: "x"}, false},
		{"-t aliases f", Options{Source: "f", Output: "f.db", Type: Aliases}, false},
		{"-tset -o x -", Options{Source: "-", Output: "x", Type: Set}, false},
		{"hash /etc/mail/x", Options{Source: "-", Output: "/etc/mail/x.db"}, false},
		{"hash /etc/mail/x.db", Options{Source: "-", Output: "/etc/mail/x.db"}, false},
		{"-U x.db", Options{Source: "x.db", Output: "x.db.db", Dump: true}, false},
		{"-h", Options{Help: true}, false},
		{"", Options{}, true}, {"-", Options{}, true}, {"-d gdbm f", Options{}, true}, {"-t x f", Options{}, true},
		{"gdbm x", Options{}, true}, {"-o x hash f", Options{}, true}, {"a b c", Options{}, true}, {"-z f", Options{}, true},
	} {
		o, err := ParseOptions(strings.Fields(c.args))
		if c.bad != (err != nil) || err == nil && *o != c.want {
			t.Errorf("%q: %+v, %v", c.args, o, err)
		}
	}
}

func TestSource(t *testing.T) {
	if s, err := Source("/etc/mail/aliases.db"); s != "/etc/mail/aliases" || err != nil {
		t.Errorf("%q, %v", s, err)
	}
	if _, err := Source("/etc/mail/aliases.cdb"); err == nil {
		t.Error("another name was taken")
	}
}
