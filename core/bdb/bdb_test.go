package bdb

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The files in testdata were made by Berkeley DB 1.85 and 5.3. Their names say type and
// version, byte order, and whether there are long items, checksums, or many values of one
// key.

func read(data []byte) (map[string][]string, error) {
	got := make(map[string][]string)
	err := Read(bytes.NewReader(data), int64(len(data)), func(k, v []byte) error {
		key := string(bytes.TrimSuffix(k, []byte{0}))
		got[key] = append(got[key], string(bytes.TrimSuffix(v, []byte{0})))
		return nil
	})
	return got, err
}

func testFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestRead(t *testing.T) {
	plain := make(map[string]string)
	for i := range 40 {
		plain[fmt.Sprintf("user%d@example.org", i)] = fmt.Sprintf("alias%d, other@example.net", i)
	}
	long := map[string]string{"long value": strings.Repeat("v", 3000), strings.Repeat("k", 700): "long key",
		strings.Repeat("K", 900): strings.Repeat("w", 5000)}
	names, err := filepath.Glob("testdata/*.db")
	if err != nil || len(names) < 13 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		if strings.Contains(name, "twice") || strings.Contains(name, "many") {
			continue
		}
		want := map[string]string{}
		for k, v := range plain {
			want[k] = v
		}
		if strings.Contains(name, "long") {
			for k, v := range long {
				want[k] = v
			}
		}
		got, err := read(testFile(t, name))
		if err != nil || len(got) != len(want) {
			t.Errorf("%s: %d records, %v", name, len(got), err)
		}
		for k, v := range want {
			if len(got[k]) != 1 || got[k][0] != v {
				t.Errorf("%s: %.30q is %.60q", name, k, got[k])
			}
		}
	}
}

// The first value of a key is what a look-up finds.
func TestTwice(t *testing.T) {
	for _, name := range []string{"btree3-little-twice", "btree9-little-twice", "hash9-little-twice"} {
		got, err := read(testFile(t, "testdata/"+name+".db"))
		if err != nil || len(got) != 2 || len(got["a"]) == 0 || got["a"][0] == got["b"][0] || got["b"][0] != "3" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := read(testFile(t, "testdata/btree9-many.db")); !errors.Is(err, errKind) {
		t.Errorf("many values: %v", err)
	}
}

func TestIs(t *testing.T) {
	for _, name := range []string{"hash2-big-long", "btree3-big", "hash9-big-long", "btree9-little-long"} {
		if !Is(testFile(t, "testdata/"+name+".db")[:HeadSize]) {
			t.Errorf("%s is not known", name)
		}
	}
	if Is(make([]byte, HeadSize)) || Is([]byte("alice: bob\nbob: carol\n")) {
		t.Error("another file is taken for one of Berkeley DB")
	}
}

func TestRefused(t *testing.T) {
	good := testFile(t, "testdata/hash9-little-long.db")
	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   error
	}{
		"version":     {func(b []byte) []byte { b[16] = 5; return b }, errKind},
		"encrypted":   {func(b []byte) []byte { b[24] = 1; return b }, errKind},
		"page size":   {func(b []byte) []byte { b[20] = 3; return b }, errDamaged},
		"cut off":     {func(b []byte) []byte { return b[:50] }, errDamaged},
		"text":        {func([]byte) []byte { return []byte("# a comment and\nalice: bob\n") }, errKind},
		"empty":       {func([]byte) []byte { return nil }, errDamaged},
		"item offset": {func(b []byte) []byte { b[512+26] = 0xff; b[512+27] = 0xff; return b }, errDamaged},
	} {
		if _, err := read(c.change(bytes.Clone(good))); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	stop := errors.New("stop")
	if err := Read(bytes.NewReader(good), int64(len(good)), func(_, _ []byte) error { return stop }); err != stop {
		t.Errorf("the reading goes on: %v", err)
	}
}

// Long items that all lie in the same pages must not make the work grow out of bounds.
func TestCircles(t *testing.T) {
	for _, name := range []string{"btree3-little-long", "btree9-little-long", "hash2-little-long"} {
		good := testFile(t, "testdata/"+name+".db")
		for page := 512; page+512 <= len(good); page += 512 {
			data := bytes.Clone(good)
			copy(data[page+8:], []byte{1, 0, 0, 0}) // the next page, of version 1
			copy(data[page+16:], []byte{1, 0, 0, 0})
			_, _ = read(data) // an end is all that is asked for
		}
	}
}

func FuzzRead(f *testing.F) {
	names, _ := filepath.Glob("testdata/*.db")
	for _, name := range names {
		f.Add(testFile(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n := 0
		_ = Read(bytes.NewReader(data), int64(len(data)), func(_, _ []byte) error {
			n++
			return nil
		})
		if n > 4*len(data) {
			t.Errorf("%d records from %d octets", n, len(data))
		}
	})
}
