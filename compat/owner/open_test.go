package owner

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestOpenRegular(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"good", "linked"} {
		if err := os.WriteFile(path(name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Symlink("good", path("symlink")))
	must(os.Link(path("linked"), path("hardlink")))
	must(os.Mkdir(path("dir"), 0o700))
	must(syscall.Mkfifo(path("fifo"), 0o600))

	for name, want := range map[string]error{
		"good": nil, "missing": fs.ErrNotExist, "symlink": nil, "hardlink": nil, "dir": ErrNotRegular, "fifo": ErrNotRegular,
	} {
		f, err := Open(path(name))
		if !errors.Is(err, want) {
			t.Errorf("Open %s: %v, want %v", name, err, want)
		}
		if err == nil {
			f.Close()
		}
	}
	for name, want := range map[string]error{
		"good": nil, "missing": fs.ErrNotExist, "symlink": ErrNotRegular,
		"hardlink": ErrNotRegular, "dir": ErrNotRegular, "fifo": ErrNotRegular,
	} {
		f, err := OpenRegular(path(name))
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if err == nil {
			f.Close()
		}
	}
}
