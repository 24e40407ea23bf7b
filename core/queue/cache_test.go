package queue

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

// spyDisk counts the envelopes that are read from their files.
type spyDisk struct {
	disk
	reads atomic.Int64
}

func (d *spyDisk) ReadFile(name string, max int) ([]byte, error) {
	if strings.HasPrefix(name, queueDir+"/") {
		d.reads.Add(1)
	}
	return d.disk.ReadFile(name, max)
}

// spyOn opens a spool whose reads are counted.
func spyOn(t *testing.T, dir string) (*FS, *spyDisk) {
	t.Helper()
	if err := prepareSpool(dir); err != nil {
		t.Fatal(err)
	}
	d, err := openDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	spy := &spyDisk{disk: d}
	s, err := open(spy, Options{SegmentAge: time.Hour, cache: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, spy
}

// filed gives a spool with some messages in files and in the cache.
func filed(t *testing.T) (dir string, all []*Message) {
	t.Helper()
	dir = t.TempDir()
	s, _ := spyOn(t, dir)
	for i := range 5 {
		all = append(all, commit(t, s, []byte("body\n"), 1+i%2))
	}
	closeStore(t, s)
	return dir, all
}

// wants compares what a start finds with messages, and counts what it read.
func wants(t *testing.T, dir string, all []*Message, reads int64) {
	t.Helper()
	s, spy := spyOn(t, dir)
	defer s.Close()
	got := loads(t, s)
	n := 0
	for _, m := range all {
		for _, e := range m.Envelopes {
			n++
			if got[e.ID] == nil || plain(got[e.ID]) != plain(e) {
				t.Errorf("envelope %v: %v", e.ID, got[e.ID])
			}
		}
	}
	if len(got) != n || spy.reads.Load() != reads {
		t.Errorf("%d envelopes, want %d; %d reads, want %d", len(got), n, spy.reads.Load(), reads)
	}
}

// edit changes a file of an envelope in place, and the envelope.
func edit(t *testing.T, dir string, e *envelope.Envelope, change func(*envelope.Envelope)) {
	t.Helper()
	change(e)
	write(t, dir, envelopeFile(e.ID), plain(e))
}

// TestCache starts on what a clean stop has left: no file of an envelope is opened.
func TestCache(t *testing.T) {
	dir, all := filed(t)
	wants(t, dir, all, 0)
	s, _ := spyOn(t, dir)
	loads(t, s)
	all[0].Envelopes[0].Retry++
	if err := s.Apply([]Change{{Op: Update, Envelope: all[0].Envelopes[0]}, {Op: Remove, ID: all[2].Envelopes[0].ID}}); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	all = slices.Delete(all, 2, 3)
	wants(t, dir, all, 0)
}

// TestCacheOfOthers changes the queue behind the back of the cache: what is true is found, and the start after that
// knows it again.
func TestCacheOfOthers(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, dir string, all []*Message) []*Message
		reads  int64
	}{
		"edited in place": {func(t *testing.T, dir string, all []*Message) []*Message {
			edit(t, dir, all[0].Envelopes[0], func(e *envelope.Envelope) { e.Retry = 99; e.TTL = time.Hour })
			return all
		}, 1},
		"edited in place, same size and time": {func(t *testing.T, dir string, all []*Message) []*Message {
			e := all[1].Envelopes[0]
			name := filepath.Join(dir, envelopeFile(e.ID))
			was, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			edit(t, dir, e, func(e *envelope.Envelope) { e.Dispatcher = strings.ToUpper(e.Dispatcher) })
			if err := os.Chtimes(name, was.ModTime(), was.ModTime()); err != nil {
				t.Fatal(err)
			}
			return all
		}, 2},
		"edited by an editor that renames": {func(t *testing.T, dir string, all []*Message) []*Message {
			e := all[0].Envelopes[0]
			e.Retry = 77
			write(t, dir, envelopeFile(e.ID)+"~", plain(e))
			if err := os.Rename(filepath.Join(dir, envelopeFile(e.ID)+"~"), filepath.Join(dir, envelopeFile(e.ID))); err != nil {
				t.Fatal(err)
			}
			return all
		}, 1},
		"clock set back": {func(t *testing.T, dir string, all []*Message) []*Message {
			edit(t, dir, all[0].Envelopes[0], func(e *envelope.Envelope) { e.Retry = 5 })
			old := time.Now().Add(-24 * time.Hour)
			if err := os.Chtimes(filepath.Join(dir, envelopeFile(all[0].Envelopes[0].ID)), old, old); err != nil {
				t.Fatal(err)
			}
			return all
		}, 1},
		"one envelope removed": {func(t *testing.T, dir string, all []*Message) []*Message {
			if err := os.Remove(filepath.Join(dir, envelopeFile(all[1].Envelopes[1].ID))); err != nil {
				t.Fatal(err)
			}
			all[1].Envelopes = all[1].Envelopes[:1]
			return all
		}, 1},
		"an envelope added": {func(t *testing.T, dir string, all []*Message) []*Message {
			e := testEnvelope(envelope.NewID(all[0].ID, 7), 3)
			write(t, dir, envelopeFile(e.ID), plain(e))
			all[0].Envelopes = append(all[0].Envelopes, e)
			return all
		}, 2},
		"a message moved away": {func(t *testing.T, dir string, all []*Message) []*Message {
			if err := os.Rename(filepath.Join(dir, messageDir(all[0].ID)), filepath.Join(dir, "away")); err != nil {
				t.Fatal(err)
			}
			return all[1:]
		}, 0},
		"a message put back from a copy": {func(t *testing.T, dir string, all []*Message) []*Message {
			from := filepath.Join(dir, messageDir(all[0].ID))
			if err := os.CopyFS(filepath.Join(dir, "copy"), os.DirFS(from)); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(from); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, "copy"), from); err != nil {
				t.Fatal(err)
			}
			return all
		}, 1},
		"all put back from a copy": {func(t *testing.T, dir string, all []*Message) []*Message {
			for _, part := range []string{queueDir, cacheDir} {
				if err := os.CopyFS(filepath.Join(dir, "copy"), os.DirFS(filepath.Join(dir, part))); err != nil {
					t.Fatal(err)
				}
				if err := os.RemoveAll(filepath.Join(dir, part)); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(filepath.Join(dir, "copy"), filepath.Join(dir, part)); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chmod(filepath.Join(dir, queueDir), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Join(dir, cacheDir), 0o700); err != nil {
				t.Fatal(err)
			}
			return all
		}, 7},
		"no cache": {func(t *testing.T, dir string, all []*Message) []*Message {
			if err := os.RemoveAll(filepath.Join(dir, cacheDir)); err != nil {
				t.Fatal(err)
			}
			return all
		}, 7},
		"cache cut off":          {spoilCache(func(b []byte) []byte { return b[:len(b)-1] }), 7},
		"cache of zeros":         {spoilCache(func(b []byte) []byte { return make([]byte, len(b)) }), 7},
		"cache is empty":         {spoilCache(func(b []byte) []byte { return nil }), 7},
		"cache with a wrong bit": {spoilCache(func(b []byte) []byte { b[len(b)/2] ^= 4; return b }), 7},
		"cache of others":        {spoilCache(func(b []byte) []byte { return []byte("somebody else's\n") }), 7},
		"cache twice":            {spoilCache(func(b []byte) []byte { return append(b, b[len(cacheHead):]...) }), 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir, all := filed(t)
			all = c.change(t, dir, all)
			wants(t, dir, all, c.reads)
			wants(t, dir, all, 0)
		})
	}
}

