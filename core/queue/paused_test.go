package queue

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestPaused(t *testing.T) {
	dir := t.TempDir()
	p, err := OpenPaused(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if words, err := p.Read(); err != nil || len(words) != 0 {
		t.Errorf("%v %v without a file", words, err)
	}
	for _, want := range [][]string{{"smtp", "mda"}, {"mta"}, {}} {
		if err := p.Write(want); err != nil {
			t.Fatal(err)
		}
		got, err := p.Read()
		slices.Sort(want)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%v %v, want %v", got, err, want)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "state", "paused"), []byte("mta # by hand\n\n  smtp mda"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := p.Read(); err != nil || !slices.Equal(got, []string{"mta", "smtp", "mda"}) {
		t.Errorf("%v %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "state", "paused"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Read(); err == nil {
		t.Error("a file of any size was read")
	}
}
