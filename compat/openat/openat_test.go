package openat

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
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
	f, err := Open(dir, "a/b")
	if err != nil {
		t.Fatal(err)
	}
	if names, err := f.Readdirnames(-1); len(names) != 5 || err != nil {
		t.Errorf("%v, %v", names, err)
	}
	f.Close()
	dir.Close()
	if _, err := ReadFile(dir, "a/b/small", 10); err == nil {
		t.Error("read below a closed directory")
	}
}
