package daemon

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/control"
)

// plainFiles gives the files of the spool in which a word can be read.
func (l *lab) plainFiles(words ...string) (list []string) {
	l.t.Helper()
	err := filepath.WalkDir(filepath.Join(l.dir, "spool"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, word := range words {
			if bytes.Contains(b, []byte(word)) {
				list = append(list, path)
				break
			}
		}
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return list
}

// TestEncryptedQueue takes mail in under one key, loses the key, gets it back with another one, and
// delivers. Nothing of the mail can be read in the spool meanwhile.
func TestEncryptedQueue(t *testing.T) {
	const conf = localConf + "queue compression zstd\nqueue encryption file:DIR/key\n"
	first, second := strings.Repeat("1", 32), strings.Repeat("2", 32)
	l := newLab(t, nil, conf)
	key := func(lines ...string) {
		if err := os.WriteFile(filepath.Join(l.dir, "key"), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key(first)
	l.begin()
	if err := l.ask(control.Request{Op: control.PauseMDA}, nil); err != nil {
		t.Fatal(err)
	}
	large := "Subject: large-secret\r\n\r\n" + strings.Repeat(strings.Repeat("0123456789abcdef", 40)+"\r\n", 1000)
	l.mustSend("ann@example.net", []string{"joe@example.org"}, "Subject: small-secret\r\n\r\nbody\r\n")
	l.mustSend("ann@example.net", []string{"ann@example.org"}, large)
	l.states("pending", "pending")
	secrets := []string{"-secret", "0123456789abcdef", "example.org", "example.net"}
	if found := l.plainFiles(secrets...); len(found) > 0 {
		t.Errorf("in the journal: %q", found)
	}
	key(second)
	l.relaunch()
	for _, e := range l.states("held", "held") {
		if e.ErrorLine != "encrypted with a key that is not there" {
			t.Errorf("%+v", e)
		}
	}
	if found := l.plainFiles(secrets...); len(found) > 0 {
		t.Errorf("in files: %q", found)
	}
	key(second, first)
	l.reload <- struct{}{}
	l.states("pending", "pending")
	if err := l.ask(control.Request{Op: control.ResumeMDA}, nil); err != nil {
		t.Fatal(err)
	}
	l.log.wait(t, 0, `mda delivery .* to=<joe@example.org> .* result=Ok`)
	l.log.wait(t, 0, `mda delivery .* to=<ann@example.org> .* result=Ok`)
	_, want, _ := strings.Cut(strings.ReplaceAll(large, "\r\n", "\n"), "\n\n")
	if got := l.maildir("ann"); len(got) != 1 || !strings.HasSuffix(got[0], "\n\n"+want) {
		t.Errorf("%d large messages, or it is another", len(got))
	}
	if got := l.maildir("joe"); len(got) != 1 || !strings.Contains(got[0], "small-secret") {
		t.Errorf("small: %q", got)
	}
	for _, k := range []string{first, second} {
		if l.log.has(k) {
			t.Error("a key is in the log")
		}
	}
}

func TestQueueKeys(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return config.QueueKeyFile + path
	}
	a, b := strings.Repeat("a", 32), strings.Repeat("b", 32)
	for _, test := range []struct {
		keys    []string
		want    int
		encrypt bool
		err     string
	}{
		{nil, 0, false, ""},
		{[]string{a}, 1, true, ""},
		{[]string{a, b}, 2, true, ""},
		{[]string{"none", a}, 1, false, ""},
		{[]string{write("two", a+"\n\n"+b, 0o600), b}, 3, true, ""},
		{[]string{write("open", a, 0o644)}, 0, true, "insecure permissions"},
		{[]string{write("short", a+"\nabc\n", 0o600)}, 0, true, "line 2: a key has 32 characters, this one has 3"},
		{[]string{write("empty", "\n", 0o600)}, 0, true, "there is no key in it"},
		{[]string{write("many", strings.Repeat(a+"\n", 65), 0o600)}, 0, true, "more than 64 keys"},
		{[]string{"file:/nowhere/key"}, 0, true, "no such file"},
	} {
		e, err := encoding(&config.Config{QueueKeys: test.keys}, new(stdinKey))
		switch {
		case test.err != "":
			if err == nil || !strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), a) {
				t.Errorf("%q: %v, want %q", test.keys, err, test.err)
			}
		case err != nil || len(e.Keys) != test.want || e.Encrypt != test.encrypt:
			t.Errorf("%q: %d keys, encrypts %t, %v", test.keys, len(e.Keys), e.Encrypt, err)
		}
	}
}
