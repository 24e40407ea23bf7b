package table

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/config"
)

// wheel is a table that can only be asked for the next entry, as a program is.
type wheel struct {
	Table
	values []string
	next   int
	err    error
}

func (w *wheel) Fetch(context.Context, Service) (string, bool, error) {
	if w.err != nil || len(w.values) == 0 {
		return "", false, w.err
	}
	w.next++
	return w.values[w.next%len(w.values)], true, nil
}

func TestList(t *testing.T) {
	broken := errors.New("broken")
	set, err := NewSet([]config.Table{
		{Name: "static", Backend: "static", Kind: config.ListKind, Entries: []config.Entry{{Key: "c"}, {Key: "a"}, {Key: "b"}, {Key: "a"}}},
		{Name: "none", Backend: "static"}, {Name: "turns", Backend: "p"}, {Name: "empty", Backend: "p"}, {Name: "broken", Backend: "p"},
	}, Sources{Open: func(t config.Table) (Table, error) {
		switch t.Name {
		case "turns":
			return &wheel{values: []string{"c", "a", "b"}}, nil
		case "broken":
			return &wheel{err: broken}, nil
		}
		return &wheel{}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		most int
		want string
		err  error
	}{
		{"static", 10, "a b c", nil}, {"static", 2, "a b", nil}, {"none", 10, "", nil},
		{"turns", 10, "a b c", nil}, {"turns", 2, "a b", nil}, {"empty", 10, "", nil}, {"broken", 10, "", broken},
	} {
		set.tables["turns"].(*wheel).next = 0
		got, err := set.List(t.Context(), tt.name, Source, tt.most)
		if strings.Join(got, " ") != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s, %d: %q, %v", tt.name, tt.most, got, err)
		}
	}
	if _, err := set.List(t.Context(), "missing", Source, 1); err == nil {
		t.Error("a missing table is listed")
	}
}

// A file whose entries do not fit the service is refused at load, and later the old content stays.
func TestValidEntries(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t")
	write := func(s string) {
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("good\nbad\n")
	src := Sources{Valid: func(service Service, key, _ string) error {
		if service == Source && key == "bad" {
			return errors.New("bad entry")
		}
		return nil
	}}
	set, err := NewSet([]config.Table{{Name: "t", Backend: "file", Path: path}}, src)
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Prepare("t", String); err != nil {
		t.Errorf("another service: %v", err)
	}
	if err := set.Prepare("t", Source); err == nil || err.Error() != path+":2: bad entry" {
		t.Errorf("bad entry: %v", err)
	}
	write("good\n")
	if err := set.Reload(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	write("new\nbad\n")
	if err := set.Reload(t.Context(), "t"); err == nil {
		t.Error("a bad entry was taken")
	}
	if got, err := set.List(t.Context(), "t", Source, 9); err != nil || !slices.Equal(got, []string{"good"}) {
		t.Errorf("after a refused reload: %q, %v", got, err)
	}
}
