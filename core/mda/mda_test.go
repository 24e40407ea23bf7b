package mda

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/trace"
)

const body = "Subject: x\n\nbody\n"

// uid is who the deliveries are for: root gets none.
func uid() uint32 {
	if os.Getuid() == 0 {
		return 12345
	}
	return uint32(os.Getuid())
}

func job(method Method, path, text string) *Job {
	return &Job{
		Method: method, Path: path, User: "alice", UID: uid(), Home: "/home/alice",
		Sender:     address.Address{Local: "s", Domain: "example.com"},
		Rcpt:       address.Address{Local: "alice+tag", Domain: "env.example.org"},
		Dest:       address.Address{Local: "alice+tag", Domain: "example.org"},
		Subaddress: "tag",
		Body:       strings.NewReader(text), Size: int64(len(text)),
	}
}

const traceFields = "Return-Path: <s@example.com>\nDelivered-To: alice+tag@env.example.org\n"

var host = Host{Hostname: "mx1.example.org"}

func deliver(t *testing.T, j *Job) Outcome {
	t.Helper()
	return Deliver(t.Context(), j, host, nil)
}

func wantOutcome(t *testing.T, name string, got Outcome, status envelope.Status, text string) {
	t.Helper()
	if got.Status != status || !strings.Contains(got.Text, text) || status == envelope.Delivered && got.Text != "" {
		t.Errorf("%s: %+v, want status %d and %q", name, got, status, text)
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	for name, change := range map[string]func(j *Job){
		"MDA not allowed to deliver to: alice": func(j *Job) { j.UID = 0 },
		"incomplete":                           func(j *Job) { j.Body = nil },
		"incomplete delivery":                  func(j *Job) { j.Method = Pipe + 1 },
		"incomplete delivery request":          func(j *Job) { j.Path = "" },
		"control character":                    func(j *Job) { j.Sender.Local = "a\nX: y" },
		"control character in":                 func(j *Job) { j.Rcpt.Local = "a\rb" },
		"control character in delivery":        func(j *Job) { j.Subaddress = "a\x00b" },
	} {
		j := job(Maildir, filepath.Join(dir, "Maildir"), body)
		change(j)
		wantOutcome(t, name, deliver(t, j), envelope.PermFail, name)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Error("something was delivered")
	}
}

func TestScan(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	tests := []struct {
		text string
		want facts
	}{
		{"", facts{}},
		{"Delivered-To: alice+tag@example.org\n\n", facts{loop: true}},
		{"delivered-to:ALICE+tag@example.org \r\n", facts{loop: true}},
		{"Delivered-To: alice+tag@env.example.org\n\n", facts{}},
		{"Delivered-To: alice+tag@example.org", facts{loop: true}},
		{"\nDelivered-To: alice+tag@example.org\n", facts{}},
		{"\r\nDelivered-To: alice+tag@example.org\n", facts{}},
		{" Delivered-To: alice+tag@example.org\n", facts{}},
		{"X-Spam: yes\n\n", facts{junk: true}},
		{"X-Spam-Flag: YES\n\n", facts{junk: true}},
		{"X-Spam: no\n\nX-Spam: yes\n", facts{}},
		{"A: " + long + "\nX-Spam: yes\n", facts{junk: true}},
		{"A: " + long[:16<<10-len("A: ")] + "X-Spam: yes\n\n", facts{}},
		{"A: " + long + "\n\nX-Spam: yes\n", facts{}},
		{"no colon\nX-Spam: yes\nDelivered-To: alice+tag@example.org\n", facts{loop: true, junk: true}},
	}
	for _, tt := range tests {
		a := NewAgent(host)
		got, err := a.scan(job(Maildir, "x", tt.text))
		if err != nil || got != tt.want {
			t.Errorf("%.60q: %+v, %v; want %+v", tt.text, got, err, tt.want)
		}
	}
}

func TestLoop(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "Maildir")
	out := deliver(t, job(Maildir, dir, "Delivered-To: alice+tag@example.org\n\n"))
	if out.Status != envelope.Loop || out.Stat() != "Loop detected" || out.EscClass != 5 || out.EscCode != 406 {
		t.Errorf("%+v", out)
	}
	if _, err := os.Lstat(dir); err == nil {
		t.Error("something was delivered")
	}
}

