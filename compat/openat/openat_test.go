package openat

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReadFile(t *testing.T) {
	top := t.TempDir()
	if err := os.MkdirAll(filepath.Join(top, "a/b"), 0o700); err != nil {
		t.Fatal(err)
	}
	large := bytes.Repeat([]byte("0123456789"), 1000)
	for name, b := range map[string][]byte{"a/b/small": []byte("text"), "a/b/large": large, "a/b/empty": nil} {
		if err := os.WriteFile(filepath.Join(top, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("small", filepath.Join(top, "a/b/link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(top, "a/b/fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(top)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		max  int
		want string
		err  error
	}{
		{"a/b/small", 100, "text", nil},
		{"a/b/small", 4, "text", nil},
		{"a/b/small", 3, "text", nil},
		{"a/b/small", 2, "tex", nil},
		{"a/b/empty", 10, "", nil},
		{"a/b/empty", 0, "", nil},
		{"a/b/fifo", 10, "", nil},
		{"a/b/large", 1 << 20, string(large), nil},
		{"a/b/large", 10000, string(large), nil},
		{"a/b/large", 9998, string(large[:9999]), nil},
		{"a/b/none", 10, "", fs.ErrNotExist},
		{"a/c/none", 10, "", fs.ErrNotExist},
		{"a/b", 10, "", unix.EISDIR},
		{"a/b/small/x", 10, "", unix.ENOTDIR},
	} {
		b, err := ReadFile(dir, c.name, c.max)
		if string(b) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s, at most %d: %d octets, %v", c.name, c.max, len(b), err)
		}
	}
	if _, err := ReadFile(dir, "a/b/link", 10); err == nil {
		t.Error("a link was followed")
	}
	dir.Close()
	if _, err := ReadFile(dir, "a/b/small", 10); err == nil {
		t.Error("read below a closed directory")
	}
}

func TestNames(t *testing.T) {
	top := t.TempDir()
	var want []string
	for i := range 1000 { // more than one call gives
		want = append(want, fmt.Sprintf("%04d%s", i, strings.Repeat("x", 40)))
		if err := os.WriteFile(filepath.Join(top, want[i]), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(top, want[0]+"d"), 0o700); err != nil {
		t.Fatal(err)
	}
	want = slices.Insert(want, 1, want[0]+"d")
	dir, err := os.Open(top)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for name, c := range map[string]struct {
		names []string
		err   error
	}{".": {want, nil}, want[1]: {nil, nil}, want[0]: {nil, unix.ENOTDIR}, "none": {nil, fs.ErrNotExist}} {
		names, err := Names(dir, name)
		slices.Sort(names)
		if !slices.Equal(names, c.names) || !errors.Is(err, c.err) {
			t.Errorf("%s: %d names, %v", name, len(names), err)
		}
	}
}

func TestExists(t *testing.T) {
	top := t.TempDir()
	if err := os.Mkdir(filepath.Join(top, "dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(top, "dir", "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(top, "dir", "file"), nil, 0); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(top)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name        string
		want, fails bool
	}{
		{"dir", true, false}, {"dir/file", true, false}, {"dir/link", true, false}, {"dir/none", false, false}, {"none/file", false, false},
		{"dir/file/below", false, true},
	} {
		got, err := Exists(dir, tt.name)
		if got != tt.want || (err != nil) != tt.fails {
			t.Errorf("%s: %t, %v", tt.name, got, err)
		}
	}
	dir.Close()
	if _, err := Exists(dir, "dir"); err == nil {
		t.Error("a closed directory was looked at")
	}
}

func TestStat(t *testing.T) {
	top := t.TempDir()
	name := filepath.Join(top, "file")
	if err := os.WriteFile(name, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", filepath.Join(top, "link")); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(top)
	if err != nil {
		t.Fatal(err)
	}
	first, err := Stat(dir, "file")
	if err != nil || first.Size != 4 || first.Inode == 0 || first.Changed == 0 {
		t.Fatalf("%+v, %v", first, err)
	}
	if again, err := Stat(dir, "file"); err != nil || again != first {
		t.Errorf("%+v, then %+v, %v", first, again, err)
	}
	if link, err := Stat(dir, "link"); err != nil || link.Inode == first.Inode {
		t.Errorf("%+v is a link to %+v, %v", link, first, err)
	}
	if err := os.WriteFile(name+"2", []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+"2", name); err != nil {
		t.Fatal(err)
	}
	if other, err := Stat(dir, "file"); err != nil || other == first {
		t.Errorf("another file: %+v, %v", other, err)
	}
	if _, err := Stat(dir, "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	dir.Close()
	if _, err := Stat(dir, "file"); err == nil {
		t.Error("a closed directory was looked at")
	}
}
