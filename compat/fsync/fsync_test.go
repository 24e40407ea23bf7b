package fsync

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSync(t *testing.T) {
	dir := t.TempDir()
	file, err := os.Create(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	closed, err := os.Create(filepath.Join(dir, "closed"))
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	defer writer.Close()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := file.WriteString("kept"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		f    *os.File
		sync func(*os.File) error
		ok   bool
	}{
		{"file", file, SyncFile, true},
		{"closed file", closed, SyncFile, false},
		{"pipe", writer, SyncFile, false},
		{"directory", d, SyncDir, true},
		{"closed directory", closed, SyncDir, false},
	} {
		if err := test.sync(test.f); (err == nil) != test.ok {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}
