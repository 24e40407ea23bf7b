package syslog

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestLine(t *testing.T) {
	tests := []struct {
		severity Severity
		text     string
		limit    int
		want     string
	}{
		{Info, "hello", 100, "<22>HEADhello"},
		{Crit, "", 100, "<18>HEAD"},
		{Debug, strings.Repeat("x", 50), 17, "<23>HEADxxxxxx..."},
		{Debug, "xxxxxéééééé", 17, "<23>HEADxxxxx..."},
	}
	for _, tt := range tests {
		got := string(line(nil, Mail, tt.severity, []byte("HEAD"), tt.text, tt.limit))
		if got != tt.want || len(got) > tt.limit || !utf8.ValidString(got) {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestHead(t *testing.T) {
	at := time.Date(2026, 3, 7, 4, 5, 6, 0, time.Local)
	var h head
	for _, tt := range []struct {
		at   time.Time
		want string
	}{
		{at, "Mar  7 04:05:06"},
		{at.Add(time.Second - 1), "Mar  7 04:05:06"},
		{at.Add(time.Second), "Mar  7 04:05:07"},
		{at.Add(-time.Hour), "Mar  7 03:05:06"}, // the clock was set back
	} {
		h.set(tt.at, "smtpd")
		if want := fmt.Sprintf("%s smtpd[%d]: ", tt.want, os.Getpid()); string(h.text) != want {
			t.Errorf("%v: %q, want %q", tt.at, h.text, want)
		}
	}
}

// daemon is a syslogd(8) of our own.
func daemon(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	d, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func open(t *testing.T, path string) *Conn {
	t.Helper()
	c, err := dial(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &Conn{facility: Mail, ident: "smtpd", conn: c, path: path}
}

// expect reads one line and compares what follows its head.
func expect(t *testing.T, d *net.UnixConn, severity Severity, text string) {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := d.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	got := string(buf[:n])
	head := fmt.Sprintf("<%d>", uint8(Mail)|uint8(severity))
	tail := fmt.Sprintf(" smtpd[%d]: %s", os.Getpid(), text)
	if !strings.HasPrefix(got, head) || !strings.HasSuffix(got, tail) ||
		len(got) != len(head)+len(time.Stamp)+len(tail) {
		t.Errorf("got %q, want %s<time>%s", got, head, tail)
	}
}

func TestLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	d := daemon(t, path)
	c := open(t, path)
	if err := c.Log(Info, "one"); err != nil {
		t.Fatal(err)
	}
	expect(t, d, Info, "one")

	f, err := c.File()
	if err != nil {
		t.Fatal(err)
	}
	passed, err := FromFile(f, Mail, "smtpd")
	if err != nil {
		t.Fatal(err)
	}
	defer passed.Close()
	if err := passed.Log(Warning, "two"); err != nil {
		t.Fatal(err)
	}
	expect(t, d, Warning, "two")
}

func TestRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	d := daemon(t, path)
	c := open(t, path)
	d.Close()
	os.Remove(path)
	for range 3 {
		if err := c.Log(Info, "nobody there"); err == nil {
			t.Fatal("a line went to nobody")
		}
	}
	d = daemon(t, path)
	if err := c.Log(Err, "back"); err != nil {
		t.Fatal(err)
	}
	expect(t, d, Warning, "3 lines could not be logged")
	expect(t, d, Err, "back")
	if err := c.Log(Info, "and on"); err != nil {
		t.Fatal(err)
	}
	expect(t, d, Info, "and on")
}

// A log that does not read must not stop the server.
func TestStuck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	daemon(t, path)
	c := open(t, path)
	for range 100000 {
		err := c.Log(Info, strings.Repeat("x", 500))
		if err == nil {
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Logf("this system says %v", err)
		}
		return
	}
	t.Error("the socket takes lines without end")
}

func TestFromFileRefuses(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := FromFile(f, Mail, "smtpd"); err == nil {
		c.Close()
		t.Error("took a file that is no socket")
	}
}
