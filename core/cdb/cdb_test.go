package cdb

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// build writes records, given as key, value, key, value, into a file and gives its octets.
func build(t testing.TB, records ...string) []byte {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "x.cdb"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := NewWriter(f)
	for i := 0; err == nil && i < len(records); i += 2 {
		err = w.Add([]byte(records[i]), []byte(records[i+1]))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func open(t testing.TB, data []byte) *Reader {
	t.Helper()
	r, err := NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 2, 300, 20000} {
		var records []string
		for i := range n {
			records = append(records, fmt.Sprintf("key %d", i), fmt.Sprintf("value %d", i*i))
		}
		r := open(t, build(t, records...))
		for i := 0; i < len(records); i += 2 {
			place, found, err := r.Find([]byte(records[i]))
			if err != nil || !found {
				t.Fatalf("%d records: %q: %t, %v", n, records[i], found, err)
			}
			if k, v, err := r.At(place); string(k) != records[i] || string(v) != records[i+1] || err != nil {
				t.Fatalf("%d records: %q, %q, %v", n, k, v, err)
			}
		}
		if _, found, err := r.Find([]byte("key")); found || err != nil {
			t.Errorf("%d records: a key that is not there: %t, %v", n, found, err)
		}
		i := 0
		for place := uint32(0); ; i += 2 {
			record, after, found, err := r.Next(place)
			if err != nil {
				t.Fatal(err)
			}
			if !found {
				break
			}
			if k, _, _ := r.At(record); string(k) != records[i] {
				t.Fatalf("%d records: record %d is %q", n, i/2, k)
			}
			place = after
		}
		if i != len(records) {
			t.Errorf("%d records: Next gave %d", n, i/2)
		}
	}
}

func TestOddRecords(t *testing.T) {
	r := open(t, build(t, "", "empty key", "empty value", "", "", "", "twice", "1", "twice", "2", "nul\x00", "\x00"))
	for key, want := range map[string]string{"": "empty key", "empty value": "", "twice": "1", "nul\x00": "\x00"} {
		place, found, err := r.Find([]byte(key))
		if !found || err != nil {
			t.Errorf("%q: %t, %v", key, found, err)
			continue
		}
		if _, v, err := r.At(place); string(v) != want || err != nil {
			t.Errorf("%q is %q, %v", key, v, err)
		}
	}
}

// The octets of the format, counted by hand: other programs have to read them.
func TestFormat(t *testing.T) {
	data := build(t, "one", "Hello")
	h := hash([]byte("one"))
	if h != 193420161 { // ((5381*33^'o')*33^'n')*33^'e'
		t.Errorf("hash is %d", h)
	}
	if len(data) != 2048+8+3+5+16 || string(data[2048:2064]) != "\x03\x00\x00\x00\x05\x00\x00\x00oneHello" {
		t.Errorf("%d octets, record %q", len(data), data[2048:])
	}
	if place, slots := pair(data[8*(h&255):]); place != 2064 || slots != 2 {
		t.Errorf("table at %d with %d slots", place, slots)
	}
	if have, place := pair(data[2064+8*(h>>8%2):]); have != h || place != 2048 {
		t.Errorf("slot %d, %d", have, place)
	}
}

func TestTooLarge(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "x.cdb"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := NewWriter(f)
	if err != nil {
		t.Fatal(err)
	}
	w.most = HeaderSize + 2*(8+4+16)
	for i, want := range []error{nil, nil, ErrTooLarge} {
		if err := w.Add([]byte("ke"), []byte("va")); !errors.Is(err, want) {
			t.Errorf("record %d: %v", i, err)
		}
	}
	if err := w.Close(); err != nil || w.place > w.most {
		t.Errorf("%v, %d octets", err, w.place)
	}
	if w.Add(make([]byte, MaxRecord+1), nil) == nil || w.Add(nil, make([]byte, MaxRecord+1)) == nil {
		t.Error("a long record was taken")
	}
}

func TestDamaged(t *testing.T) {
	good := build(t, "one", "Hello", "two", "Goodbye")
	for name, change := range map[string]func([]byte) []byte{
		"short":        func(b []byte) []byte { return b[:HeaderSize-1] },
		"cut":          func(b []byte) []byte { return b[:len(b)-9] },
		"end":          func(b []byte) []byte { putPair(b, 7, 0); return b },
		"key length":   func(b []byte) []byte { putPair(b[HeaderSize:], 1<<31, 5); return b },
		"value length": func(b []byte) []byte { putPair(b[HeaderSize:], 3, 1<<31); return b },
		"table": func(b []byte) []byte {
			putPair(b[8*(hash([]byte("one"))&255):], uint32(len(b)), 1<<30)
			return b
		},
	} {
		data := change(bytes.Clone(good))
		r, err := NewReader(bytes.NewReader(data), int64(len(data)))
		if err == nil {
			_, _, err = r.Find([]byte("one"))
			if err == nil {
				_, _, err = r.Find([]byte("two"))
			}
		}
		if !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(build(f, "one", "Hello", "two", "Goodbye"), "one")
	f.Add(build(f), "")
	f.Add(build(f, "", ""), "")
	f.Fuzz(func(t *testing.T, data []byte, key string) {
		r, err := NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		if place, found, err := r.Find([]byte(key)); err == nil && found {
			if k, _, err := r.At(place); err == nil && string(k) != key {
				t.Fatalf("found %q for %q", k, key)
			}
		}
		for place := uint32(0); ; {
			record, after, found, err := r.Next(place)
			if err != nil || !found {
				return
			}
			if after <= place {
				t.Fatal("Next does not go on")
			}
			_, _, _ = r.At(record)
			place = after
		}
	})
}

func BenchmarkFind(b *testing.B) {
	var records []string
	for i := range 100_000 {
		records = append(records, fmt.Sprintf("user%d@example.org", i), "x")
	}
	path := filepath.Join(b.TempDir(), "b.cdb")
	if err := os.WriteFile(path, build(b, records...), 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	fi, _ := f.Stat()
	r, err := NewReader(f, fi.Size())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, found, _ := r.Find([]byte("user77777@example.org")); !found {
			b.Fatal("not found")
		}
	}
}
