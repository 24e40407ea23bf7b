package twofile

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func open(t *testing.T, dir string) *Pair {
	t.Helper()
	var f [2]*os.File
	for i := range f {
		var err error
		if f[i], err = os.OpenFile(filepath.Join(dir, fmt.Sprint(i)), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return New("test-1", f[0], f[1])
}

// TestTorn: whatever a file that was being written has become, the other one counts.
func TestTorn(t *testing.T) {
	dir := t.TempDir()
	p := open(t, dir)
	if text, err := p.Load(1000); text != nil || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	for _, text := range []string{"one\n", "", "three\n", "four\n"} { // 1, 3 are in file 1; 2, 4 in file 0
		if err := p.Save([]byte(text)); err != nil {
			t.Fatal(err)
		}
		again := open(t, dir)
		if got, err := again.Load(1000); string(got) != text || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		again.Close()
	}
	p.Close()
	last := filepath.Join(dir, "0")
	whole, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if err := os.WriteFile(last, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		p := open(t, dir)
		if got, err := p.Load(1000); string(got) != "three\n" || err != nil {
			t.Errorf("cut after %d octets: %q, %v", n, got, err)
		}
		if err := p.Save([]byte("new")); err != nil {
			t.Error(err)
		}
		if got, _ := open(t, dir).Load(1000); string(got) != "new" {
			t.Errorf("%q", got)
		}
		p.Close()
		_ = os.WriteFile(filepath.Join(dir, "1"), []byte("test-1 3 "+digest("three\n")+"\nthree\n"), 0o600)
	}
	_ = os.WriteFile(filepath.Join(dir, "1"), []byte("junk"), 0o600)
	_ = os.WriteFile(last, []byte("test-1 x y\n"), 0o600)
	if got, err := open(t, dir).Load(1000); got != nil || err == nil {
		t.Errorf("%q, %v", got, err)
	}
}

func digest(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
