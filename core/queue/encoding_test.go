package queue

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/trace"
)

func openEncoded(t *testing.T, dir string, e Encoding) *FS {
	t.Helper()
	s, err := OpenFS(dir, Options{Encoding: e}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// encodedBackend is in the conformance suite.
func encodedBackend() backend {
	e := testEncodings()["zstd, encrypted"]
	return backend{name: "fs encoded",
		open: func(t *testing.T) Store { return openEncoded(t, t.TempDir(), e) },
		again: func(t *testing.T, s Store) Store {
			t.Helper()
			dir := s.(*FS).disk.(*osDisk).root.Name()
			closeStore(t, s)
			return openEncoded(t, dir, e)
		}}
}

// streamed commits a message that is written into the file of Create.
func streamed(t *testing.T, s Store, body []byte) *Message {
	t.Helper()
	m := &Message{ID: reserve(t, s), Size: int64(len(body)), Envelopes: []*envelope.Envelope{testEnvelope(0, 1)}}
	f, err := s.Create(m.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(body); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := s.Commit(m); err != nil {
		t.Fatal(err)
	}
	return m
}

// secret is in every text of secretBodies and in their envelopes.
const secret = "the-secret-of-the-message"

// secretBodies are of all the ways that a message may go.
func secretBodies(s Store, t *testing.T) []*Message {
	small := []byte("Subject: " + secret + "\n\n" + secret + "\n")
	large := bytes.Repeat([]byte(secret+"\n"), 2*smallBody/len(secret))
	hostile := append([]byte(magic+"\x02\x01"), small...)
	list := []*Message{commit(t, s, small, 2), commit(t, s, large, 1), streamed(t, s, small), streamed(t, s, large),
		commit(t, s, hostile, 1), streamed(t, s, append([]byte(magic+"\x02\x01"), large...))}
	for i, m := range list {
		if m.Body == nil {
			list[i].Body = [][]byte{2: small, 3: large, 5: append([]byte(magic+"\x02\x01"), large...)}[i]
		}
		e := *m.Envelopes[0]
		e.ErrorLine, e.Retry = "450 "+secret, 1
		if err := s.Apply([]Change{{Op: Update, Envelope: &e}}); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// plainOnDisk gives the files below dir in which the secret or an address can be read.
func plainOnDisk(t *testing.T, dir string) (list []string) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, word := range []string{secret, "sender:", "@example"} {
			if bytes.Contains(b, []byte(word)) {
				list = append(list, path)
				break
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func checkBodies(t *testing.T, s Store, list []*Message) {
	t.Helper()
	for i, m := range list {
		got, err := readBody(s, m.ID)
		if err != nil || !bytes.Equal(got, m.Body) {
			t.Errorf("message %d: %d octets of %d, %v", i, len(got), len(m.Body), err)
		}
		e, err := s.Envelope(m.Envelopes[0].ID)
		if err != nil || e.Retry != 1 || !strings.Contains(e.ErrorLine, secret) {
			t.Errorf("envelope of message %d: %+v, %v", i, e, err)
		}
	}
}

// TestNothingPlain looks for plain text in the spool, while it is in the journal and in files, and for
// what decoding leaves behind.
func TestNothingPlain(t *testing.T) {
	for name, e := range testEncodings() {
		if !e.Encrypt {
			continue
		}
		dir := t.TempDir()
		s := openEncoded(t, dir, e)
		list := secretBodies(s, t)
		for _, where := range []string{"journal", "files"} {
			if found := plainOnDisk(t, dir); len(found) > 0 {
				t.Errorf("%s, in the %s: plain text in %q", name, where, found)
			}
			checkBodies(t, s, list)
			flush(t, s)
		}
		if err := s.quarantine(list[0].Envelopes[0].ID, errNoMessage); err != nil {
			t.Error(err)
		}
		if found := plainOnDisk(t, dir); len(found) > 0 {
			t.Errorf("%s, with corrupt/: plain text in %q", name, found)
		}
		if names, _ := s.disk.ReadDir(incomingDir); len(names) > 0 {
			t.Errorf("%s: left behind: %q", name, names)
		}
	}
}

// TestChangeEncoding goes through all pairs of settings with mail queued, some of it in the journal.
func TestChangeEncoding(t *testing.T) {
	all := testEncodings()
	all["plain"] = Encoding{Keys: [][]byte{testKey(0)}}
	all["other key"] = Encoding{Encrypt: true, Keys: [][]byte{testKey(1), testKey(0)}}
	for from, a := range all {
		for to, b := range all {
			a.Keys, b.Keys = append(a.Keys, testKey(0), testKey(1)), append(b.Keys, testKey(0), testKey(1))
			dir := t.TempDir()
			s := openEncoded(t, dir, a)
			old := secretBodies(s, t)
			if err := s.SetEncoding(b); err != nil {
				t.Fatal(err)
			}
			checkBodies(t, s, old)
			fresh := secretBodies(s, t)
			checkBodies(t, s, append(old, fresh...))
			flush(t, s)
			checkBodies(t, s, append(old, fresh...))
			if err := s.Halt(); err != nil {
				t.Fatal(err)
			}
			s = openEncoded(t, dir, b)
			if n := len(loads(t, s)); n != 14 {
				t.Errorf("%s to %s: %d envelopes, want 14", from, to, n)
			}
			checkBodies(t, s, append(old, fresh...))
			closeStore(t, s)
		}
	}
}

// TestMissingKey starts without the key of what is queued, in the journal or in files. It stays, and
// comes back with the key.
func TestMissingKey(t *testing.T) {
	for _, inFiles := range []bool{false, true} {
		dir := t.TempDir()
		s := openEncoded(t, dir, Encoding{Encrypt: true, Keys: [][]byte{testKey(0)}})
		list := secretBodies(s, t)
		if inFiles {
			closeStore(t, s)
		} else if err := s.Halt(); err != nil {
			t.Fatal(err)
		}
		var log lines
		s, err := OpenFS(dir, Options{Encoding: Encoding{Encrypt: true, Keys: [][]byte{testKey(1)}}}, trace.New(&log))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		if n := len(loads(t, s)); n != 0 {
			t.Errorf("%d envelopes without a key", n)
		}
		if n := len(s.Locked()); n != 7 {
			t.Errorf("in files %t: %d are locked, want 7", inFiles, n)
		}
		if n := strings.Count(strings.Join(log.all, "\n"), "is not among those"); n != 1 {
			t.Errorf("logged %d times: %q", n, log.all)
		}
		if _, err := s.Discover(list[0].ID); inFiles && !isLocked(err) {
			t.Errorf("discover: %v", err)
		}
		if _, err := s.Body(list[0].ID); !isLocked(err) {
			t.Errorf("body: %v", err)
		}
		flush(t, s)
		if names, _ := s.disk.ReadDir(corruptDir); len(names) > 0 {
			t.Errorf("in %s: %q", corruptDir, names)
		}
		if err := s.SetEncoding(Encoding{Encrypt: true, Keys: [][]byte{testKey(1), testKey(0)}}); err != nil {
			t.Fatal(err)
		}
		checkBodies(t, s, list)
		closeStore(t, s)
	}
}

// TestSwappedFiles gives one message the files of another.
func TestSwappedFiles(t *testing.T) {
	dir := t.TempDir()
	e := Encoding{Encrypt: true, Keys: [][]byte{testKey(0)}}
	s := openEncoded(t, dir, e)
	a, b := commit(t, s, []byte("a\n"), 1), commit(t, s, []byte("b\n"), 1)
	closeStore(t, s)
	for _, pair := range [][2]string{{textFile(a.ID, true), textFile(b.ID, true)}, {envelopeFile(a.Envelopes[0].ID), envelopeFile(b.Envelopes[0].ID)}} {
		text, err := os.ReadFile(filepath.Join(dir, pair[0]))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, pair[1]), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s = openEncoded(t, dir, e)
	found := loads(t, s)
	if _, ok := found[a.Envelopes[0].ID]; !ok || len(found) != 1 {
		t.Errorf("loaded: %v", found)
	}
	if body, err := readBody(s, b.ID); err == nil {
		t.Errorf("body of another: %q", body)
	}
}

// TestStreamFails has the disk refuse a stream at every operation: the writer can go on, and the
// commit fails in a way that may pass.
func TestStreamFails(t *testing.T) {
	for n := 1; ; n++ {
		d := newMemDisk()
		d.enc = Encoding{Compression: Gzip}
		s, err := open(d, Options{SegmentAge: time.Hour, Encoding: d.enc}, nil)
		if err != nil {
			t.Fatal(err)
		}
		m := &Message{ID: reserve(t, s), Size: 4 << 20, Envelopes: []*envelope.Envelope{testEnvelope(0, 1)}}
		d.failAt, d.err, d.sticky = d.step+n, errFault, true
		f, err := s.Create(m.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(noise(int(m.Size))); err != nil {
			t.Errorf("fault at %d: the writer is told: %v", n, err)
		}
		f.Close()
		err = s.Commit(m)
		d.mu.Lock()
		d.failAt = 0
		d.mu.Unlock()
		if err == nil {
			if n < 4 {
				t.Errorf("fault at %d: committed", n)
			}
			s.Close()
			break
		}
		if !Temporary(err) {
			t.Errorf("fault at %d: %v", n, err)
		}
		s.Release(m.ID)
		if names, _ := d.ReadDir(incomingDir); len(names) > 0 {
			t.Errorf("fault at %d: %q is left", n, names)
		}
		s.Close()
	}
}

// TestStreamLeft ends streams whose writer neither goes on nor closes.
func TestStreamLeft(t *testing.T) {
	s := openEncoded(t, t.TempDir(), Encoding{Compression: Zstd})
	id, other := reserve(t, s), reserve(t, s)
	f, err := s.Create(id)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := s.Create(id); !errors.Is(err, ErrExists) {
		t.Errorf("a second stream of one message: %v", err)
	}
	if _, err := s.Create(other); err != nil {
		t.Fatal(err)
	}
	s.Release(id)
	for err == nil { // until the pipe's reader is gone
		_, err = f.Write(make([]byte, 1<<20))
	}
	closeStore(t, s)
}

// TestLeftPlain finds a decoded text that a killed process left its name.
func TestLeftPlain(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir)
	closeStore(t, s)
	name := filepath.Join(dir, incomingFile(7)+".0a0b0c0d"+plainSuffix)
	if err := os.WriteFile(name, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	openAt(t, dir)
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
