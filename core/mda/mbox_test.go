package mda

import (
	"bufio"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/trace"
)

// readMbox gives the messages of an mbox file as a mail reader finds them: a message
// begins with a From line at the top or after a blank line. The final blank line belongs
// to the file, the quoting of From lines stays.
func readMbox(t *testing.T, text string) []string {
	t.Helper()
	var messages []string
	blank, begin := true, 0 // begin: of the message that is being read
	for pos := 0; pos < len(text); {
		line, _, _ := strings.Cut(text[pos:], "\n")
		next := min(pos+len(line)+1, len(text))
		if blank && strings.HasPrefix(line, "From ") {
			if pos > 0 {
				messages = append(messages, text[begin:pos])
			}
			begin = next
		} else if begin == 0 {
			t.Fatalf("text before the first message: %q", line)
		}
		blank, pos = line == "", next
	}
	messages = append(messages, text[begin:])
	for i, m := range messages {
		if m != "\n" && !strings.HasSuffix(m, "\n\n") {
			t.Fatalf("no blank line after message %q", m)
		}
		messages[i] = m[:len(m)-1]
	}
	return messages
}

// asStored is what a message looks like in an mbox file, made the slow and plain way.
func asStored(text string) string {
	if !strings.HasSuffix(text, "\n") && text != "" {
		text += "\n"
	}
	text = strings.ReplaceAll("\n"+text, "\nFrom ", "\n>From ")
	return text[1:]
}

func TestMbox(t *testing.T) {
	path := ownFile(t, "")
	texts := []string{
		body,
		"Subject: no line end\n\nlast",
		"From the top\n\nFrom x\n>From y\nfrom z\nA From b\nFrom\n",
		"Subject: x\n\n\nFrom s@example.com Mon Nov 23 13:41:49 2026\nSubject: forged\n\nx\n",
		strings.Repeat("x", 40<<10) + "From inside\nFrom outside\n" + strings.Repeat("From y\n", 9000),
	}
	a := NewAgent(host)
	for _, text := range texts {
		wantOutcome(t, "mbox", a.Deliver(t.Context(), job(Mbox, path, text), nil), envelope.Delivered, "")
	}
	all := readFile(t, path)
	if first, _, _ := strings.Cut(all, "\n"); !strings.HasPrefix(first, "From s@example.com ") {
		t.Errorf("first line %q", first)
	}
	got := readMbox(t, all)
	if len(got) != len(texts) {
		t.Fatalf("%d messages, want %d", len(got), len(texts))
	}
	for i := range got {
		if got[i] != traceFields+asStored(texts[i]) {
			t.Errorf("message %d: %.200q", i, got[i])
		}
	}
}

func TestFromLine(t *testing.T) {
	now := time.Date(2026, 11, 3, 13, 41, 9, 0, time.UTC)
	for sender, want := range map[string]string{
		"":              "From MAILER-DAEMON Tue Nov  3 13:41:09 2026\n",
		"s@example.com": "From s@example.com Tue Nov  3 13:41:09 2026\n",
		`"a b"@x`:       "From \"a_b\"@x Tue Nov  3 13:41:09 2026\n",
	} {
		if got := fromLine(sender, now); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestMboxMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "alice")
	asked := ""
	h := host
	h.CreateMailbox = func(_ context.Context, user string) error {
		asked = user
		return errors.New("mail spool can be changed by others")
	}
	out := Deliver(t.Context(), job(Mbox, path, body), h, nil)
	wantOutcome(t, "refused", out, envelope.TempFail, "mail spool can be changed by others")
	h.CreateMailbox = func(context.Context, string) error { return os.Rename(ownFile(t, ""), path) }
	out = Deliver(t.Context(), job(Mbox, path, body), h, nil)
	wantOutcome(t, "made", out, envelope.Delivered, "")
	if asked != "alice" || !strings.Contains(readFile(t, path), body) {
		t.Errorf("asked for %q", asked)
	}
}

