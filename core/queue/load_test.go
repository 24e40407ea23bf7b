package queue

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/compat/filelock"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/trace"
)

// lines keeps what is logged.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Log(_ trace.Level, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
}

func (l *lines) has(word string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.all, func(s string) bool { return strings.Contains(s, word) })
}

// spool gives a spool with one message of two envelopes in files, and closes it.
func spool(t *testing.T) (dir string, m *Message) {
	t.Helper()
	dir = t.TempDir()
	s := openAt(t, dir)
	m = commit(t, s, []byte("body\n"), 2)
	closeStore(t, s)
	return dir, m
}

func exists(t *testing.T, dir, name string) bool {
	t.Helper()
	_, err := os.Lstat(filepath.Join(dir, name))
	return err == nil
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestUnreadable(t *testing.T) {
	good := func(t *testing.T, m *Message) string {
		b, err := m.Envelopes[0].AppendText(nil)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for name, bad := range map[string]func(t *testing.T, m *Message) string{
		"empty":   func(*testing.T, *Message) string { return "" },
		"huge":    func(*testing.T, *Message) string { return strings.Repeat("x: y\n", envelope.MaxText) },
		"binary":  func(*testing.T, *Message) string { return "\x01\x02\x03" },
		"cut":     func(t *testing.T, m *Message) string { return good(t, m)[:40] },
		"doubled": func(t *testing.T, m *Message) string { return good(t, m) + "retry: 1\n" },
	} {
		t.Run(name, func(t *testing.T) {
			dir, m := spool(t)
			evp := m.Envelopes[0].ID
			write(t, dir, envelopeFile(evp), bad(t, m))
			var log lines
			s, err := OpenFS(dir, Options{}, trace.New(&log))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if all := loads(t, s); len(all) != 1 || all[m.Envelopes[1].ID] == nil {
				t.Errorf("loaded %v", all)
			}
			for _, file := range []string{evp.String(), evp.String() + reasonSuffix, m.ID.String() + ".message"} {
				if !exists(t, dir, corruptDir+"/"+file) {
					t.Errorf("corrupt has no %s", file)
				}
			}
			if exists(t, dir, envelopeFile(evp)) || !log.has(evp.String()) {
				t.Error("it is still there, or nobody was told")
			}
			if err := s.Apply([]Change{{Op: Remove, ID: m.Envelopes[1].ID}}); err != nil {
				t.Fatal(err)
			}
			flush(t, s)
			if exists(t, dir, messageDir(m.ID)) {
				t.Error("the message stays without envelopes")
			}
		})
	}
}

func TestIncomplete(t *testing.T) {
	t.Run("no message", func(t *testing.T) {
		dir, m := spool(t)
		os.Remove(filepath.Join(dir, messageFile(m.ID)))
		if all := loads(t, openAt(t, dir)); len(all) > 0 {
			t.Errorf("loaded %v", all)
		}
		if !exists(t, dir, corruptDir+"/"+m.Envelopes[0].ID.String()) || exists(t, dir, messageDir(m.ID)) {
			t.Error("not moved")
		}
	})
	t.Run("no envelopes", func(t *testing.T) {
		dir, m := spool(t)
		for _, e := range m.Envelopes {
			os.Remove(filepath.Join(dir, envelopeFile(e.ID)))
		}
		loads(t, openAt(t, dir))
		if !exists(t, dir, corruptDir+"/"+m.ID.String()+"/message") || exists(t, dir, messageDir(m.ID)) {
			t.Error("not moved")
		}
	})
	t.Run("foreign names", func(t *testing.T) {
		dir, m := spool(t)
		write(t, dir, messageDir(m.ID)+"/notes", "mine")
		write(t, dir, messageDir(m.ID)+"/0000000100000001", "of another message")
		write(t, dir, queueDir+"/README", "mine")
		write(t, dir, journalDir+"/README", "mine")
		s := openAt(t, dir)
		if all := loads(t, s); len(all) != 2 {
			t.Errorf("loaded %v", all)
		}
		for _, e := range m.Envelopes {
			if err := s.Apply([]Change{{Op: Remove, ID: e.ID}}); err != nil {
				t.Fatal(err)
			}
		}
		flush(t, s)
		if !exists(t, dir, corruptDir+"/"+m.ID.String()+"/notes") || exists(t, dir, messageDir(m.ID)) {
			t.Error("foreign files are lost or in the way")
		}
	})
}

func TestFutureTimes(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir)
	m := &Message{ID: reserve(t, s), Body: []byte("x"), Envelopes: []*envelope.Envelope{testEnvelope(0, 1)}}
	m.Envelopes[0].Created = time.Now().Add(50 * 365 * 24 * time.Hour)
	m.Envelopes[0].LastTry = m.Envelopes[0].Created
	if err := s.Commit(m); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	for _, e := range loads(t, openAt(t, dir)) {
		if now := time.Now(); e.Created.After(now) || e.LastTry.After(now) || now.Sub(e.Created) > time.Hour {
			t.Errorf("created %v, last try %v", e.Created, e.LastTry)
		}
	}
}

func TestLoadStops(t *testing.T) {
	dir, _ := spool(t)
	enough := errors.New("enough")
	if err := openAt(t, dir).Load(func(*envelope.Envelope) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("Load: %v", err)
	}
}

// TestLoadWhileWorking commits, removes and writes out in the callback of Load.
func TestLoadWhileWorking(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir)
	old := make(map[envelope.ID]bool)
	for range 40 {
		old[commit(t, s, []byte("old\n"), 1).Envelopes[0].ID] = true
	}
	closeStore(t, s)
	s = openAt(t, dir)
	err := s.Load(func(e *envelope.Envelope) error {
		if !old[e.ID] {
			t.Errorf("%v was loaded twice or is new", e.ID)
		}
		delete(old, e.ID)
		if err := s.Apply([]Change{{Op: Remove, ID: e.ID}}); err != nil {
			return err
		}
		commit(t, s, []byte("new\n"), 1)
		return s.flush()
	})
	if err != nil || len(old) > 0 {
		t.Errorf("%d not loaded, %v", len(old), err)
	}
}

