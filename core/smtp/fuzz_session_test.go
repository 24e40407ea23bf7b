package smtp

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/trace"
)

// The bits of the mode of a fuzzed session.
const (
	fuzzNormalize = 1 << iota
	fuzzTLS       // the octets come encrypted, after STARTTLS
	fuzzPlain     // a backend of go-smtp's kind
	fuzzAuth
	fuzzEarly // the client does not wait for the banner
	fuzzSmall // limits that are soon reached
)

// FuzzSession sends any octets to a session.
func FuzzSession(f *testing.F) {
	for _, text := range []string{firstMail + "\r\n.\r\n" + secondMail + ".\r\nQUIT\r\n", firstMail + "\n.\r\n" + secondMail,
		"EHLO c\r\nSTARTTLS\r\nNOOP\r\n", "EHLO c\r\nAUTH LOGIN\r\nYW5u\r\nYW5ucHc=\r\n", "HELO x\nMAIL FROM:<>\nRCPT TO:<a@b.example>\nDATA\n.\r\n",
		"EHLO c\r\nMAIL FROM:<a@b.example> SIZE=3\r\nRCPT TO:<c@d.example>\r\nBDAT 3\r\nabcBDAT 0 LAST\r\n"} {
		for _, mode := range []uint8{0, fuzzNormalize, fuzzTLS | fuzzAuth, fuzzPlain, fuzzEarly, fuzzSmall} {
			f.Add(mode, []byte(text))
		}
	}
	secret := testTLS(f)
	f.Fuzz(func(t *testing.T, mode uint8, text []byte) { fuzzSession(t, secret, mode, text) })
}

// FuzzDialog sends what a client of bad manners could say: each octet of choices is a piece of
// a dialog, so that most sessions get far.
func FuzzDialog(f *testing.F) {
	for _, choices := range []string{"\x00\x01\x02\x03\x04\x05\x06", "\x00\x01\x02\x02\x03\x10\x04\x12\x05\x06", "\x00\x07\x08\x09\x01\x02\x03\x14\x15\x05",
		"\x20\x21\x22\x23\x24\x25\x26\x27"} {
		f.Add(uint8(0), []byte(choices))
		f.Add(uint8(fuzzTLS|fuzzAuth), []byte(choices))
	}
	secret := testTLS(f)
	f.Fuzz(func(t *testing.T, mode uint8, choices []byte) {
		var text []byte
		for _, c := range choices[:min(len(choices), 500)] {
			text = append(text, fuzzPieces[int(c)%len(fuzzPieces)]...)
		}
		fuzzSession(t, secret, mode, text)
	})
}

// fuzzPieces are commands, parts of them and of messages, and line ends of all kinds.
var fuzzPieces = []string{"EHLO c.example\r\n", "MAIL FROM:<a@b.example>\r\n", "RCPT TO:<c@d.example>\r\n", "DATA\r\n", "Subject: x\r\n\r\nbody\r\n",
	".\r\n", "QUIT\r\n", "RSET\r\n", "NOOP\r\n", "HELO c\r\n", "STARTTLS\r\n", "VRFY x\r\n", "EXPN x\r\n", "HELP\r\n", "AUTH PLAIN AGFubgBhbm5wdw==\r\n",
	"AUTH LOGIN\r\n", "YW5u\r\n", "YW5ucHc=\r\n", "*\r\n", "AUTH PLAIN\r\n", "AGFubgBiYWQ=\r\n", "=\r\n", "AUTH SCRAM-SHA-256 biwsbj1hbm4scj1y\r\n",
	"AUTH EXTERNAL =\r\n", "MAIL FROM:<> SIZE=10 BODY=8BITMIME RET=HDRS ENVID=x+2B SMTPUTF8 REQUIRETLS\r\n", "MAIL FROM:<@a,@b:\"x y\"@[IPv6:::1]>\r\n",
	"RCPT TO:<nobody@d.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+40b\r\n", "RCPT TO:<postmaster>\r\n", "RCPT TO:<broken@x.example>\r\n",
	"RCPT TO:<hangup@x.example>\r\n", "MAIL FROM:<nobody@b.example>\r\n", "BDAT 5\r\n", "BDAT 5 LAST\r\n", "BDAT 0 LAST\r\n", "BDAT 99999999999999999999\r\n",
	"BDAT 70000\r\n", "abcde", "ab\r\n.", "\r\n", "\n", "\r", ".", "\r\n.\r\n", "\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r\r\n", "\r\n..\r\n", "\x00", "\x16\x03\x01",
	"\xff", "\u00e9", " ", "\t", "%s%n", "GET / HTTP/1.1\r\n", "MAIL FROM:", "RCPT TO:<", ">", "data\n", "dAtA \r\n", "mail from:<x@y.example>\n",
	strings.Repeat("x", 998) + "\r\n", strings.Repeat("y", 5000), strings.Repeat("z\r\n", 300), "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "XCLIENT NAME=x\r\n",
	"Received: by x\r\n", "\b", "\x1b[2J", "\u2028"}