func TestMboxUnsafe(t *testing.T) {
	aside := ownFile(t, "secret\n")
	for _, method := range []Method{Mbox, File} {
		path := filepath.Join(t.TempDir(), "alice")
		if err := os.Symlink(aside, path); err != nil {
			t.Fatal(err)
		}
		out := deliver(t, job(method, path, body))
		wantOutcome(t, "symbolic link", out, envelope.TempFail, path+": linked or special file")
		if want := "Error (system resource problem: \"" + method.String() + ": "; !strings.HasPrefix(out.Stat(), want) {
			t.Errorf("stat %s", out.Stat())
		}
	}
	if got := readFile(t, aside); got != "secret\n" {
		t.Errorf("target has %q", got)
	}
	j := job(Mbox, ownFile(t, ""), body)
	j.UID++
	wantOutcome(t, "foreign", deliver(t, j), envelope.TempFail, "belongs to another user")
}

// A lock that is held costs a retry, never the message.
func TestMboxLocked(t *testing.T) {
	path := ownFile(t, "")
	h := host
	h.Limit = time.Millisecond
	a := NewAgent(h)
	m, err := NewAgent(host).openMailbox(t.Context(), job(Mbox, path, body), nil)
	if err != nil {
		t.Fatal(err)
	}
	wantOutcome(t, "locked", a.Deliver(t.Context(), job(Mbox, path, body), nil), envelope.TempFail, "mailbox is locked")
	m.Close()
	wantOutcome(t, "free", NewAgent(host).Deliver(t.Context(), job(Mbox, path, body), nil), envelope.Delivered, "")
	if got := readMbox(t, readFile(t, path)); len(got) != 1 {
		t.Errorf("%d messages", len(got))
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "archive")
	for range 2 {
		wantOutcome(t, "file", deliver(t, job(File, path, body)), envelope.Delivered, "")
	}
	if got := readMbox(t, readFile(t, path)); len(got) != 2 || got[1] != traceFields+body {
		t.Errorf("messages %q", got)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	j := job(File, path, body)
	j.Sender = address.Address{}
	wantOutcome(t, "null sender", deliver(t, j), envelope.Delivered, "")
	if !strings.Contains(readFile(t, path), "\n\nFrom MAILER-DAEMON ") {
		t.Error("no From MAILER-DAEMON")
	}
	wantOutcome(t, "nowhere", deliver(t, job(File, os.DevNull, body)), envelope.Delivered, "")
	wantOutcome(t, "device", deliver(t, job(File, "/dev/zero", body)), envelope.TempFail, "special file")
}

func TestDotlockReasonOnce(t *testing.T) {
	var sink lines
	a := NewAgent(host)
	for range 2 {
		a.options(job(Mbox, "x", body), trace.New(&sink).NewTrace()).Skipped(os.ErrPermission)
	}
	if len(sink.got) != 1 || !strings.Contains(sink.got[0], "user=alice: permission denied") {
		t.Errorf("logged %q", sink.got)
	}
}

func FuzzCopyQuoted(f *testing.F) {
	f.Add("From a\n\nFrom b\n", "x")
	f.Add("\n\nFrom ", "From \n")
	f.Add("Fro", "\n\n\n")
	f.Add(strings.Repeat("x", 14)+"From \nFrom x", ">From ")
	f.Fuzz(func(t *testing.T, first, second string) {
		var file strings.Builder
		for i, text := range []string{first, second} {
			file.WriteString("From x Mon Nov 23 13:41:49 2026\n")
			r := bufio.NewReaderSize(strings.NewReader(text), 16)
			if i == 1 {
				r = bufio.NewReaderSize(iotest.OneByteReader(strings.NewReader(text)), 16)
			}
			if err := copyQuoted(&file, r); err != nil {
				t.Fatal(err)
			}
		}
		got := readMbox(t, file.String())
		if len(got) != 2 || got[0] != asStored(first) || got[1] != asStored(second) {
			t.Errorf("%q and %q are read back as %q", first, second, got)
		}
	})
}
