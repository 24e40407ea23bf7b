package opensmtpd

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/envelope"
)

// testKey is the one of the samples, which OpenSMTPD 7.8 wrote.
const testKey = "0123456789abcdef0123456789abcdef"

// read gives the messages of a spool with their texts, by the names in their headers, and what is left.
func read(t *testing.T, dir, key string) (texts map[string]string, all map[string]*Message, left []string) {
	t.Helper()
	var k []byte
	if key != "" {
		k = []byte(key)
	}
	s, err := Open(dir, k)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	texts, all = make(map[string]string), make(map[string]*Message)
	err = s.Messages(func(m *Message) error {
		for _, b := range m.Bad {
			left = append(left, b.Name+": "+b.Err.Error())
		}
		if len(m.Envelopes) == 0 {
			return nil
		}
		body, err := s.Body(m, 1<<20)
		if err != nil {
			left = append(left, m.ID.String()+": "+err.Error())
			return nil
		}
		defer body.Close()
		text, err := io.ReadAll(body)
		if err != nil {
			left = append(left, m.ID.String()+": "+err.Error())
			return nil
		}
		_, subject, _ := strings.Cut(string(text), "\nSubject: ")
		subject, _, _ = strings.Cut(subject, "\n")
		texts[subject], all[subject] = string(text), m
		return nil
	}, func(name string, err error) { left = append(left, name+": "+err.Error()) })
	if err != nil {
		t.Fatal(err)
	}
	return texts, all, left
}

func TestSamples(t *testing.T) {
	for name, key := range map[string]string{"plain": "", "gzip": "", "encrypted": testKey, "both": testKey} {
		texts, all, left := read(t, "testdata/"+name, key)
		if len(left) > 0 || len(all) != 3 {
			t.Fatalf("%s: %d messages; left: %q", name, len(all), left)
		}
		if !strings.HasSuffix(texts["first"], "\n\nhello from another server\n") ||
			!strings.Contains(texts["no sender"], "\n\n.dot\n"+strings.Repeat("line of text that is repeated\n", 40)) {
			t.Errorf("%s: %q", name, texts)
		}
		for _, e := range all["first"].Envelopes {
			if e.Sender.String() != "ann@example.org" || e.Created.IsZero() || e.Notify != envelope.NotifyFailure|envelope.NotifyDelay ||
				e.Ret != "HDRS" || e.EnvID != "QQ314159" || e.ORcpt != "rfc822;orig@out.example" {
				t.Errorf("%s: %+v", name, e)
			}
			if e.Type == envelope.MDA && (e.Retry != 1 || e.ErrorLine != "exited abnormally" || e.EscClass != 4 || e.EscCode != 300 || e.MDAUser != "nobody") {
				t.Errorf("%s: %+v", name, e)
			}
		}
		if n := len(all["first"].Envelopes); n != 2 {
			t.Errorf("%s: %d envelopes", name, n)
		}
		if e := all["no sender"].Envelopes[0]; !e.Sender.Null() || e.Type != envelope.MTA || e.Dispatcher != "out" {
			t.Errorf("%s: %+v", name, e)
		}
		if e := all["bounces"].Envelopes[0]; e.Type != envelope.Bounce || e.BounceType != envelope.BounceFailed {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

func TestWrongKey(t *testing.T) {
	for key, why := range map[string]string{"": "no key was given", strings.Repeat("x", 32): "another key"} {
		_, all, left := read(t, "testdata/both", key)
		if len(all) != 0 || len(left) != 4 || !strings.Contains(left[0], why) {
			t.Errorf("key %q: %d messages, left %q", key, len(all), left)
		}
	}
	if _, err := Open("testdata/both", []byte("short")); err == nil {
		t.Error("a short key is taken")
	}
}

const sample = "version: 3\ndispatcher: out\ntype: mta\nsender: @\nrcpt: a@b.example\ndest: a@b.example\nctime: 1700000000\n"

// TestHostile has everything in a spool that does not belong there.
func TestHostile(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	msg := func(n int) string { return fmt.Sprintf("queue/%02x/%02x000001/", n, n) }
	evp := func(n int) string { return msg(n) + fmt.Sprintf("%02x00000100000001", n) }
	put(msg(1)+"message", "\x01\x1f\x8b begins\nSubject: good\n\nx\n") // no sign of an encoding
	put(evp(1), sample)
	put(msg(2)+"message", "Subject: large\n\n"+strings.Repeat("x", 2<<20))
	put(evp(2), sample)
	put(evp(3), sample) // without a message
	put("secret", "Subject: secret\n\nx\n")
	put(evp(4), sample)
	link("../../../secret", msg(4)+"message")
	put(msg(5)+"message", "Subject: five\n\nx\n")
	link("../../01/01000001/0100000100000001", evp(5))
	put(evp(6), strings.Replace(sample, ": 3", ": 9", 1))
	put(evp(7), strings.Repeat("x: y\n", 20000))
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	z.Write(make([]byte, 8<<20))
	z.Close()
	put(evp(8), bomb.String())
	put(evp(10), strings.Replace(sample, ": 3", ": 2", 1))
	put("offline/1700000000.abcdefghij", "-f|a@b.example|c@d.example\nSubject: offline\n\nx\n")
	put("queue/zz/readme", "x")
	put("queue/01/02000001/message", "in the wrong place")
	link("/etc", "queue/09")
	_, all, left := read(t, dir, "")
	if len(all) != 1 || all["good"] == nil {
		t.Errorf("taken: %v", all)
	}
	for _, want := range []string{"02000001: the message is too large", "03000001: ", "04000001: ", evp(5) + ": ", evp(6) + ": ",
		evp(7) + ": it is too large", evp(8) + ": ", evp(10) + `: field version: version "2" is not 3`, "offline/1700000000.abcdefghij: it was submitted while", "queue/zz", "queue/01/02000001: ", "queue/09: "} {
		found := false
		for _, l := range left {
			found = found || strings.HasPrefix(l, want)
		}
		if !found {
			t.Errorf("nothing is said of %q in %q", want, left)
		}
	}
}

// FuzzDecode: no file makes an envelope of more than the limit, or a panic.
func FuzzDecode(f *testing.F) {
	for _, pattern := range []string{"testdata/*/queue/*/*/*"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			f.Fatalf("%q, %v", names, err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	s := &Spool{key: []byte(testKey)}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, _, err := s.own(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		text, err := io.ReadAll(io.LimitReader(r, 1<<20))
		if err == nil {
			_, _ = envelope.Parse(1<<32+1, text)
		}
	})
}