func TestDiscover(t *testing.T) {
	from, m := spool(t)
	to := t.TempDir()
	s := openAt(t, to)
	loads(t, s)
	if _, err := s.Discover(m.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("before it is there: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(to, bucket(m.ID)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(from, messageDir(m.ID)), filepath.Join(to, messageDir(m.ID))); err != nil {
		t.Fatal(err)
	}
	found, err := s.Discover(m.ID)
	if err != nil || len(found) != 2 {
		t.Fatalf("found %d, %v", len(found), err)
	}
	has(t, s, m, []byte("body\n"))
	if again, err := s.Discover(m.ID); err != nil || len(again) != 2 {
		t.Errorf("found %d again, %v", len(again), err)
	}
	e := testEnvelope(envelope.NewID(m.ID, 77), 3)
	write(t, to, envelopeFile(e.ID), plain(e))
	if found, err := s.Discover(m.ID); err != nil || len(found) != 3 {
		t.Errorf("with the new one: %v, %v", found, err)
	}
	write(t, to, messageDir(m.ID)+"/"+envelope.NewID(m.ID, 78).String(), "rubbish")
	if _, err := s.Discover(m.ID); err == nil {
		t.Error("rubbish was discovered")
	}
}

func TestSpool(t *testing.T) {
	s := openAt(t, t.TempDir())
	dir := s.disk.(*osDisk).root.Name()
	for _, name := range []string{journalDir, queueDir, incomingDir, corruptDir} {
		fi, err := os.Stat(filepath.Join(dir, name))
		if err != nil || fi.Mode() != fs.ModeDir|0o700 {
			t.Errorf("%s: %v, %v", name, fi, err)
		}
	}
	closeStore(t, s)
	for name, spoil := range map[string]func(dir string) error{
		"others write":     func(dir string) error { return os.Chmod(dir, 0o777) },
		"group writes":     func(dir string) error { return os.Chmod(filepath.Join(dir, queueDir), 0o770) },
		"file":             func(dir string) error { return swap(filepath.Join(dir, journalDir), "") },
		"link":             func(dir string) error { return swap(filepath.Join(dir, journalDir), "/tmp") },
		"does not exist":   func(dir string) error { return os.RemoveAll(dir) },
		"two same numbers": twoSegments,
	} {
		dir := t.TempDir()
		closeStore(t, openAt(t, dir))
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		if s, err := OpenFS(dir, Options{}, nil); err == nil {
			s.Close()
			t.Errorf("%s: opened", name)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error of several lines: %v", name, err)
		}
	}
}

func swap(name, link string) error {
	if err := os.Remove(name); err != nil {
		return err
	}
	if link != "" {
		return os.Symlink(link, name)
	}
	return os.WriteFile(name, nil, 0o600)
}

func twoSegments(dir string) error {
	for _, name := range []string{"0000000001-0123456789abcdef", "0000000001-1123456789abcdef"} {
		if err := os.WriteFile(filepath.Join(dir, journalDir, name), nil, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func TestForeignOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a directory away")
	}
	dir := t.TempDir()
	closeStore(t, openAt(t, dir))
	if err := os.Chown(filepath.Join(dir, queueDir), 12345, -1); err != nil {
		t.Fatal(err)
	}
	if s, err := OpenFS(dir, Options{}, nil); err == nil {
		s.Close()
		t.Error("a queue of somebody else was opened")
	}
}

// TestRotation fills segments: they go, and the mail stays.
func TestRotation(t *testing.T) {
	d := newMemDisk()
	s, err := open(d, Options{SegmentSize: 4096}, nil)
	if err != nil {
		t.Fatal(err)
	}
	loads(t, s)
	var all []*Message
	for range 20 {
		all = append(all, commit(t, s, bytes.Repeat([]byte("x"), 1000), 1))
	}
	if err := s.writeOut(); err != nil {
		t.Fatal(err)
	}
	if names, _ := d.ReadDir(journalDir); len(names) > 1 {
		t.Errorf("segments stay: %v", names)
	}
	for _, m := range all {
		has(t, s, m, bytes.Repeat([]byte("x"), 1000))
	}
	closeStore(t, s)
}

// TestLoadGoesOn fails to read one thing, for a time or for good: all other mail is given, once.
func TestLoadGoesOn(t *testing.T) {
	for name, c := range map[string]struct {
		op     string
		name   func(m *Message) string
		rest   int // envelopes that are given when it fails for good
		tries  int // reads of the first attempt; 0: all until the files are read
		change bool
	}{
		"envelope":              {"read", func(m *Message) string { return envelopeFile(m.Envelopes[0].ID) }, 6, 1, false},
		"message":               {"readdir", func(m *Message) string { return messageDir(m.ID) }, 6, 1, false},
		"bucket":                {"readdir", func(m *Message) string { return bucket(m.ID) }, 6, 1, false},
		"envelope in journal":   {"read", func(m *Message) string { return envelopeFile(m.Envelopes[0].ID) }, 7, 0, true},
		"look at the text file": {"lstat", func(m *Message) string { return messageFile(m.ID) }, 6, 1, true},
	} {
		for _, forGood := range []bool{false, true} {
			d := newMemDisk()
			s := openMem(t, d)
			var all []*Message
			for i := range 4 {
				m := &Message{ID: envelope.MessageID(i+1) << 24, Body: []byte("body\n"),
					Envelopes: []*envelope.Envelope{testEnvelope(0, 1), testEnvelope(0, 2)}}
				if err := s.Commit(m); err != nil {
					t.Fatal(err)
				}
				all = append(all, m)
			}
			flush(t, s)
			if c.change {
				if err := s.Apply([]Change{{Op: Update, Envelope: all[1].Envelopes[1]}}); err != nil {
					t.Fatal(err)
				}
			}
			d = d.crashed(func() bool { return true })
			s = openMem(t, d)
			bad, seen, files := c.name(all[1]), 0, false
			d.refuseIf(func(op, name string) error {
				files = files || op == "readdir" && name == queueDir
				if op != c.op || name != bad {
					return nil
				}
				seen++
				if over := c.tries > 0 && seen > c.tries || c.tries == 0 && files; over && !forGood {
					return nil
				}
				return &fs.PathError{Op: op, Path: name, Err: errFault}
			})
			want := 8
			if forGood {
				want = c.rest
			}
			if got := loads(t, s); len(got) != want || seen == 0 {
				t.Errorf("%s, for good %t: %d envelopes, %d failures", name, forGood, len(got), seen)
			}
			again := 0
			count := func(*envelope.Envelope) error { again++; return nil }
			if err := s.LoadAgain(count); err != nil || again > 0 || forGood != (s.Unread() > 0) {
				t.Errorf("%s, for good %t: %d envelopes when it is tried again, %d are left, %v", name, forGood, again, s.Unread(), err)
			}
			d.refuseIf(nil)
			if err := s.LoadAgain(count); err != nil || again != 8-want || s.Unread() > 0 {
				t.Errorf("%s, for good %t: %d envelopes when it can be read, %d are left, %v", name, forGood, again, s.Unread(), err)
			}
			closeStore(t, s)
			if got := loads(t, openMem(t, d)); len(got) != 8 {
				t.Errorf("%s, for good %t: %d envelopes after the next start", name, forGood, len(got))
			}
		}
	}
}

// TestLoadPlainFiles finds files where directories should be.
func TestLoadPlainFiles(t *testing.T) {
	dir, m := spool(t)
	write(t, dir, messageDir(m.ID^1), "a file")
	write(t, dir, bucket(m.ID^1<<31), "a file")
	if all := loads(t, openAt(t, dir)); len(all) != 2 {
		t.Errorf("loaded %v", all)
	}
	if !exists(t, dir, messageDir(m.ID^1)) {
		t.Error("the file is gone")
	}
}

// TestLoadClosed closes the store while it is loaded.
func TestLoadClosed(t *testing.T) {
	d := newMemDisk()
	s := openMem(t, d)
	for range 3 {
		commit(t, s, []byte("body\n"), 1)
	}
	closeStore(t, s)
	s = openMem(t, d)
	d.refuseIf(func(op, name string) error {
		if op == "readdir" && name != queueDir && s.isClosed() {
			return errFault
		}
		return nil
	})
	closeStore(t, s)
	if err := s.Load(func(*envelope.Envelope) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("Load of a closed store: %v", err)
	}
}

// TestLock opens a spool twice.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir)
	var held *filelock.HeldError
	if _, err := OpenFS(dir, Options{}, nil); !errors.As(err, &held) || held.PID != os.Getpid() {
		t.Errorf("opened twice: %v", err)
	}
	if err := s.Halt(); err != nil {
		t.Fatal(err)
	}
	closeStore(t, openAt(t, dir))
}
