package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// client speaks SMTP in the plainest way, with all the mistakes that a test wants.
type client struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

// talkWait bounds one step of a dialog.
const talkWait = 20 * time.Second

// dial connects and takes the banner.
func dial(t *testing.T, addr string) *client {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, talkWait)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, conn)
	c.expect("220")
	return c
}

func newClient(t *testing.T, conn net.Conn) *client {
	t.Cleanup(func() { conn.Close() })
	c := rawClient(conn)
	c.t = t
	return c
}

// rawClient is for read only: without a test to fail.
func rawClient(conn net.Conn) *client { return &client{conn: conn, r: bufio.NewReader(conn)} }

// say sends a line and gives the whole reply.
func (c *client) say(format string, args ...any) string {
	c.t.Helper()
	c.send(fmt.Sprintf(format, args...) + "\r\n")
	return c.reply()
}

func (c *client) send(text string) {
	c.t.Helper()
	_ = c.conn.SetWriteDeadline(time.Now().Add(talkWait))
	if _, err := c.conn.Write([]byte(text)); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

func (c *client) reply() string {
	c.t.Helper()
	text, err := c.read()
	if err != nil {
		c.t.Fatalf("no reply: %v (%q)", err, text)
	}
	return text
}

func (c *client) read() (string, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(talkWait))
	text := ""
	for {
		line, err := c.r.ReadString('\n')
		text += line
		if err != nil || len(line) < 4 || line[3] != '-' {
			return text, err
		}
	}
}

// expect takes a reply that begins so.
func (c *client) expect(code string) string {
	c.t.Helper()
	got := c.reply()
	if !strings.HasPrefix(got, code) {
		c.t.Fatalf("reply %q, want %s", got, code)
	}
	return got
}

// ask sends a line and takes the reply, which has to begin with code.
func (c *client) ask(code, format string, args ...any) string {
	c.t.Helper()
	got := c.say(format, args...)
	if !strings.HasPrefix(got, code) {
		c.t.Fatalf("%s: reply %q, want %s", fmt.Sprintf(format, args...), got, code)
	}
	return got
}

// startTLS upgrades the connection.
func (c *client) startTLS(config *tls.Config) {
	c.t.Helper()
	c.ask("220", "STARTTLS")
	secured := tls.Client(c.conn, config)
	_ = secured.SetDeadline(time.Now().Add(talkWait))
	if err := secured.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.conn, c.r = secured, bufio.NewReader(secured)
}

// mail sends a message and gives the reply to the end of it.
func (c *client) mail(from, to, text string) string {
	c.t.Helper()
	c.ask("250", "MAIL FROM:<%s>", from)
	for rcpt := range strings.SplitSeq(to, ",") {
		c.ask("250", "RCPT TO:<%s>", rcpt)
	}
	c.ask("354", "DATA")
	return c.say("%s\r\n.", strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\r\n"))
}

// submit sends a message in a session of its own.
func submit(t *testing.T, from, to, text string) {
	t.Helper()
	c := dial(t, listen)
	c.ask("250", "EHLO client.test")
	if reply := c.mail(from, to, text); !strings.HasPrefix(reply, "250") {
		t.Fatalf("message refused: %q", reply)
	}
	c.ask("221", "QUIT")
	c.conn.Close()
}
