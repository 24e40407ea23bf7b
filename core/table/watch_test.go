package table

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/compat/owner"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/trace"
)

// said keeps what is logged.
type said struct {
	mu  sync.Mutex
	all []string
}

func (s *said) Log(_ trace.Level, line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, line)
}

// take gives what was logged since the last time.
func (s *said) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.all
	s.all = nil
	return all
}

// watched is a table in a file that is looked at when the test says so.
func watched(t *testing.T, text string, open func(string) (*os.File, error)) (*file, *said) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "t")
	put(t, path, text)
	log := new(said)
	logger := trace.New(log)
	logger.SetVerbose(true)
	src := Sources{OpenFile: open, Log: logger}
	tab, err := src.open(config.Table{Name: "t", Backend: "file", Path: path})
	if err == nil {
		err = tab.Prepare(Alias)
	}
	if err != nil {
		t.Fatal(err)
	}
	return tab.(*file), log
}

func (f *file) expect(t *testing.T, want string) {
	t.Helper()
	if got, _, err := f.held.Lookup(t.Context(), Alias, "alice"); got != want || err != nil {
		t.Errorf("alice is %q, %v, want %q", got, err, want)
	}
}

func (f *file) steps(t *testing.T, want ...bool) {
	t.Helper()
	for i, w := range want {
		if again := f.step(); again != w {
			t.Errorf("look %d: again %t, want %t", i+1, again, w)
		}
	}
}

func TestWatch(t *testing.T) {
	f, log := watched(t, "alice: bob\n", owner.Open)
	f.steps(t, false, false)
	put(t, f.path, "alice: carol, and what follows is not written yet\n")
	f.steps(t, true)
	f.expect(t, "bob")
	put(t, f.path, "alice: carol\n")
	f.steps(t, true) // it has changed again: not before it is left alone
	f.expect(t, "bob")
	f.steps(t, false, false)
	f.expect(t, "carol")
	if got := log.take(); !slices.Equal(got, []string{`debug: table "t": read ` + f.path + " again"}) {
		t.Errorf("log %q", got)
	}
}

// A file with the same size and times takes the place of the first, in a future that the
// clock may never reach.
func TestWatchRename(t *testing.T) {
	f, _ := watched(t, "alice: bob\n", owner.Open)
	future := time.Now().Add(100 * 365 * 24 * time.Hour)
	for _, name := range []string{"eve", "zoe"} {
		put(t, f.path+".new", "alice: "+name+"\n")
		if err := os.Chtimes(f.path+".new", future, future); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(f.path+".new", f.path); err != nil {
			t.Fatal(err)
		}
		f.steps(t, true, false)
		f.expect(t, name)
	}
}

func TestWatchErrors(t *testing.T) {
	f, log := watched(t, "alice: bob\n", owner.Open)
	put(t, f.path, "alice: carol\nbroken\n")
	f.steps(t, true, false, false, false)
	want := []string{`warn: table "t" keeps its old contents: ` + f.path + ":2: invalid map entry"}
	if got := log.take(); !slices.Equal(got, want) {
		t.Errorf("log %q", got)
	}
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	f.steps(t, false, false)
	if got := log.take(); len(got) != 1 || !strings.HasPrefix(got[0], `warn: table "t" keeps its old contents: open `+f.path) {
		t.Errorf("log %q", got)
	}
	f.expect(t, "bob")
	put(t, f.path, "alice: dave\n")
	f.steps(t, true, false)
	f.expect(t, "dave")
	log.take()
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	f.steps(t, false)
	if got := log.take(); len(got) != 1 {
		t.Errorf("removed a second time: log %q", got)
	}
}

// What may not be looked at by its name is opened for us.
func TestWatchThroughOpen(t *testing.T) {
	hidden := ""
	f, _ := watched(t, "alice: bob\n", func(path string) (*os.File, error) {
		if hidden != "" {
			path = hidden
		}
		return owner.Open(path)
	})
	hidden = f.path + ".hidden"
	put(t, hidden, "alice: carol\n")
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	f.steps(t, true, false)
	f.expect(t, "carol")
}

// Those who ask make the table look, once in a while, and do not wait for it.
func TestLook(t *testing.T) {
	opened := make(chan struct{}, 10)
	f, _ := watched(t, "alice: bob\n", func(path string) (*os.File, error) {
		opened <- struct{}{}
		return owner.Open(path)
	})
	<-opened
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Lookup(t.Context(), Alias, "alice"); err != nil || len(opened) != 0 {
		t.Errorf("looked too early: %v", err)
	}
	for _, ask := range []func() error{
		func() error { _, _, err := f.Lookup(t.Context(), Alias, "alice"); return err },
		func() error { _, err := f.Match(t.Context(), Alias, "alice"); return err },
		func() error { _, _, err := f.Fetch(t.Context(), Alias); return err },
		func() error { _, err := f.list(Alias); return err },
	} {
		f.due.Store(0)
		if err := ask(); err != nil {
			t.Error(err)
		}
		<-opened
	}
}

// Look-ups go on while the contents are exchanged.
func TestReloadMeanwhile(t *testing.T) {
	f, _ := watched(t, "alice: bob\n", owner.Open)
	stop, failed := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(failed)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if v, ok, err := f.Lookup(t.Context(), Alias, "alice"); err != nil || !ok || v != "bob" {
				failed <- errors.Join(err, errors.New("found "+v))
				return
			}
		}
	}()
	for range 200 {
		if err := f.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := <-failed; err != nil {
		t.Error(err)
	}
}

// A set takes over what the one before it has read.
func TestBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t")
	put(t, path, "alice: bob\n")
	var set *Set
	next := func(backend string) *contents {
		t.Helper()
		s, err := NewSet([]config.Table{{Name: "t", Backend: backend, Path: path}}, Sources{Before: set})
		if err != nil {
			t.Fatal(err)
		}
		set = s
		return s.tables["t"].(*file).now.Load()
	}
	first := next("file")
	if next("file") != first {
		t.Error("read again without need")
	}
	put(t, path, "alice: carol\n")
	old := set.tables["t"].(*file)
	second := next("file")
	if second == first {
		t.Error("a changed file is not read")
	}
	if old.now.Load() != second {
		t.Error("the set before does not share what was read")
	}
	old.expect(t, "carol")
	if old.before.Load() == nil {
		t.Error("the set before that is forgotten")
	}
	next("file")
	if old.before.Load() != nil {
		t.Error("more than two older tables are kept")
	}
	// The set before needs what the new contents cannot serve: it keeps its own.
	if err := set.Prepare("t", Alias); err != nil {
		t.Fatal(err)
	}
	old, second = set.tables["t"].(*file), set.tables["t"].(*file).now.Load()
	put(t, path, "alice\n")
	next("file")
	if old.now.Load() != second {
		t.Error("a list serves alias")
	}
	put(t, path, "alice: carol\n")
	if _, err := NewSet([]config.Table{{Name: "t", Backend: "db", Path: path}}, Sources{Before: set}); err == nil {
		t.Error("a file of lines is taken for a database")
	}
}