// fuzzSession runs a session and looks at all that came of it. In clear the outcome must not
// depend on how the octets came.
func fuzzSession(t *testing.T, secret *tls.Config, mode uint8, text []byte) {
	before := runtime.NumGoroutine()
	whole := fuzzOnce(t, secret, mode, text, len(text)+1)
	if mode&(fuzzTLS|fuzzEarly) == 0 && len(text) < 4096 {
		octets := fuzzOnce(t, secret, mode, text, 1)
		if a, b := classes(whole.replies), classes(octets.replies); a != b || !slices.EqualFunc(whole.mails, octets.mails, sameMail) {
			t.Fatalf("in one piece %q\noctet by octet %q", whole.replies, octets.replies)
		}
	}
	for n := 0; runtime.NumGoroutine() > before; n++ {
		if runtime.Gosched(); n > 1000 {
			time.Sleep(time.Millisecond) // the last ones are on their way out
		}
		if n > 6000 {
			stacks := make([]byte, 1<<16)
			t.Fatalf("goroutines are left:\n%s", stacks[:runtime.Stack(stacks, true)])
		}
	}
}

func sameMail(a, b mail) bool {
	return a.from == b.from && slices.Equal(a.to, b.to) && a.body == b.body
}

// classes gives the first digit of each reply: what is wrong with a message is named by
// what was seen of it first.
func classes(replies string) string {
	var b strings.Builder
	for code := range strings.FieldsSeq(codes(replies)) {
		b.WriteByte(code[0])
	}
	return b.String()
}

type outcome struct {
	replies string
	mails   []mail
}

func fuzzOnce(t *testing.T, secret *tls.Config, mode uint8, text []byte, piece int) outcome {
	cfg := testConfig()
	cfg.Normalize, cfg.TakeEarly = mode&fuzzNormalize != 0, mode&fuzzEarly != 0
	if mode&fuzzSmall != 0 {
		cfg.MaxRcpt, cfg.MaxMails, cfg.MaxMessageSize, cfg.MaxErrors, cfg.MaxIdleCommands = 2, 1, 100, 2, 5
	}
	b := &sample{plain: mode&fuzzPlain != 0, auth: mode&fuzzAuth != 0, refuse: refuseByName}
	log := &lines{}
	serve := func(conn net.Conn) { Serve(context.Background(), conn, testPeer(), cfg, b, trace.New(log).NewTrace()) }
	var replies string
	if mode&fuzzTLS != 0 {
		cfg.TLSConfig = secret
		replies = overTLS(t, text, serve)
	} else {
		conn := &scripted{text: text, piece: piece, greeted: mode&fuzzEarly != 0}
		conn.cond.L = &conn.mu
		serve(conn)
		replies = conn.replies.String()
	}
	if strings.Contains(log.String(), "panic:") && !bytes.Contains(text, []byte("panic")) {
		t.Fatalf("panic:\n%s", log)
	}
	checkReplies(t, replies)
	checkLines(t, "220 x", log.String())
	if n := strings.Count(replies, "Message accepted"); n != len(b.mails) || b.open != 0 {
		t.Fatalf("%d messages answered, %d taken, %d sessions open", n, len(b.mails), b.open)
	}
	if most := ends(text, cfg.Normalize); len(b.mails) > most {
		t.Fatalf("%d messages, %d ends: %q", len(b.mails), most, replies)
	}
	return outcome{replies, b.mails}
}

