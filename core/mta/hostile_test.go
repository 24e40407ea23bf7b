package mta

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

// short time-outs let the hostile servers be given up soon; nothing waits for them to be met.
func short(c *Config) {
	d := 50 * time.Millisecond
	c.Timeouts = Timeouts{Connect: 10 * time.Second, TLS: d, Command: d, DataInit: d, DataBlock: d, DataDone: d, Transaction: 10 * time.Second, Quit: d}
}

func TestHostileServers(t *testing.T) {
	endless := func(c *script, prefix string) {
		for {
			if _, err := io.WriteString(c, prefix); err != nil {
				return
			}
		}
	}
	// at gives a server that answers as usual until a command, and then does something.
	at := func(verb string, f func(c *script)) func(*script, int) {
		return func(c *script, _ int) {
			c.serve([]string{"PIPELINING"}, func(cmd string) string {
				if strings.HasPrefix(cmd, verb) {
					f(c)
					return "-"
				}
				return ""
			})
		}
	}
	silent := func(c *script) { io.Copy(io.Discard, c) }
	tests := map[string]struct {
		server func(*script, int)
		text   string // in the result, which is always temporary
	}{
		"no greeting":        {func(c *script, _ int) { silent(c) }, "timed out"},
		"greeting in drops":  {func(c *script, _ int) { endless(&script{Conn: slow{c}}, "2") }, "timed out"},
		"endless greeting":   {func(c *script, _ int) { endless(c, "220-x\r\n") }, "reply too long"},
		"endless line":       {func(c *script, _ int) { endless(c, "220 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx") }, "reply too long"},
		"garbage":            {func(c *script, _ int) { endless(c, "\x00\xff\n") }, "malformed reply"},
		"silent at EHLO":     {at("EHLO", silent), "timed out"},
		"endless EHLO":       {at("EHLO", func(c *script) { endless(c, "250-x\r\n") }), "reply too long"},
		"silent at MAIL":     {at("MAIL", silent), "timed out"},
		"354 to MAIL":        {at("MAIL", func(c *script) { c.say("354 go"); silent(c) }), "out of sequence"},
		"354 to RCPT":        {at("RCPT", func(c *script) { c.say("354 go"); silent(c) }), "out of sequence"},
		"closed at RCPT":     {at("RCPT", func(*script) {}), "closed unexpectedly"},
		"closed at DATA":     {at("DATA", func(*script) {}), "closed unexpectedly"},
		"250 to DATA":        {at("DATA", func(c *script) { c.say("250 ok"); silent(c) }), "out of sequence"},
		"closed in the body": {at("DATA", func(c *script) { c.say("354 go"); c.line() }), "closed unexpectedly"},
		"silent after dot":   {at("DATA", func(c *script) { c.say("354 go"); c.body(); silent(c) }), "timed out"},
		"354 after dot":      {at("DATA", func(c *script) { c.say("354 go"); c.body(); c.say("354 more") }), "out of sequence"},
		"closed after dot":   {at("DATA", func(c *script) { c.say("354 go"); c.body() }), "Connection closed unexpectedly"},
		"newline in reply":   {at("DATA", func(c *script) { c.say("354 go"); c.body(); c.say("451 4.3.0 a\rb\x00c\x1b") }), "451 4.3.0 a?b?c?"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, short)
			b.domain("example.com", scripted(t, tt.server))
			r := b.one(defaultRelay, "hello\n", "u@example.com")
			if r.Status != envelope.TempFail || !strings.Contains(r.Text, tt.text) || envelope.CleanErrorLine(r.Text) != r.Text {
				t.Errorf("%+v", r)
			}
		})
	}
}

// slow sends one octet a write, with a pause between two.
type slow struct{ *script }

