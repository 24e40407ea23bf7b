package mailbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func me() uint32 { return uint32(os.Getuid()) }

// briefly makes Open try about once.
var briefly = Options{Wait: time.Millisecond}

func newBox(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "user")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustOpen(t *testing.T, path string, opts Options) *Mailbox {
	t.Helper()
	m, err := Open(t.Context(), path, me(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func appendString(m *Mailbox, s string) error {
	return m.Append(func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	})
}

func wantContent(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("content %q, want %q", got, want)
	}
}

func wantAlone(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(path) {
			t.Errorf("%s left behind", e.Name())
		}
	}
}

func TestAppend(t *testing.T) {
	for _, tt := range []struct{ before, want string }{
		{"", "From x\n\n"},
		{"From a\n\nb\n\n", "From a\n\nb\n\nFrom x\n\n"},
		{"From a\n\nb\n", "From a\n\nb\n\nFrom x\n\n"},
		{"From a\n\nb", "From a\n\nb\n\nFrom x\n\n"},
		{"\n", "\nFrom x\n\n"},
		{"b", "b\n\nFrom x\n\n"},
	} {
		path := newBox(t, tt.before)
		m := mustOpen(t, path, Options{})
		if err := appendString(m, "From x\n\n"); err != nil {
			t.Error(err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		wantContent(t, path, tt.want)
		wantAlone(t, path)
	}
}

func TestAppendUndoesAfterError(t *testing.T) {
	path := newBox(t, "old\n\n")
	m := mustOpen(t, path, Options{})
	defer m.Close()
	broken := errors.New("broken")
	err := m.Append(func(w io.Writer) error {
		if _, err := w.Write(bytes.Repeat([]byte("x"), 300<<10)); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	wantContent(t, path, "old\n\n")
	if err := appendString(m, "new\n"); err != nil {
		t.Error(err)
	}
	wantContent(t, path, "old\n\nnew\n")
}

// A program without locks wrote in between: what it wrote must stay.
func TestAppendKeepsWhatOthersWrote(t *testing.T) {
	path := newBox(t, "old\n\n")
	m := mustOpen(t, path, Options{})
	defer m.Close()
	err := m.Append(func(w io.Writer) error {
		if _, err := w.Write(make([]byte, 100<<10)); err != nil {
			return err
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := f.WriteString("theirs\n"); err != nil {
			return err
		}
		return errors.New("broken")
	})
	if err == nil {
		t.Fatal("no error")
	}
	got, _ := os.ReadFile(path)
	if !bytes.Contains(got, []byte("theirs\n")) {
		t.Error("another program's text is gone")
	}
}

func TestOpenRefuses(t *testing.T) {
	tests := []struct {
		name string
		make func(path, aside string) error
		want error
	}{
		{"missing", func(path, aside string) error { return nil }, os.ErrNotExist},
		{"symbolic link", func(path, aside string) error {
			return errors.Join(os.WriteFile(aside, nil, 0o600), os.Symlink(aside, path))
		}, ErrUnsafe},
		{"dangling link", func(path, aside string) error { return os.Symlink(aside, path) }, ErrUnsafe},
		{"hard link", func(path, aside string) error {
			return errors.Join(os.WriteFile(aside, nil, 0o600), os.Link(aside, path))
		}, ErrUnsafe},
		{"FIFO", func(path, aside string) error { return syscall.Mkfifo(path, 0o600) }, ErrUnsafe},
		{"directory", func(path, aside string) error { return os.Mkdir(path, 0o700) }, ErrUnsafe},
	}
	for _, tt := range tests {
		for _, create := range []bool{false, true} {
			if create && tt.want == os.ErrNotExist {
				continue
			}
			path := filepath.Join(t.TempDir(), "user")
			aside := filepath.Join(t.TempDir(), "aside")
			if err := tt.make(path, aside); err != nil {
				t.Fatal(err)
			}
			m, err := Open(t.Context(), path, me(), Options{Wait: time.Millisecond, Create: create})
			if !errors.Is(err, tt.want) {
				t.Errorf("%s (create %t): %v, want %v", tt.name, create, err, tt.want)
			}
			if m != nil {
				m.Close()
			}
			if fi, err := os.Lstat(aside); err == nil && fi.Size() != 0 {
				t.Errorf("%s: written through the link", tt.name)
			} else if tt.name == "dangling link" && err == nil {
				t.Errorf("%s: target was made", tt.name)
			}
		}
	}
}

// A FIFO that somebody reads opens without an error: the type must be looked at.
func TestOpenRefusesReadFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "user")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := Open(t.Context(), path, me(), briefly); !errors.Is(err, ErrUnsafe) {
		t.Errorf("error %v", err)
	}
}

func TestOpenOwner(t *testing.T) {
	path := newBox(t, "")
	if _, err := Open(t.Context(), path, me()+1, briefly); !errors.Is(err, ErrOwner) {
		t.Errorf("foreign mailbox: %v", err)
	}
	m, err := Open(t.Context(), path, me()+1, Options{AnyOwner: true})
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
}

func TestOpenCreates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "user")
	m := mustOpen(t, path, Options{Create: true})
	defer m.Close()
	if fi, err := os.Lstat(path); err != nil || fi.Mode() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
}

// The mailbox was exchanged between open and lock: the name decides.
func TestReplaced(t *testing.T) {
	path := newBox(t, "")
	f, err := open(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	other := newBox(t, "other")
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	m := &Mailbox{f: f, path: path}
	if err := m.check(me(), false); !errors.Is(err, ErrLocked) {
		t.Errorf("replaced: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := m.check(me(), false); !errors.Is(err, ErrLocked) {
		t.Errorf("removed: %v", err)
	}
	if err := os.Symlink("/etc/passwd", path); err != nil {
		t.Fatal(err)
	}
	if err := m.check(me(), false); !errors.Is(err, ErrUnsafe) {
		t.Errorf("replaced by a link: %v", err)
	}
}

func TestLocked(t *testing.T) {
	path := newBox(t, "")
	m := mustOpen(t, path, Options{})
	if _, err := Open(t.Context(), path, me(), briefly); !errors.Is(err, ErrLocked) {
		t.Errorf("held by another: %v", err)
	}
	// With the dotlock gone the kernel's lock must still hold.
	if m.dot != nil {
		m.dot.release()
	}
	if _, err := Open(t.Context(), path, me(), briefly); !errors.Is(err, ErrLocked) {
		t.Errorf("held by the kernel's lock: %v", err)
	}
	wantAlone(t, path)
	m.Close()
	m = mustOpen(t, path, briefly)
	m.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := os.WriteFile(path+".lock", []byte("0"), 0o600); err != nil {
		t.Fatal(err)
	}
	if wantDotlock {
		if _, err := Open(ctx, path, me(), Options{}); !errors.Is(err, ErrLocked) {
			t.Errorf("canceled: %v", err)
		}
	}
}

func TestDotlock(t *testing.T) {
	if !wantDotlock {
		t.Skip("no dotlocks on this system")
	}
	dead := deadPid(t)
	tests := []struct {
		name, content string
		age           time.Duration
		taken         bool
	}{
		{"fresh without a process", "0", 0, false},
		{"4 minutes without a process", "", 4 * time.Minute, false},
		{"6 minutes without a process", "0\n", 6 * time.Minute, true},
		{"6 minutes, of lockspool", "1\n", 6 * time.Minute, true},
		{"6 minutes, no number", "host.example.org:77", 6 * time.Minute, true},
		{"6 minutes, negative", "-1", 6 * time.Minute, true},
		{"6 minutes, too long", strings.Repeat("1", 100), 6 * time.Minute, true},
		{"fresh of a dead process", fmt.Sprint(dead), 0, false},
		{"2 minutes of a dead process", fmt.Sprint(dead), 2 * time.Minute, true},
		{"2 minutes of a living process", fmt.Sprint(os.Getpid()), 2 * time.Minute, false},
		{"an hour of a living process", fmt.Sprint(os.Getppid()), time.Hour, false},
		{"from the future", "0", -time.Hour, false},
	}
	for _, tt := range tests {
		path := newBox(t, "")
		lock := path + ".lock"
		if err := os.WriteFile(lock, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(-tt.age)
		if err := os.Chtimes(lock, when, when); err != nil {
			t.Fatal(err)
		}
		// The first try removes a stale lock, the second takes it.
		_, err := try(path, me(), &Options{})
		if !errors.Is(err, ErrLocked) {
			t.Errorf("%s: first try: %v", tt.name, err)
		}
		m, err := try(path, me(), &Options{})
		if taken := err == nil; taken != tt.taken {
			t.Errorf("%s: %v", tt.name, err)
		}
		if m != nil {
			got, _ := os.ReadFile(lock)
			if string(got) != strconv.Itoa(os.Getpid())+"\n" {
				t.Errorf("%s: lock says %q", tt.name, got)
			}
			m.Close()
			wantAlone(t, path)
		}
	}
}

// Things at the place of the dotlock that are no dotlock are left alone and not followed.
func TestDotlockSpecial(t *testing.T) {
	if !wantDotlock {
		t.Skip("no dotlocks on this system")
	}
	old := time.Now().Add(-time.Hour)
	for name, make := range map[string]func(lock, aside string) error{
		"symbolic link": func(lock, aside string) error { return os.Symlink(aside, lock) },
		"dangling link": func(lock, aside string) error { return os.Symlink(aside+".no", lock) },
		"FIFO":          func(lock, aside string) error { return syscall.Mkfifo(lock, 0o600) },
		"directory":     func(lock, aside string) error { return os.Mkdir(lock, 0o700) },
	} {
		path, aside := newBox(t, ""), newBox(t, "secret")
		lock := path + ".lock"
		if err := make(lock, aside); err != nil {
			t.Fatal(err)
		}
		if name == "FIFO" || name == "directory" {
			if err := os.Chtimes(lock, old, old); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chtimes(aside, old, old); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := try(path, me(), &Options{}); !errors.Is(err, ErrLocked) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := os.Lstat(lock); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Lstat(aside + ".no"); err == nil {
			t.Errorf("%s: target was made", name)
		}
		wantContent(t, aside, "secret")
	}
}

// Somebody broke our lock and took it: it is theirs to remove.
func TestReleaseLeavesForeignLock(t *testing.T) {
	path := newBox(t, "")
	dot, err := takeDotlock(path)
	if err != nil {
		t.Fatal(err)
	}
	theirs := newBox(t, "0")
	if err := os.Rename(theirs, path+".lock"); err != nil {
		t.Fatal(err)
	}
	dot.release()
	wantContent(t, path+".lock", "0")
}

func TestCreateDotlock(t *testing.T) {
	lock := newBox(t, "") + ".lock"
	dot, err := createDotlock(lock)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := createDotlock(lock); !errors.Is(err, ErrLocked) {
		t.Errorf("second: %v", err)
	}
	dot.touched = time.Time{}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(lock, old, old); err != nil {
		t.Fatal(err)
	}
	dot.touch()
	if fi, err := os.Lstat(lock); err != nil || time.Since(fi.ModTime()) > time.Minute {
		t.Errorf("not touched: %v", err)
	}
	dot.release()
	if _, err := os.Lstat(lock); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("not released: %v", err)
	}
}

func deadPid(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "exit 0")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

const rounds = 60

// TestMain lets the test program be a deliverer in a process of its own.
func TestMain(m *testing.M) {
	path := os.Getenv("MAILBOX_TEST_DELIVER")
	if path == "" {
		os.Exit(m.Run())
	}
	for i := range rounds {
		box, err := Open(context.Background(), path, me(), Options{})
		if err == nil {
			text := fmt.Sprintf("From %d %d\n%s\n\n", os.Getpid(), i, strings.Repeat("x", 70<<10))
			err = errors.Join(appendString(box, text), box.Close())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(0)
}

// Two processes deliver while this one, as a reader does, takes the mail away under lock.
func TestConcurrent(t *testing.T) {
	path := newBox(t, "")
	var procs []*exec.Cmd
	for range 2 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "MAILBOX_TEST_DELIVER="+path)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		procs = append(procs, cmd)
	}
	done := make(chan error, 1)
	go func() { done <- errors.Join(procs[0].Wait(), procs[1].Wait()) }()
	var all bytes.Buffer
	for running := true; running; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		default:
		}
		m := mustOpen(t, path, Options{})
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
		if err := m.f.Truncate(0); err != nil {
			t.Fatal(err)
		}
		m.Close()
	}
	messages := strings.Split(all.String(), "From ")[1:]
	if len(messages) != 2*rounds {
		t.Errorf("%d messages, want %d", len(messages), 2*rounds)
	}
	seen := map[string]bool{}
	for _, m := range messages {
		head, body, _ := strings.Cut(m, "\n")
		if seen[head] || body != strings.Repeat("x", 70<<10)+"\n\n" {
			t.Errorf("message %q doubled or damaged", head)
		}
		seen[head] = true
	}
}
