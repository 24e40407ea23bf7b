package mailbox

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
}

// asUser runs f with the file system rights of an ordinary user. The thread is not used
// again.
func asUser(uid int, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		_ = unix.Setfsgid(uid)
		_ = unix.Setfsuid(uid)
		f()
	}()
	<-done
}

// spoolFor gives a directory that uid can reach.
func spoolFor(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// As on Debian and OpenBSD: the user cannot make files in the spool.
func TestDotlockSkipped(t *testing.T) {
	needRoot(t)
	dir := spoolFor(t)
	if err := Create(dir, "user", 12345, 12345, 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "user")
	var skipped, err error
	asUser(12345, func() {
		var m *Mailbox
		m, err = Open(t.Context(), path, 12345, Options{Skipped: func(reason error) { skipped = reason }})
		if err != nil {
			return
		}
		if _, err2 := Open(t.Context(), path, 12345, briefly); !errors.Is(err2, ErrLocked) {
			t.Errorf("second: %v", err2)
		}
		err = errors.Join(appendString(m, "mail\n"), m.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
	if skipped == nil {
		t.Error("no reason given for the missing dotlock")
	}
	wantContent(t, path, "mail\n")
	wantAlone(t, path)
}

// In a sticky spool everybody can put a file at the name of a missing mailbox.
func TestStickySpool(t *testing.T) {
	needRoot(t)
	dir := spoolFor(t)
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "user")
	if err := os.WriteFile(path, []byte("trap"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(path, 0o666), os.Chown(path, 12346, 12346)); err != nil {
		t.Fatal(err)
	}
	if err := Create(dir, "user", 12345, 12345, 0o600); !errors.Is(err, ErrOwner) {
		t.Errorf("Create: %v", err)
	}
	asUser(12345, func() {
		if _, err := Open(t.Context(), path, 12345, Options{Wait: 1, Create: true}); !errors.Is(err, ErrOwner) {
			t.Errorf("Open: %v", err)
		}
	})
	wantContent(t, path, "trap")
}

func TestFullDisk(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=128k"); err != nil {
		t.Skipf("cannot mount: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	path := filepath.Join(dir, "user")
	m, err := Open(t.Context(), path, 0, Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := appendString(m, "first\n\n"); err != nil {
		t.Fatal(err)
	}
	err = m.Append(func(w io.Writer) error {
		_, err := io.Copy(w, strings.NewReader(strings.Repeat("x", 1<<20)))
		return err
	})
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("error %v", err)
	}
	wantContent(t, path, "first\n\n")
}