// ends gives how many messages there can be at most.
func ends(text []byte, normalize bool) int {
	n := len(lastChunk.FindAll(text, -1))
	for i := range text {
		if bytes.HasPrefix(text[i:], []byte("\r\n.\r\n")) {
			n++
		}
	}
	if normalize { // DATA may end with a bare LF, then a dot that is at the start of a message
		n += len(emptyMessage.FindAll(text, -1))
	}
	return n
}

var (
	lastChunk    = regexp.MustCompile(`(?i)LAST`)
	emptyMessage = regexp.MustCompile(`(?i)DATA *\n\.\r\n`)
)

// checkReplies: lines that end with CRLF, in replies of one code each.
func checkReplies(t *testing.T, replies string) {
	code := ""
	for line := range strings.Lines(replies) {
		text, whole := strings.CutSuffix(line, "\r\n")
		if !whole || !isReplyLine(text) || code != "" && text[:3] != code {
			t.Fatalf("reply %q", line)
		}
		if code = ""; text[3] == '-' {
			code = text[:3]
		}
	}
	if code != "" {
		t.Fatalf("no last line: %q", replies)
	}
}

// scripted is a connection whose client sends a text after the banner and goes away.
type scripted struct {
	mu      sync.Mutex
	cond    sync.Cond
	text    []byte
	piece   int // octets that a read gives at most
	greeted bool
	hurry   bool // the deadline for reading is over
	replies bytes.Buffer
}

func (c *scripted) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.greeted && !c.hurry {
		c.cond.Wait()
	}
	switch {
	case c.hurry:
		return 0, os.ErrDeadlineExceeded
	case len(c.text) == 0:
		return 0, io.EOF
	}
	n := copy(p, c.text[:min(c.piece, len(c.text))])
	c.text = c.text[n:]
	return n, nil
}

func (c *scripted) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.greeted = true
	return c.replies.Write(p)
}

func (c *scripted) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hurry = !t.IsZero() && t.Before(time.Now())
	c.cond.Broadcast()
	return nil
}

func (c *scripted) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
func (c *scripted) SetWriteDeadline(time.Time) error { return nil }
func (c *scripted) Close() error                     { return nil }
func (c *scripted) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *scripted) RemoteAddr() net.Addr             { return &net.TCPAddr{} }

// overTLS runs a session that a client encrypts before it sends the text.
func overTLS(t *testing.T, text []byte, serve func(net.Conn)) string {
	client, server := net.Pipe()
	defer client.Close()
	done := make(chan struct{})
	go func() { defer close(done); serve(server) }()
	line := func() string {
		var b []byte
		for octet := (make([]byte, 1)); !bytes.HasSuffix(b, []byte("\n")); b = append(b, octet...) {
			if _, err := client.Read(octet); err != nil {
				return ""
			}
		}
		return string(b)
	}
	line()
	for _, command := range []string{"EHLO c.example\r\n", "STARTTLS\r\n"} {
		fmt.Fprint(client, command)
		for text := line(); text != "" && text[3] == '-'; {
			text = line()
		}
	}
	conn := tls.Client(client, &tls.Config{InsecureSkipVerify: true, SessionTicketsDisabled: true,
		CurvePreferences: []tls.CurveID{tls.X25519}}) // the fast one
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = conn.Write(text); _ = conn.CloseWrite() }()
	replies, _ := io.ReadAll(conn)
	client.Close()
	<-done
	return string(replies)
}
