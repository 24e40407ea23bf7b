package table

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/cdb"
	"github.com/godwit-mta/godwit/core/config"
)

// makeDB writes a constant database from key=value;...
func makeDB(t testing.TB, path, entries string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := cdb.NewWriter(f)
	for e := range strings.SplitSeq(entries, ";") {
		key, value, _ := strings.Cut(e, "=")
		if err == nil && e != "" {
			err = w.Add([]byte(strings.ToLower(key)), []byte(value))
		}
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// dbSet has the table t, which is a database.
func dbSet(t testing.TB, entries string) (*Set, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "t.db")
	makeDB(t, path, entries)
	set, err := NewSet([]config.Table{{Name: "t", Backend: "db", Path: path}}, Sources{Facts: Facts{SubAddrDelim: "+"}})
	if err != nil {
		t.Fatal(err)
	}
	return set, path
}

func TestDB(t *testing.T) {
	set, path := dbSet(t, "alice=bob # a comment;x=y")
	for service, want := range map[Service]string{Alias: "bob # a comment", Credentials: "bob # a comment"} {
		if got, ok, err := set.Lookup(t.Context(), "t", service, "ALICE"); got != want || !ok || err != nil {
			t.Errorf("%s: %q, %t, %v", service, got, ok, err)
		}
	}
	var turns string
	for range 3 {
		key, _, err := set.Fetch(t.Context(), "t", Source)
		if err != nil {
			t.Fatal(err)
		}
		turns += key + " "
	}
	if turns != "alice x alice " {
		t.Errorf("fetched %q", turns)
	}
	if got, err := set.List(t.Context(), "t", Source, 9); err != nil || strings.Join(got, " ") != "alice x" {
		t.Errorf("listed %q, %v", got, err)
	}
	makeDB(t, path+".new", "alice=carol")
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if err := set.Reload(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	if got, _, err := set.Lookup(t.Context(), "t", Alias, "alice"); got != "carol" || err != nil {
		t.Errorf("after a reload: %q, %v", got, err)
	}
	put(t, path, "alice: bob\n")
	err := set.Reload(t.Context(), "t")
	if err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), "makemap(8)") {
		t.Errorf("a text file: %v", err)
	}
}

func TestDBList(t *testing.T) {
	set, _ := dbSet(t, "example.org=;*.example.net=")
	if ok, err := set.Match(t.Context(), "t", Domain, "a.EXAMPLE.net"); !ok || err != nil {
		t.Errorf("%t, %v", ok, err)
	}
	if set.Prepare("t", Alias) == nil {
		t.Error("a list serves alias")
	}
	if _, ok, _ := set.Lookup(t.Context(), "t", String, "example.org"); ok {
		t.Error("a list has values")
	}
}

func TestDBRegex(t *testing.T) {
	set, path := dbSet(t, "^a.c$=;(=")
	if err := set.Prepare("t", Regex); err == nil || !strings.HasPrefix(err.Error(), path+": ") {
		t.Errorf("bad pattern: %v", err)
	}
}

// A large database stays in its file.
func TestDBLarge(t *testing.T) {
	var entries strings.Builder
	for i := range 30000 {
		fmt.Fprintf(&entries, "user%d@example.org=alias%d;", i, i)
	}
	set, path := dbSet(t, entries.String())
	if fi, err := os.Stat(path); err != nil || fi.Size() <= smallDB {
		t.Fatalf("too small for this test: %v", err)
	}
	c := set.tables["t"].(*file).now.Load()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	ref, found, err := c.lookup(Alias, "user29999@example.org")
	if err != nil || !found {
		t.Fatalf("%t, %v", found, err)
	}
	if _, v, err := c.at(ref); v != "alias29999" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
}

// Files that Sendmail, Postfix and OpenSMTPD made; what is in them is said in core/bdb.
func TestBerkeley(t *testing.T) {
	for _, name := range []string{"hash2-little-long", "btree3-little-long", "hash9-big-long", "btree9-big-long"} {
		path := "../bdb/testdata/" + name + ".db"
		set, err := NewSet([]config.Table{{Name: "t", Backend: "db", Path: path}}, Sources{})
		if err == nil {
			err = set.Prepare("t", Alias)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, _, err := set.Lookup(t.Context(), "t", Alias, "User7@Example.org"); got != "alias7, other@example.net" || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	set, err := NewSet([]config.Table{{Name: "t", Backend: "db", Path: "../bdb/testdata/btree9-little-twice.db"}}, Sources{})
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := set.Lookup(t.Context(), "t", Alias, "a"); got != "1" || err != nil {
		t.Errorf("the first of two values is %q, %v", got, err)
	}
}
