//go:build !darwin

package user

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestGetent(t *testing.T) {
	if _, _, err := ask("getent", "passwd", "root"); errors.Is(err, errNoProgram) {
		t.Skip("no getent(1) here")
	}
	u, err := fromGetent("root", func(u User) bool { return u.Name == "root" })
	if err != nil || u.UID != 0 || u.Home == "" {
		t.Errorf("root: %+v, %v", u, err)
	}
	if _, err := fromGetent("no-such-user-here", func(User) bool { return true }); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown user: %v", err)
	}
	// An answer about somebody else is no answer.
	if u, err := fromGetent("root", func(u User) bool { return u.Name == "toor" }); !errors.Is(err, ErrNotFound) {
		t.Errorf("somebody else: %+v, %v", u, err)
	}
}

// Failure is not absence: a program that fails must not make a user vanish.
func TestAskFailure(t *testing.T) {
	if _, err := os.Stat("/usr/bin/false"); err != nil {
		t.Skip("no /usr/bin/false here")
	}
	if _, found, err := ask("false"); err == nil || found || errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, %v", found, err)
	}
	if _, _, err := ask("no-such-program-here"); !errors.Is(err, errNoProgram) {
		t.Errorf("missing program: %v", err)
	}
	b := &bounded{}
	if _, err := b.Write(make([]byte, askOutput)); err != nil {
		t.Error(err)
	}
	if _, err := b.Write([]byte("x")); err == nil {
		t.Error("output is not bounded")
	}
}

func TestInFile(t *testing.T) {
	dir := t.TempDir()
	if err := inFile(filepath.Join(dir, "missing"), nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing file: %v", err)
	}
	// A path through a file cannot be opened, and that is not the same.
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte(strings.Repeat("x", 10)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := inFile(filepath.Join(file, "x"), nil); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("not a directory: %v", err)
	}
}