// spoilCache changes all files of the cache.
func spoilCache(f func([]byte) []byte) func(*testing.T, string, []*Message) []*Message {
	return func(t *testing.T, dir string, all []*Message) []*Message {
		names, err := filepath.Glob(filepath.Join(dir, cacheDir, "*"))
		if err != nil || len(names) == 0 {
			t.Fatalf("%d files, %v", len(names), err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, f(b), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return all
	}
}

// TestCacheUnreadable keeps nothing that has to be looked at again.
func TestCacheUnreadable(t *testing.T) {
	dir, all := filed(t)
	write(t, dir, envelopeFile(all[0].Envelopes[0].ID), "rubbish")
	wants(t, dir, all[1:], 1)
	wants(t, dir, all[1:], 0)
	if !exists(t, dir, corruptDir+"/"+all[0].Envelopes[0].ID.String()) {
		t.Error("it is not in corrupt/")
	}
}

// TestCacheCoarse meets a file system that counts in seconds: what was changed just now may change again.
func TestCacheCoarse(t *testing.T) {
	d := newMemDisk()
	d.inodes = 1
	c := &cache{disk: d, now: func() time.Time { return time.Unix(0, 2).Add(coarseTick) }}
	for changed, want := range map[int64]bool{0: true, 1: true, 1e9: false, 1e9 + 1: true, 6e9: false, 7e9: true} {
		d.top.change = changed
		if got := c.sees(".", new(stamp)); got != want {
			t.Errorf("changed at %d: %t", changed, got)
		}
	}
}

// TestCacheRenewed lets a message change again and again: its bucket's file does not grow for ever.
func TestCacheRenewed(t *testing.T) {
	d := newMemDisk()
	d.cache = true
	s, err := open(d, Options{SegmentAge: time.Hour, cache: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := commit(t, s, []byte("body\n"), 1)
	flush(t, s)
	name := cacheFile(bucket(m.ID))
	most := 0
	s.cache.most[bucketNumber(bucket(m.ID))] = 5000
	for i := range 50 {
		m.Envelopes[0].Retry = i
		if err := s.Apply([]Change{{Op: Update, Envelope: m.Envelopes[0]}}); err != nil {
			t.Fatal(err)
		}
		flush(t, s)
		b, err := d.ReadFile(name, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, len(b))
		s.cache.most[bucketNumber(bucket(m.ID))] = 5000
	}
	if most > 5000 {
		t.Errorf("it has %d octets", most)
	}
	b, err := d.ReadFile(name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if c := parseCache(b); c.broken || len(c.messages) != 1 {
		t.Errorf("%d messages, broken %t", len(c.messages), c.broken)
	}
	closeStore(t, s)
}

// TestCacheEncrypted takes the encryption up with mail in the queue: what is gone leaves no plain copy behind.
func TestCacheEncrypted(t *testing.T) {
	dir, all := filed(t)
	s, _ := spyOn(t, dir)
	loads(t, s)
	gone := all[0].Envelopes[0]
	if err := s.Apply([]Change{{Op: Remove, ID: gone.ID}}); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	d, err := openDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = open(d, Options{SegmentAge: time.Hour, cache: true, Encoding: testEncodings()["zstd, encrypted"]}, nil); err != nil {
		t.Fatal(err)
	}
	if got := loads(t, s); len(got) != 6 {
		t.Errorf("%d envelopes", len(got))
	}
	if _, there := s.cache.read(bucket(gone.ID.Message())).messages[gone.ID.Message()]; there {
		t.Error("the cache has what is gone")
	}
	closeStore(t, s)
}

func TestCacheRecord(t *testing.T) {
	m := &cachedMessage{id: 5, dir: stamp{Inode: 1, Changed: -2, Size: 3}, coded: true,
		evps: []cachedEnvelope{{7, stamp{Inode: 4, Changed: 5, Size: 6}, []byte("text")}, {8, stamp{Inode: 7, Changed: 8, Size: 9}, []byte{}}}}
	record := appendCached([]byte(cacheHead), m)
	c := parseCache(record)
	if c.broken || len(c.messages) != 1 {
		t.Fatalf("%+v", c)
	}
	got, err := decodeCached(c.messages[5])
	if err != nil || got.id != 5 || got.dir != m.dir || !got.coded || len(got.evps) != 2 || string(got.evps[0].text) != "text" || got.evps[1].stamp != m.evps[1].stamp {
		t.Errorf("%+v, %v", got, err)
	}
	for n := range len(record) {
		if c := parseCache(record[:n]); len(c.messages) > 0 || !c.broken && n > 0 && n != len(cacheHead) {
			t.Errorf("%d octets: %+v", n, c)
		}
	}
}

// FuzzCache reads what may have become of a file.
func FuzzCache(f *testing.F) {
	f.Add(appendCached([]byte(cacheHead), &cachedMessage{id: 5, evps: []cachedEnvelope{{n: 7, text: []byte("text")}}}))
	f.Add([]byte(cacheHead))
	f.Fuzz(func(t *testing.T, b []byte) {
		for id, record := range parseCache(b).messages {
			m, err := decodeCached(record)
			if err == nil && (m.id != id || !bytes.Equal(appendCached(nil, &m)[cacheRecordHead:], record[cacheRecordHead:]) && record[cacheRecordHead+4+stampLen] < 2) {
				t.Errorf("%x is read as %+v", record, m)
			}
		}
		_, _ = decodeCached(b)
	})
}

// TestReader reads many envelopes: from the cache when that is true, and never what the journal knows better.
func TestReader(t *testing.T) {
	dir, all := filed(t)
	s, spy := spyOn(t, dir)
	loads(t, s)
	want := func(reads int64) {
		t.Helper()
		spy.reads.Store(0)
		r, got := s.Reader(), new(envelope.Envelope)
		defer r.Close()
		for _, m := range all {
			for _, e := range m.Envelopes {
				if err := r.Read(e.ID, got); err != nil || plain(got) != plain(e) {
					t.Errorf("envelope %v: %v, %v", e.ID, got, err)
				}
			}
		}
		if n := spy.reads.Load(); n != reads {
			t.Errorf("%d reads, want %d", n, reads)
		}
	}
	want(0)
	r := s.Reader()
	for _, m := range all {
		if err := r.Read(m.Envelopes[0].ID, new(envelope.Envelope)); err != nil {
			t.Error(err)
		}
		if r.Forget(m.Envelopes[0].ID); r.buckets[bucketOf(m.ID)] == nil {
			t.Error("the bucket in use is forgotten")
		}
	}
	r.Close()
	for i, b := range r.buckets {
		if b != nil {
			t.Errorf("bucket %d is left", i)
		}
	}
	edit(t, dir, all[0].Envelopes[0], func(e *envelope.Envelope) { e.Retry = 9 })
	want(1)
	all[2].Envelopes[0].Retry = 8
	if err := s.Apply([]Change{{Op: Update, Envelope: all[2].Envelopes[0]}}); err != nil {
		t.Fatal(err)
	}
	want(1) // the journal has the other one
	flush(t, s)
	want(1)
	gone := all[4].Envelopes[0].ID
	if err := s.Apply([]Change{{Op: Remove, ID: gone}}); err != nil {
		t.Fatal(err)
	}
	if e := new(envelope.Envelope); !errors.Is(s.Reader().Read(gone, e), ErrNotFound) {
		t.Errorf("one that is gone: %v", e)
	}
	all = all[:4]
	flush(t, s)
	want(1)
	if e := new(envelope.Envelope); !errors.Is(s.Reader().Read(gone, e), ErrNotFound) {
		t.Errorf("one that went long ago: %v", e)
	}
}