// A body that ends early or cannot be read is never delivered as a shorter one.
func TestBrokenBody(t *testing.T) {
	dir := t.TempDir()
	box := ownFile(t, "")
	for name, b := range map[string]io.ReaderAt{
		"short":  strings.NewReader(body),
		"broken": brokenBody{},
	} {
		for _, j := range []*Job{
			job(Maildir, filepath.Join(dir, "Maildir"), ""),
			job(Mbox, box, ""),
			job(File, filepath.Join(dir, "file"), ""),
			job(Command, "cat >/dev/null; exit 0", ""),
		} {
			j.Body, j.Size = b, 1<<20
			wantOutcome(t, name+" "+j.Method.String(), deliver(t, j), envelope.TempFail, j.Method.String()+": ")
		}
	}
	for _, path := range []string{box, filepath.Join(dir, "file")} {
		if text, err := os.ReadFile(path); err != nil || len(text) != 0 {
			t.Errorf("%s: %q, %v", path, text, err)
		}
	}
	for _, folder := range folders {
		if entries, _ := os.ReadDir(filepath.Join(dir, "Maildir", folder)); len(entries) != 0 {
			t.Errorf("%s in %s", entries, folder)
		}
	}
}

// brokenBody fails after its header.
type brokenBody struct{}

func (brokenBody) ReadAt(p []byte, off int64) (int, error) {
	if off >= 20<<10 {
		return 0, errors.New("input/output error")
	}
	for i := range p {
		p[i] = '\n'
	}
	return len(p), nil
}

type lines struct{ got []string }

func (l *lines) Log(_ trace.Level, line string) { l.got = append(l.got, line) }

func TestLog(t *testing.T) {
	var sink lines
	tr := &trace.Trace{Logger: trace.New(&sink), ID: 0x349326770cb44927}
	now := time.Unix(1795441284, 0)
	e := &envelope.Envelope{
		ID: 0x7f7b487db4433f92, MDAUser: "alice", Created: now.Add(-62 * time.Second),
		Sender: address.Address{Local: "s", Domain: "example.com"},
		Rcpt:   address.Address{Local: "alice+tag", Domain: "env.example.org"},
		Dest:   address.Address{Local: "alice", Domain: "example.org"},
	}
	const begin = "349326770cb44927 mda delivery evpid=7f7b487db4433f92 from=<s@example.com> " +
		"to=<alice@example.org> rcpt=<alice+tag@env.example.org> user=alice delay=1m2s "
	tests := []struct {
		out  Outcome
		want string
	}{
		{Outcome{Status: envelope.Delivered}, "result=Ok stat=Delivered"},
		{Outcome{Status: envelope.PermFail, Text: `"oops"`, Exit: 1}, `result=PermFail stat=Error ("oops")`},
		{Outcome{Status: envelope.PermFail, Text: "exited abnormally", Exit: 70},
			"result=PermFail stat=Error (internal software error: exited abnormally)"},
		{Outcome{Status: envelope.TempFail, Text: "terminated; signal 9"},
			"result=TempFail stat=Error (terminated; signal 9)"},
		{Outcome{Status: envelope.Loop, Text: "Loop detected"}, "result=PermFail stat=Loop detected"},
	}
	for i, tt := range tests {
		Log(tr, e, tt.out, now)
		if sink.got[i] != begin+tt.want {
			t.Errorf("%s\nwant %s", sink.got[i], begin+tt.want)
		}
	}
}

func TestQuoted(t *testing.T) {
	for in, want := range map[string]string{
		"oops":                         `"oops"`,
		"a\nb\tc\x00":                  `"a\nb\tc\x00"`,
		"caf\xe9":                      `"caf\xe9"`,
		"café":                         `"café"`,
		strings.Repeat("x", 1000):      `"` + strings.Repeat("x", 510) + `"`,
		"a" + strings.Repeat("é", 500): `"a` + strings.Repeat("é", 254) + `?"`,
	} {
		if got := quoted(in); got != want || len(got) > envelope.MaxErrorLine {
			t.Errorf("%.20q: %q (%d octets), want %q", in, got, len(got), want)
		}
	}
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out := Deliver(ctx, job(Command, "true", body), host, nil)
	wantOutcome(t, "command", out, envelope.TempFail, "terminated; shutdown")
	out = Deliver(ctx, job(LMTP, "127.0.0.1:1", body), host, nil)
	wantOutcome(t, "lmtp", out, envelope.TempFail, "mail.lmtp: ")
}

// ownFile makes a file that belongs to the user of job.
func ownFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "alice")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(path, int(uid()), -1); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.Clone(b))
}
