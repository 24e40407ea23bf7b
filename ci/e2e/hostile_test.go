package e2e

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"
)

// alive checks that the daemon still takes and delivers mail.
func (d *daemon) alive() {
	d.t.Helper()
	if d.gone() {
		d.t.Fatal("smtpd is gone")
	}
	submit(d.t, tester, "carol@godwit.test", "Subject: alive\n\nYes.\n")
	newMaildir("carol").wait(d.t, 1, startWait)
}

// end is the end of a session in the place of a line to send.
const end = "(end)"

// TestBadInput: whatever a client sends, it gets a reply that says what is wrong, and
// nobody else notices.
func TestBadInput(t *testing.T) {
	d := start(t, localConf)
	parent := d.cmd.Process.Pid
	dispatcher, _ := find("dispatcher")
	long := strings.Repeat("x", 10000)
	for _, tt := range []struct {
		name   string
		dialog []string // lines to send, each followed by the reply that is wanted
	}{
		{"overlong line", []string{"EHLO c", "250", long, "500 5.5.2 Command line too long", end}},
		{"overlong argument", []string{"EHLO c", "250", "MAIL FROM:<" + long + "@x.test>", "500 5.5.2 Command line too long", end}},
		{"NUL in a command", []string{"NO\x00OP", "5", "NOOP", "250"}},
		{"NUL in an address", []string{"EHLO c", "250", "MAIL FROM:<a\x00b@x.test>", "5", "NOOP", "250"}},
		{"8 bit in a command", []string{"\xff\xfe\xfd", "5", "NOOP", "250"}},
		{"empty line", []string{"", "5", "NOOP", "250"}},
		{"MAIL before EHLO", []string{"MAIL FROM:<a@x.test>", "503"}},
		{"RCPT before MAIL", []string{"EHLO c", "250", "RCPT TO:<alice@godwit.test>", "503"}},
		{"DATA before RCPT", []string{"EHLO c", "250", "MAIL FROM:<a@x.test>", "250", "DATA", "503"}},
		{"DATA before MAIL", []string{"EHLO c", "250", "DATA", "503"}},
		{"MAIL twice", []string{"EHLO c", "250", "MAIL FROM:<a@x.test>", "250", "MAIL FROM:<b@x.test>", "503"}},
		{"STARTTLS not offered", []string{"EHLO c", "250", "STARTTLS", "50"}},
		{"AUTH not offered", []string{"EHLO c", "250", "AUTH PLAIN AGEAYg==", "50"}},
		{"unknown command", []string{"EHLO c", "250", "FROBNICATE", "500", "NOOP", "250"}},
		{"no such domain", []string{"EHLO c", "250", "MAIL FROM:<a@x.test>", "250", "RCPT TO:<a@elsewhere.test>", "550"}},
		{"no such user", []string{"EHLO c", "250", "MAIL FROM:<a@x.test>", "250", "RCPT TO:<nobody-here@godwit.test>", "550"}},
		{"NUL in a message", []string{"EHLO c", "250", "MAIL FROM:<a@x.test>", "250", "RCPT TO:<alice@godwit.test>", "250",
			"DATA", "354", "Subject: nul\r\n\r\na\x00b\r\n.", "5", "NOOP", "250"}},
		{"bare line end in a message", []string{"EHLO c", "250", "MAIL FROM:<a@x.test>", "250", "RCPT TO:<alice@godwit.test>", "250",
			"DATA", "354", "Subject: bare\r\n\r\na\n.\nMAIL FROM:<b@x.test>\r\n.", "5", "NOOP", "250"}},
		{"endless header line", []string{"EHLO c", "250", "MAIL FROM:<a@x.test>", "250", "RCPT TO:<alice@godwit.test>", "250",
			"DATA", "354", "Subject: " + strings.Repeat("y", 1<<20) + "\r\n\r\nbody\r\n.", "552", "NOOP", "250"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, listen)
			for i := 0; i < len(tt.dialog); i += 2 {
				if tt.dialog[i] == end {
					if text, err := c.read(); err != io.EOF {
						t.Errorf("the session goes on: %q, %v", text, err)
					}
					return
				}
				c.send(tt.dialog[i] + "\r\n")
				c.expect(tt.dialog[i+1])
			}
			c.ask("221", "QUIT")
		})
	}
	if list := newMaildir("alice").take(); len(list) > 0 {
		t.Errorf("%d messages were delivered", len(list))
	}
	d.alive()
	if now, _ := find("dispatcher"); now != dispatcher || d.cmd.Process.Pid != parent {
		t.Error("a process was started again")
	}
}

