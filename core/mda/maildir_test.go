package mda

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
)

// onlyMessage gives the text of the one message in a folder, and asks for an empty tmp.
func onlyMessage(t *testing.T, dir string) string {
	t.Helper()
	if left, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(left) != 0 {
		t.Errorf("tmp has %v, %v", left, err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, "new"))
	if err != nil || len(entries) != 1 {
		t.Fatalf("new has %v, %v", entries, err)
	}
	if fi, err := entries[0].Info(); err != nil || fi.Mode() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	return readFile(t, filepath.Join(dir, "new", entries[0].Name()))
}

func TestMaildir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b", "Maildir")
	wantOutcome(t, "maildir", deliver(t, job(Maildir, dir, body)), envelope.Delivered, "")
	if got := onlyMessage(t, dir); got != traceFields+body {
		t.Errorf("message %q", got)
	}
	for _, d := range []string{dir, filepath.Dir(dir), dir + "/cur", dir + "/new", dir + "/tmp"} {
		if fi, err := os.Stat(d); err != nil || fi.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", d, fi.Mode(), err)
		}
	}
}

// TestMaildirHalfMade: whoever made the maildir may have died at any moment of it.
func TestMaildirHalfMade(t *testing.T) {
	for _, have := range [][]string{{}, {"cur"}, {"tmp"}, {"cur", "tmp"}, {"new"}} {
		dir := filepath.Join(t.TempDir(), "Maildir")
		for _, name := range append([]string{""}, have...) {
			if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		wantOutcome(t, fmt.Sprint(have), deliver(t, job(Maildir, dir, body)), envelope.Delivered, "")
		onlyMessage(t, dir)
	}
}

func TestMaildirNullSender(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "Maildir")
	j := job(Maildir, dir, "Return-Path: <old@example.com>\n\nno final line end")
	j.Sender = address.Address{}
	wantOutcome(t, "maildir", deliver(t, j), envelope.Delivered, "")
	want := "Delivered-To: alice+tag@env.example.org\nReturn-Path: <old@example.com>\n\nno final line end"
	if got := onlyMessage(t, dir); got != want {
		t.Errorf("message %q", got)
	}
}

func TestMaildirFolders(t *testing.T) {
	const spam = "X-Spam: yes\n\n"
	tests := []struct {
		name, text, ext string
		junk            bool
		exists, want    string
	}{
		{"plain", body, "", false, "", "."},
		{"no such folder", body, "lists", false, "", "."},
		{"folder", body, "lists", false, ".lists", ".lists"},
		{"nested folder", body, "lists.go", false, ".lists.go", ".lists.go"},
		{"spam without junk", spam, "lists", false, ".lists", ".lists"},
		{"spam", spam, "lists", true, ".lists", ".Junk"},
		{"ham", body, "", true, ".Junk", "."},
		{"upwards", body, ".", false, "", "."},
		{"far upwards", body, "/../..", false, "", "."},
		{"shell characters", body, "a`b/c", false, ".a:b:c", ".a:b:c"},
	}
	for _, tt := range tests {
		top := t.TempDir()
		dir := filepath.Join(top, "Maildir")
		if tt.exists != "" {
			if err := os.MkdirAll(filepath.Join(dir, tt.exists), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		j := job(Maildir, dir, tt.text)
		j.Subaddress, j.Junk = tt.ext, tt.junk
		wantOutcome(t, tt.name, deliver(t, j), envelope.Delivered, "")
		if got := onlyMessage(t, filepath.Join(dir, tt.want)); !strings.HasSuffix(got, tt.text) {
			t.Errorf("%s: message %q", tt.name, got)
		}
		if entries, _ := os.ReadDir(top); len(entries) != 1 {
			t.Errorf("%s: %v beside the maildir", tt.name, entries)
		}
	}
}

// One agent makes many deliveries, also when the maildir is removed in between.
func TestMaildirAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "Maildir")
	a := NewAgent(host)
	for round := range 2 {
		for range 50 {
			out := a.Deliver(t.Context(), job(Maildir, dir, body), nil)
			wantOutcome(t, "maildir", out, envelope.Delivered, "")
		}
		if entries, err := os.ReadDir(filepath.Join(dir, "new")); err != nil || len(entries) != 50 {
			t.Errorf("round %d: %d messages, %v", round, len(entries), err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMaildirCannotBeMade(t *testing.T) {
	file := ownFile(t, "x")
	out := deliver(t, job(Maildir, filepath.Join(file, "Maildir"), body))
	wantOutcome(t, "below a file", out, envelope.TempFail, "not a directory")
	if want := `Error (temporary failure: "mail.maildir: `; !strings.HasPrefix(out.Stat(), want) {
		t.Errorf("stat %s", out.Stat())
	}
}

func TestPublishNeverReplaces(t *testing.T) {
	from, to := ownFile(t, "new"), ownFile(t, "old")
	if err := publish(from, to); err == nil {
		t.Error("no error")
	}
	if got := readFile(t, to); got != "old" {
		t.Errorf("replaced by %q", got)
	}
}

func TestFileName(t *testing.T) {
	now := time.Unix(1795441295, 123456789)
	tests := []struct{ host, want string }{
		{"mx1.example.org", "mx1.example.org"},
		{"a/b:c", `a\057b\072c`},
		{"a b\\\x00\xff", `a\040b\134\000\377`},
		{"", "localhost"},
		{"..", ".."},
	}
	for _, tt := range tests {
		want := "1795441295.M123456P7Q9R00000000000000ab." + tt.want
		if got := fileName(now, 7, 9, 0xab, tt.host); got != want {
			t.Errorf("%q: %s, want %s", tt.host, got, want)
		}
	}
}

var goodName = regexp.MustCompile(`^[0-9]+\.M[0-9]+P[0-9]+Q[0-9]+R[0-9a-f]{16}\.[!-.0-9;-~]+$`)

func FuzzFileName(f *testing.F) {
	f.Add("mx1.example.org", "tag")
	f.Add("a/b:c", "../..")
	f.Add(strings.Repeat("\x00", 300), ".")
	f.Fuzz(func(t *testing.T, host, ext string) {
		name := fileName(time.Now(), os.Getpid(), 1<<63, 1<<63, host)
		if !goodName.MatchString(name) || len(name) > 255 {
			t.Errorf("file name %q", name)
		}
		folder := subfolder(ext)
		if folder == "" {
			return
		}
		if folder[0] != '.' || folder == "." || folder == ".." || strings.ContainsAny(folder, "/\x00\n") || len(folder) > 255 {
			t.Errorf("folder %q", folder)
		}
	})
}

// Ten agents deliver at the same time, each to its user.
func BenchmarkMaildir(b *testing.B) {
	for _, size := range []int{1 << 10, 100 << 10} {
		b.Run(fmt.Sprintf("%dK", size>>10), func(b *testing.B) {
			text := "Subject: x\n\n" + strings.Repeat(strings.Repeat("x", 63)+"\n", size/64)
			top := b.TempDir()
			var users atomic.Int32
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			b.SetParallelism(max(1, 10/runtime.GOMAXPROCS(0)))
			b.RunParallel(func(pb *testing.PB) {
				a := NewAgent(host)
				dir := filepath.Join(top, fmt.Sprint(users.Add(1)))
				for pb.Next() {
					if out := a.Deliver(b.Context(), job(Maildir, dir, text), nil); out.Status != envelope.Delivered {
						b.Error(out)
						return
					}
				}
			})
		})
	}
}
