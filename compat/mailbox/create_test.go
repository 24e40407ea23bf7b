package mailbox

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestCreate(t *testing.T) {
	dir := t.TempDir()
	if err := Create(dir, "user", me(), uint32(os.Getgid()), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "user")
	fi, err := os.Lstat(path)
	if err != nil || fi.Mode() != 0o600 || fi.Size() != 0 {
		t.Fatalf("%v, %v", fi, err)
	}
	wantAlone(t, path)
	m := mustOpen(t, path, briefly)
	if err := appendString(m, "kept\n"); err != nil {
		t.Fatal(err)
	}
	m.Close()
	if err := Create(dir, "user", me(), uint32(os.Getgid()), 0o600); err != nil {
		t.Errorf("second time: %v", err)
	}
	wantContent(t, path, "kept\n")
}

func TestCreateGivesAway(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	if err := Create(dir, "user", 12345, 54321, 0o666); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Lstat(filepath.Join(dir, "user"))
	if err != nil {
		t.Fatal(err)
	}
	st := fi.Sys().(*syscall.Stat_t)
	if st.Uid != 12345 || st.Gid != 54321 || fi.Mode() != 0o660 {
		t.Errorf("uid %d gid %d mode %v", st.Uid, st.Gid, fi.Mode())
	}
	if err := Create(dir, "user", 12346, 54321, 0o600); !errors.Is(err, ErrOwner) {
		t.Errorf("mailbox of another user: %v", err)
	}
}

func TestCreateRefusesNames(t *testing.T) {
	dir := t.TempDir()
	for _, user := range []string{"", ".", "..", ".x", "../x", "a/b", "/x", "a\x00b", "a\nb", "bob.lock"} {
		if err := Create(dir, user, me(), 0, 0o600); err == nil {
			t.Errorf("%q accepted", user)
		}
	}
	wantAlone(t, filepath.Join(dir, "nothing"))
}

func TestCreateRefusesWhatIsThere(t *testing.T) {
	for name, make := range map[string]func(path, aside string) error{
		"symbolic link": func(path, aside string) error { return os.Symlink(aside, path) },
		"dangling link": func(path, aside string) error { return os.Symlink(aside+".no", path) },
		"hard link":     func(path, aside string) error { return os.Link(aside, path) },
		"FIFO":          func(path, aside string) error { return syscall.Mkfifo(path, 0o600) },
		"directory":     func(path, aside string) error { return os.Mkdir(path, 0o700) },
	} {
		dir, aside := t.TempDir(), newBox(t, "secret")
		before, err := os.Lstat(aside)
		if err != nil {
			t.Fatal(err)
		}
		if err := make(filepath.Join(dir, "user"), aside); err != nil {
			t.Fatal(err)
		}
		if err := Create(dir, "user", me(), uint32(os.Getgid()), 0o640); !errors.Is(err, ErrUnsafe) {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := os.Lstat(aside); err != nil || after.Mode() != before.Mode() {
			t.Errorf("%s: target changed, %v", name, err)
		}
		if _, err := os.Lstat(aside + ".no"); err == nil {
			t.Errorf("%s: target was made", name)
		}
	}
}

func TestCreateSpool(t *testing.T) {
	for _, tt := range []struct {
		mode fs.FileMode
		want error
	}{
		{0o755, nil},
		{0o775, nil},
		{0o777 | fs.ModeSticky, nil},
		{0o775 | fs.ModeSetgid, nil},
		{0o777, ErrSpool},
		{0o702, ErrSpool},
	} {
		dir := t.TempDir()
		if err := os.Chmod(dir, tt.mode); err != nil {
			t.Fatal(err)
		}
		if err := Create(dir, "user", me(), uint32(os.Getgid()), 0o600); !errors.Is(err, tt.want) {
			t.Errorf("%v: %v, want %v", tt.mode, err, tt.want)
		}
	}
	if os.Getuid() == 0 {
		dir := t.TempDir()
		if err := os.Chown(dir, 12345, 0); err != nil {
			t.Fatal(err)
		}
		if err := Create(dir, "user", 12346, 0, 0o600); !errors.Is(err, ErrSpool) {
			t.Errorf("spool of a user: %v", err)
		}
	}
}