// TestJunk: octets that mean nothing.
func TestJunk(t *testing.T) {
	d := start(t, localConf)
	dispatcher, _ := find("dispatcher")
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		conn, err := net.Dial("tcp", listen)
		if err != nil {
			t.Fatal(err)
		}
		junk := make([]byte, 10000)
		for i := range junk {
			junk[i] = byte(r.Uint32())
		}
		_ = conn.SetDeadline(time.Now().Add(talkWait))
		_, _ = conn.Write(junk) // may be cut off
		_, _ = conn.Read(make([]byte, 4096))
		conn.Close()
	}
	d.alive()
	if now, _ := find("dispatcher"); now != dispatcher {
		t.Error("a process was started again")
	}
}

// TestEmptyMessage: no header, no body.
func TestEmptyMessage(t *testing.T) {
	start(t, localConf)
	c := dial(t, listen)
	c.ask("250", "EHLO client.test")
	c.ask("250", "MAIL FROM:<%s>", tester)
	c.ask("250", "RCPT TO:<alice@godwit.test>")
	c.ask("354", "DATA")
	c.ask("250", ".")
	text := newMaildir("alice").wait(t, 1, startWait)[0]
	if _, body := split(text); len(body) > 0 || !bytes.HasSuffix(text, []byte("\n")) {
		t.Errorf("delivered as %q", text)
	}
}

// TestSilentClients: clients that stop reading or sending cost nobody else anything.
func TestSilentClients(t *testing.T) {
	d := start(t, localConf)
	for i := range 20 {
		c := dial(t, listen)
		c.ask("250", "EHLO client.test")
		switch i % 3 {
		case 0: // asks and never reads the answers
			_ = c.conn.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
			questions := []byte(strings.Repeat("HELP\r\n", 10000))
			for {
				if _, err := c.conn.Write(questions); err != nil {
					break // both buffers are full, or the server has had enough
				}
			}
		case 1: // stops in a message
			c.ask("250", "MAIL FROM:<%s>", tester)
			c.ask("250", "RCPT TO:<alice@godwit.test>")
			c.ask("354", "DATA")
			c.send("Subject: never ends\r\n\r\n" + strings.Repeat("line\r\n", 50000))
		case 2: // stops in a line
			c.send("MAIL FROM:<")
		}
	}
	d.alive()
	d.stop() // the clients cannot hold it up for ever
	if list := newMaildir("alice").take(); len(list) > 0 {
		t.Errorf("%d messages that never ended were delivered", len(list))
	}
}

// TestTooManyRecipients: what is beyond a limit is refused and the rest goes on.
func TestTooManyRecipients(t *testing.T) {
	start(t, localConf+"smtp limit max-rcpt 3\n")
	c := dial(t, listen)
	c.ask("250", "EHLO client.test")
	c.ask("250", "MAIL FROM:<%s>", tester)
	for i := range 3 {
		c.ask("250", "RCPT TO:<alice+%d@godwit.test>", i)
	}
	c.ask("452", "RCPT TO:<alice+4@godwit.test>")
	c.ask("354", "DATA")
	c.ask("250", "Subject: three\r\n\r\n.")
	seen := make(map[string]bool)
	for _, text := range newMaildir("alice").wait(t, 3, startWait) {
		header, _ := split(text)
		seen[field(header, "Delivered-To")] = true
	}
	if len(seen) != 3 {
		t.Errorf("delivered to %s", fmt.Sprint(seen))
	}
}
