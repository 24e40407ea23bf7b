package owner

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestStamp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	stamp := func() Stamp {
		t.Helper()
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return StampOf(fi)
	}
	write := func(name, s string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(path, "one")
	at := time.Unix(1<<31, 5000)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
	first := stamp()
	if first != stamp() || first.Size != 3 || first.Modified != at.UnixNano() || first.Changed == 0 {
		t.Errorf("stamp %+v", first)
	}
	// A file that takes its place with the same times and size is another one.
	write(path+".new", "two")
	if err := os.Chtimes(path+".new", at, at); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if stamp() == first {
		t.Error("the same stamp for another file")
	}
}