func (s slow) Write(p []byte) (int, error) {
	for i := range p {
		time.Sleep(time.Millisecond)
		if _, err := s.script.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// TestServerStopsReading: a body that is not taken ends the session.
func TestServerStopsReading(t *testing.T) {
	for _, scheme := range []Scheme{SMTP, LMTP} {
		release := make(chan struct{})
		b := newBench(t, func(c *Config) { short(c); c.Timeouts.Command = patience })
		b.net.to[addr1] = scripted(t, func(c *script, _ int) {
			c.say("220 x")
			for cmd := c.line(); cmd != "DATA" && cmd != ""; cmd = c.line() {
				c.say("250 ok")
			}
			c.say("354 go")
			<-release
		})
		r := b.one(&Relay{URL: URL{Scheme: scheme, Host: addr1.String(), Port: 24}}, strings.Repeat("x", 64<<20), "u@example.com")
		close(release)
		if r.Status != envelope.TempFail || !strings.Contains(r.Text, "timed out") {
			t.Errorf("%s: %+v", scheme, r)
		}
	}
}

// TestLostBetweenMessages: a connection that the server closed while it was idle costs nothing.
func TestLostBetweenMessages(t *testing.T) {
	for name, last := range map[string]string{"closed": "-", "421": "421 4.4.2 idle too long"} {
		addr := scripted(t, func(c *script, n int) {
			mails := 0
			c.serve([]string{"PIPELINING"}, func(cmd string) string {
				if strings.HasPrefix(cmd, "MAIL") {
					if mails++; n == 1 && mails == 2 {
						return last
					}
				}
				return ""
			})
		})
		b := newBench(t, nil)
		b.domain("example.com", addr)
		for range 3 {
			if r := b.one(&Relay{Limits: Limits{MaxConnPerRoute: 1}}, "x\n", "u@example.com"); r.Status != envelope.Delivered {
				t.Errorf("%s: %+v", name, r)
			}
		}
		if n := b.net.count(addr1); n != 2 {
			t.Errorf("%s: %d connections", name, n)
		}
	}
}

// TestClosesAfterEachMessage: the commands that were sent along with a body are given again
// elsewhere, and no message is lost or sent twice.
func TestClosesAfterEachMessage(t *testing.T) {
	var mu sync.Mutex
	taken := make(map[string]int)
	addr := scripted(t, func(c *script, _ int) {
		from := ""
		c.serve([]string{"PIPELINING"}, func(cmd string) string {
			if strings.HasPrefix(cmd, "RCPT") {
				from = cmd
			}
			if cmd == "." {
				mu.Lock()
				taken[from]++
				mu.Unlock()
				return "421 2.0.0 kept? no: closing"
			}
			return ""
		})
	})
	b := newBench(t, nil)
	b.domain("example.com", addr)
	for i := range 20 {
		b.Submit(b.message("x\n", fmt.Sprintf("u%d@example.com", i)), &Relay{Limits: Limits{MaxConnPerRoute: 1}})
	}
	for _, r := range b.wait(20) {
		if r.Status != envelope.TempFail {
			t.Errorf("%+v", r)
		}
	}
	for from, n := range taken {
		if n != 1 {
			t.Errorf("%s: %d times", from, n)
		}
	}
}

// TestRefusesSecondConnection: a server that takes one connection only is not punished for it.
func TestRefusesSecondConnection(t *testing.T) {
	var mu sync.Mutex
	open := 0
	addr := scripted(t, func(c *script, _ int) {
		mu.Lock()
		open++
		n := open
		mu.Unlock()
		defer func() { mu.Lock(); open--; mu.Unlock() }()
		if n > 1 {
			c.say("421 4.7.0 too many connections")
			return
		}
		c.serve([]string{"PIPELINING"}, nil)
	})
	b := newBench(t, nil)
	b.domain("example.com", addr)
	for range 200 {
		b.Submit(b.message("x\n", "u@example.com"), &Relay{Limits: Limits{SessionMailMax: 1000}})
	}
	for _, r := range b.wait(200) {
		if r.Status != envelope.Delivered {
			t.Errorf("%+v", r)
		}
	}
	if b.log.has("Disabling route") {
		t.Error("route disabled")
	}
}

// TestOnlyCleanLinesLeave looks at the bytes on the wire.
func TestOnlyCleanLinesLeave(t *testing.T) {
	in := "a\r.\rb\n.\nMAIL FROM:<x>\n\x00" + strings.Repeat("y", 2000) + "\n.\r\n\r.\r\n"
	got := make(chan []byte, 1)
	b := newBench(t, nil)
	b.domain("example.com", scripted(t, func(c *script, _ int) {
		c.say("220 x")
		for cmd := c.line(); cmd != "DATA" && cmd != ""; cmd = c.line() {
			c.say("250 ok")
		}
		c.say("354 go")
		got <- c.body()
		c.say("250 ok")
		io.Copy(io.Discard, c)
	}))
	b.one(defaultRelay, in, "u@example.com")
	body := <-got
	if n := bytes.Count(body, []byte("\r\n")); bytes.Count(body, []byte("\r")) != n || bytes.Count(body, []byte("\n")) != n {
		t.Errorf("%q", body)
	}
	if string(body) != wireSlow(in) {
		t.Errorf("%q", body)
	}
}

// TestManyRefusals: a session ends after a run of refusals, and every message has its result.
func TestManyRefusals(t *testing.T) {
	b := newBench(t, nil)
	b.domain("example.com", scripted(t, func(c *script, _ int) {
		c.serve([]string{"PIPELINING"}, func(cmd string) string {
			if strings.HasPrefix(cmd, "RCPT") {
				return "550 5.1.1 no"
			}
			if cmd == "DATA" {
				return "554 5.5.1 no recipients"
			}
			return ""
		})
	}))
	for range 60 {
		b.Submit(b.message("x\n", "u@example.com"), &Relay{Limits: Limits{MaxConnPerRoute: 1}})
	}
	for _, r := range b.wait(60) {
		if r.Status != envelope.PermFail || r.Text != "550 5.1.1 no" {
			t.Errorf("%+v", r)
		}
	}
	if !b.log.has("mta host-rejects-all-mails") {
		t.Error("not noticed")
	}
}

// TestDataAcceptedWithoutRecipients: the body must not be sent.
func TestDataAcceptedWithoutRecipients(t *testing.T) {
	bodies := make(chan []byte, 2)
	b := newBench(t, nil)
	b.domain("example.com", scripted(t, func(c *script, _ int) {
		c.say("220 x")
		for cmd := c.line(); cmd != ""; cmd = c.line() {
			switch {
			case strings.HasPrefix(cmd, "EHLO"):
				c.say("250-x", "250 PIPELINING")
			case strings.HasPrefix(cmd, "RCPT TO:<no@"):
				c.say("550 no")
			case cmd == "DATA":
				c.say("354 go")
				bodies <- c.body()
				c.say("250 ok")
			default:
				c.say("250 ok")
			}
		}
	}))
	if r := b.one(defaultRelay, "secret\n", "no@example.com"); r.Status != envelope.PermFail {
		t.Errorf("%+v", r)
	}
	if got := <-bodies; string(got) != ".\r\n" {
		t.Errorf("%q", got)
	}
	if r := b.one(defaultRelay, "open\n", "yes@example.com"); r.Status != envelope.Delivered || b.net.count(addr1) != 1 {
		t.Errorf("%+v", r)
	}
}

// TestSlowServerHoldsUpNobody: messages that hang do not keep the next one from leaving.
func TestSlowServerHoldsUpNobody(t *testing.T) {
	release, hang := make(chan struct{}), make(chan struct{}, 2)
	b := newBench(t, func(c *Config) { c.Timeouts.Stall = 10 * time.Millisecond })
	b.domain("example.com", scripted(t, func(c *script, n int) {
		c.serve([]string{"PIPELINING"}, func(cmd string) string {
			if cmd == "." && n <= 2 {
				hang <- struct{}{}
				<-release
			}
			return ""
		})
	}))
	first := []*Message{b.message("x\n", "u@example.com"), b.message("x\n", "u@example.com")}
	for _, msg := range first {
		b.Submit(msg, defaultRelay)
		<-hang
	}
	if r := b.one(defaultRelay, "x\n", "u@example.com"); r.Status != envelope.Delivered || r.ID == first[0].Recipients[0].ID {
		t.Errorf("%+v", r)
	}
	close(release)
	b.wait(2)
}

func TestPanicCostsOneSession(t *testing.T) {
	b := newBench(t, nil)
	s := &sink{}
	b.domain("example.com", s.start(t, nil))
	msg := b.message("", "u@example.com")
	msg.Body = Body{File: exploding{}, Size: 10}
	b.Submit(msg, defaultRelay)
	for _, r := range b.wait(1) {
		if r.Status != envelope.TempFail || r.Text != "Internal error" {
			t.Errorf("%+v", r)
		}
	}
	if r := b.one(defaultRelay, "x\n", "u@example.com"); r.Status != envelope.Delivered {
		t.Errorf("%+v", r)
	}
}

type exploding struct{}

func (exploding) ReadAt([]byte, int64) (int, error) { panic("deliberate") }

var _ net.Conn = slow{}
