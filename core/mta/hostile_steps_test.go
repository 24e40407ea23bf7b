package mta

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

// The steps of a session at which a server can go wrong. "TLS" is the place of the handshake,
// "EHLO" the second one where there is TLS, "body" comes after the first line of the message.
var steps = []string{"connect", "EHLO", "STARTTLS", "TLS", "MAIL", "RCPT", "DATA", "body", ".", "QUIT"}

// astray is a server that does as it should until a step. There it does something else and
// closes the connection, or gives another answer and goes on.
type astray struct {
	step   string
	act    func(c *script)
	answer string // instead of act, with its line end
	cert   *tls.Certificate
	ehlo   []string
	lmtp   bool // there is a reply to a message for each of two recipients

	whole atomic.Int32 // messages that came to their end
}

// at reports whether the usual answer of a step is due, and whether the session is over.
func (a *astray) at(step string, c *script) (usual, over bool) {
	switch {
	case step != a.step:
		return true, false
	case a.act != nil:
		a.act(c)
		return false, true
	}
	io.WriteString(c, a.answer)
	return false, false
}

func (a *astray) serve(c *script, _ int) {
	defer func() { c.Close() }() // not of the first c: TLS may take its place
	usual, over := a.at("connect", c)
	if usual {
		c.say("220 astray.example")
	}
	for !over {
		cmd := c.line()
		verb, _, _ := strings.Cut(cmd, " ")
		if verb == "LHLO" {
			verb = "EHLO"
		}
		_, secure := c.Conn.(*tls.Conn)
		if usual = true; verb != "EHLO" || secure || a.cert == nil { // where there is TLS it is the second EHLO
			usual, over = a.at(verb, c)
		}
		switch {
		case cmd == "":
			return
		case over || !usual && (verb != "DATA" || !strings.HasPrefix(a.answer, "354")):
		case verb == "EHLO":
			a.hello(c, secure)
		case verb == "STARTTLS":
			c.say("220 go")
			if _, over = a.at("TLS", c); !over {
				tc := tls.Server(c.Conn, &tls.Config{Certificates: []tls.Certificate{*a.cert}})
				over = tc.Handshake() != nil
				c = &script{tc, bufio.NewReader(tc)}
			}
		case verb == "DATA":
			over = a.take(c, usual)
		default:
			c.say("250 2.0.0 ok")
		}
	}
}

func (a *astray) hello(c *script, secure bool) {
	c.say("250-astray.example")
	if a.cert != nil && !secure {
		c.say("250-STARTTLS")
	}
	for _, e := range a.ehlo {
		c.say("250-" + e)
	}
	c.say("250 HELP")
}

// take reads a message, and reports whether the session is over.
func (a *astray) take(c *script, usual bool) bool {
	if usual {
		c.say("354 go")
	}
	if a.step == "body" {
		c.line()
		a.at("body", c)
		return true
	}
	if !strings.HasSuffix(string(c.body()), ".\r\n") {
		return true
	}
	a.whole.Add(1)
	usual, over := a.at(".", c)
	if usual {
		c.say("250 2.0.0 queued")
	}
	if usual && a.lmtp {
		c.say("250 2.0.0 queued")
	}
	return over
}

// metered counts what is read from servers.
type metered struct {
	Dialer
	read atomic.Int64
}

type meteredConn struct {
	net.Conn
	n *atomic.Int64
}

func (d *metered) Dial(ctx context.Context, source netip.Addr, to netip.AddrPort) (net.Conn, error) {
	c, err := d.Dialer.Dial(ctx, source, to)
	return &meteredConn{c, &d.read}, err
}

func (c *meteredConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// goAstray sends a message with two recipients to a server that goes wrong, and checks what
// has to be true of every session: it ends, there is one result for each recipient and no
// other, the body is given up once, not much is read, and nothing odd gets into log or results.
func goAstray(t *testing.T, a *astray, quick bool) []envelope.Result {
	t.Helper()
	d := &metered{}
	b := newBench(t, func(c *Config) {
		if d.Dialer = c.Dialer; quick {
			short(c)
			c.Timeouts.Quit = time.Millisecond
			if a.step != "TLS" { // a handshake that is slow on a busy host would be done without
				c.Timeouts.TLS = patience
			}
		}
		c.Dialer = d
	})
	b.domain("example.com", scripted(t, a.serve))
	msg := b.message(strings.Repeat("Subject: hello\n", 20), "u@example.com", "v@example.com")
	var closed atomic.Int32
	msg.Close = func() { closed.Add(1) }
	relay := &Relay{Limits: Limits{SessionMailMax: 1}}
	if a.lmtp {
		relay.URL = URL{Scheme: LMTP, Host: addr1.String(), Port: 24}
	}
	b.Submit(msg, relay)
	var out []envelope.Result
	for _, r := range b.wait(2) {
		out = append(out, r)
		if envelope.CleanErrorLine(r.Text) != r.Text || len(r.Text) > envelope.MaxErrorLine || r.EscClass > 5 || r.EscCode > 9999 {
			t.Errorf("%+v", r)
		}
		if r.Status == envelope.Delivered && a.whole.Load() == 0 {
			t.Errorf("delivered, but the server did not get it: %+v", r)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	b.Stop(ctx) // the session is over when it returns, without force
	if ctx.Err() != nil || len(b.results) != 0 || closed.Load() != 1 || a.whole.Load() > 1 || len(b.hostsBusy()) != 0 {
		t.Errorf("over: %v, results left: %d, closed: %d, messages at the server: %d, busy: %v", ctx.Err(), len(b.results), closed.Load(), a.whole.Load(), b.hostsBusy())
	}
	if n := d.read.Load(); n > maxRead {
		t.Errorf("%d octets were read", n)
	}
	for line := range strings.Lines(b.log.String()) {
		if line = strings.TrimSuffix(line, "\n"); strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0xfffd }) {
			t.Errorf("in the log: %q", line)
		}
		if n := strings.Count(line, `result="`); n > 1 {
			t.Errorf("in the log: %s", line)
		}
	}
	return out
}

// maxRead bounds what a session reads: three attempts to get a message through, of a few
// replies of the largest size each.
const maxRead = 4 * maxReplyLine * maxReplyLines

// hostsBusy gives the servers that have connections still.
func (m *MTA) hostsBusy() (busy []netip.Addr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for a, h := range m.hosts {
		if h.conns != 0 {
			busy = append(busy, a)
		}
	}
	return busy
}

func endless(c *script, text string) {
	for {
		if _, err := io.WriteString(c, text); err != nil {
			return
		}
	}
}

// astrayAct is something that a server does at any step.
type astrayAct struct {
	name  string
	quick bool
	texts []string // one of them is in the result
	act   func(c *script)
}

func astrayActs() []astrayAct {
	const closed, timedOut, tooLong, malformed = "closed unexpectedly", "timed out", "reply too long", "malformed reply"
	return []astrayAct{
		{"closes", false, []string{closed}, func(*script) {}},
		{"resets", false, []string{closed, "connection reset", "broken pipe"}, func(c *script) {
			if tcp, ok := c.Conn.(*net.TCPConn); ok {
				tcp.SetLinger(0)
			}
		}},
		{"half a line, closes", false, []string{closed}, func(c *script) { io.WriteString(c, "25") }},
		{"half a reply, closes", false, []string{closed}, func(c *script) { c.say("250-first") }},
		{"half a line, silent", true, []string{timedOut}, func(c *script) { io.WriteString(c, "25"); io.Copy(io.Discard, c) }},
		{"silent", true, []string{timedOut}, func(c *script) { io.Copy(io.Discard, c) }},
		{"drips", true, []string{timedOut}, func(c *script) { endless(&script{Conn: slow{c}}, "2") }},
		{"drips lines", true, []string{timedOut, tooLong}, func(c *script) { endless(&script{Conn: slow{c}}, "250-x\r\n") }},
		{"endless line", false, []string{tooLong}, func(c *script) { endless(c, "250 "+strings.Repeat("x", 1<<20)) }},
		{"endless reply", false, []string{tooLong}, func(c *script) { endless(c, "250-x\r\n") }},
		{"thousands of lines", false, []string{tooLong}, func(c *script) {
			io.WriteString(c, strings.Repeat("250-SIZE\r\n", 50000)+"250 ok\r\n")
			io.Copy(io.Discard, c)
		}},
		{"empty lines", false, []string{malformed}, func(c *script) { endless(c, "\r\n") }},
		{"NUL", false, []string{tooLong}, func(c *script) { endless(c, "\x00") }},
	}
}

// TestAstrayAtEachStep: closed, silent, slow and endless servers at each step.
func TestAstrayAtEachStep(t *testing.T) {
	cert, _ := certificate(t, "mx1.example")
	for _, encrypted := range []bool{false, true} {
		for _, step := range steps {
			if !encrypted && (step == "STARTTLS" || step == "TLS") {
				continue
			}
			for _, tt := range astrayActs() {
				t.Run(fmt.Sprintf("%s/%s/%t", step, tt.name, encrypted), func(t *testing.T) {
					t.Parallel()
					a := &astray{step: step, act: tt.act, ehlo: []string{"PIPELINING"}}
					if encrypted {
						a.cert = &cert
					}
					for _, r := range goAstray(t, a, tt.quick) {
						switch {
						case step == "QUIT":
							if r.Status != envelope.Delivered {
								t.Errorf("%+v", r)
							}
						case step == "TLS": // tried again in clear, unless the octets came too early
							if r.Status != envelope.Delivered && !strings.Contains(r.Text, errInjection.Error()) && !tt.quick {
								t.Errorf("%+v", r)
							}
						case r.Status != envelope.TempFail || !containsOne(r.Text, tt.texts):
							// A server that sends something and closes may be heard or not.
							if step != "body" && !(encrypted && tt.name == "resets") || r.Status != envelope.TempFail {
								t.Errorf("%+v", r)
							}
						}
					}
				})
			}
		}
	}
}

func containsOne(s string, parts []string) bool {
	for _, p := range parts {
		if strings.Contains(s, p) {
			return true
		}
	}
	return false
}

// TestAstrayReplies: wrong codes and odd texts at each step.
func TestAstrayReplies(t *testing.T) {
	const tricks = " 5.7.1 a\rb\x00c\x1b[2Jd\x9be\xff\u2028f\u0085g\" result=\"Ok\" stat=\"250 ok"
	any := map[string]bool{"*": true}
	replies := []struct {
		text string
		good map[string]bool // steps at which it is as good as the right one
		hard bool            // it refuses for good at MAIL, RCPT, DATA and the end
	}{
		{"200 x", any, false}, {"220 x", any, false}, {"221 x", any, false}, {"250 x", any, false}, {"252 x", any, false}, {"299 x", any, false},
		{"250", any, false}, {"250 2.0.0 " + strings.Repeat("x", 2000), any, false}, {"250-x\r\n250-\r\n250", any, false},
		{"250 ok\n", any, false},
		{"334 x", nil, false}, {"354 x", map[string]bool{"DATA": true}, false}, {"399 x", nil, false},
		{"421 x", nil, false}, {"450 x", nil, false}, {"499 x", nil, false},
		{"500 x", nil, true}, {"550 5.1.1 x", nil, true}, {"550 2.0.0 x", nil, true}, {"550 4.4.4 x", nil, true}, {"599 x", nil, true},
		{"421" + tricks, nil, false}, {"451" + tricks, nil, false}, {"550" + tricks, nil, true},
		{"550-" + strings.TrimPrefix(tricks, " ") + "\r\n550" + tricks, nil, true},
		{"550-x\r\n250 y", nil, false}, {"250-x\r\n550 y", nil, false}, {"250 x\ry\r550 z\r", any, false},
		{"000 x", nil, false}, {"100 x", nil, false}, {"199 x", nil, false}, {"600 x", nil, false}, {"999 x", nil, false},
		{"25 x", nil, false}, {"2500 x", nil, false}, {"25O x", nil, false}, {"-50 x", nil, false}, {" 250 x", nil, false},
		{"250_x", nil, false}, {"\xef\xbb\xbf250 x", nil, false}, {"HTTP/1.1 200 OK", nil, false}, {"250\x00 x", nil, false},
	}
	for _, step := range []string{"connect", "EHLO", "MAIL", "RCPT", "DATA", ".", "QUIT"} {
		for i, tt := range replies {
			t.Run(fmt.Sprintf("%s/%d", step, i), func(t *testing.T) {
				t.Parallel()
				a := &astray{step: step, ehlo: []string{"PIPELINING", "ENHANCEDSTATUSCODES"}}
				if a.answer = tt.text; !strings.HasSuffix(tt.text, "\n") {
					a.answer += "\r\n"
				}
				good := step == "QUIT" || tt.good["*"] && step != "DATA" || tt.good[step]
				if step == "EHLO" && !good { // what is no 4xx makes it try HELO, which works
					r, err := readReply(bufio.NewReader(strings.NewReader(tt.text + "\r\n")))
					good = err == nil && r.class() != 4
				}
				for _, r := range goAstray(t, a, false) {
					want := envelope.TempFail
					switch {
					case good:
						want = envelope.Delivered
					case tt.hard && step != "connect":
						want = envelope.PermFail
					}
					if r.Status != want {
						t.Errorf("%s: %+v, want %d", tt.text, r, want)
					}
				}
			})
		}
	}
}

// TestAstrayLMTP is the same for servers at which mail ends.
func TestAstrayLMTP(t *testing.T) {
	for _, step := range steps {
		if step == "STARTTLS" || step == "TLS" {
			continue
		}
		for _, tt := range astrayActs() {
			t.Run(step+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				for _, r := range goAstray(t, &astray{step: step, act: tt.act, lmtp: true}, tt.quick) {
					if want := step == "QUIT"; (r.Status == envelope.Delivered) != want || !want && r.Status != envelope.TempFail {
						t.Errorf("%+v", r)
					}
				}
			})
		}
	}
}

// TestAnswersWithoutQuestion: what is said before it is asked for is not taken for the reply
// to the next command, nor for that to the message.
func TestAnswersWithoutQuestion(t *testing.T) {
	const out = "out of sequence"
	tests := []struct{ step, answer, text string }{
		{"connect", "220 x\r\n250 x\r\n", out},
		{"EHLO", "250 x\r\n250 x\r\n", out},
		{"EHLO", "250 x\r\n25", out},
		{"EHLO", "250 x\r\n421 4.3.2 going down\r\n", "421 4.3.2 going down"},
		{"DATA", "354 go\r\n250 2.0.0 queued\r\n", out},
		{"DATA", "354 go\r\n550 5.7.1 no\r\n", out},
		{"DATA", "354 go\r\n\r\n", out},
	}
	for i, tt := range tests {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			a := &astray{step: tt.step, answer: tt.answer}
			for _, r := range goAstray(t, a, false) {
				if r.Status != envelope.TempFail || !strings.Contains(r.Text, tt.text) || a.whole.Load() != 0 {
					t.Errorf("%q: %+v, %d messages", tt.answer, r, a.whole.Load())
				}
			}
		})
	}
}

// TestAnswersTwice: a server that says everything twice gets one message a connection.
func TestAnswersTwice(t *testing.T) {
	var whole atomic.Int32
	b := newBench(t, nil)
	b.domain("example.com", scripted(t, func(c *script, _ int) {
		c.serve([]string{"PIPELINING"}, func(cmd string) string {
			if cmd == "." {
				whole.Add(1)
				return "250 2.0.0 queued\r\n250 2.0.0 queued again"
			}
			return ""
		})
	}))
	for range 5 {
		if r := b.one(&Relay{Limits: Limits{MaxConnPerRoute: 1}}, "x\n", "u@example.com"); r.Status != envelope.Delivered {
			t.Errorf("%+v", r)
		}
	}
	if n := whole.Load(); n != 5 {
		t.Errorf("%d messages", n)
	}
}

// TestGreatPromises: keywords of EHLO that are too many, too long or mean nothing.
func TestGreatPromises(t *testing.T) {
	many := func(n int, text string) (lines []string) {
		for i := range n {
			lines = append(lines, fmt.Sprintf("%s%d", text, i))
		}
		return lines
	}
	for name, tt := range map[string]struct {
		ehlo   []string
		status envelope.Status
		text   string
	}{
		"90 keywords":         {many(90, "X"), envelope.Delivered, ""},
		"long keywords":       {many(90, strings.Repeat("X", 2000)), envelope.Delivered, ""},
		"200 keywords":        {many(200, "X"), envelope.TempFail, "reply too long"},
		"longer keywords":     {many(3, strings.Repeat("X", 3000)), envelope.TempFail, "reply too long"},
		"mechanisms":          {many(90, "AUTH "+strings.Repeat("PLAIN ", 300)), envelope.Delivered, ""},
		"size too large":      {[]string{"SIZE 99999999999999999999999999"}, envelope.Delivered, ""},
		"size below nothing":  {[]string{"SIZE -1"}, envelope.Delivered, ""},
		"no size":             {[]string{"SIZE"}, envelope.Delivered, ""},
		"size of nothing":     {[]string{"SIZE 0"}, envelope.Delivered, ""},
		"several sizes":       {[]string{"SIZE 1000", "SIZE 9223372036854775807", "SIZE 9223372036854775808"}, envelope.Delivered, ""},
		"size of one octet":   {[]string{"SIZE 1"}, envelope.PermFail, "message too large for peer"},
		"limits":              {[]string{"LIMITS RCPTMAX=0 MAILMAX=-1 RCPTMAX=99999999999999999999 RCPTDOMAINMAX=x ="}, envelope.Delivered, ""},
		"one at a time":       {[]string{"LIMITS RCPTMAX=1 MAILMAX=1"}, envelope.Delivered, ""},
		"control characters":  {[]string{"\x00PIPELINING", "SIZE\x1b 5", "\xff\xfe", "DSN\r"}, envelope.Delivered, ""},
		"a name of our own":   {[]string{"SMTPUTF8 x", "8BITMIME y", "CHUNKING", "BINARYMIME", "DSN", "REQUIRETLS"}, envelope.Delivered, ""},
		"TLS without TLS":     {[]string{"STARTTLS"}, envelope.TempFail, ""},
		"TLS without TLS too": {[]string{"starttls"}, envelope.TempFail, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := &astray{ehlo: tt.ehlo, step: "nothing"}
			if strings.Contains(name, "TLS") {
				a.step, a.act = "STARTTLS", func(c *script) { c.say("220 go"); io.WriteString(c, "no TLS\r\n") }
			}
			b := newBench(t, nil)
			b.domain("example.com", scripted(t, a.serve))
			b.Submit(b.message("Subject: x\n\nx\n", "u@example.com", "v@example.com"), defaultRelay)
			for _, r := range b.wait(2) {
				if r.Status != tt.status || !strings.Contains(r.Text, tt.text) {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

// TestLiesAboutPipelining: a server that forgets what it was sent together with the command that
// it is at gets one command at a time from then on.
func TestLiesAboutPipelining(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Timeouts.Command, c.Timeouts.DataInit = time.Second, time.Second })
	b.domain("example.com", scripted(t, func(c *script, _ int) {
		c.serve([]string{"PIPELINING"}, func(cmd string) string {
			if cmd != "." {
				c.r.Discard(c.r.Buffered())
			}
			return ""
		})
	}))
	for range 3 {
		if r := b.one(&Relay{Limits: Limits{MaxConnPerRoute: 1}}, "x\n", "u@example.com"); r.Status != envelope.Delivered {
			t.Errorf("%+v", r)
		}
	}
	if n := b.net.count(addr1); n != 2 || b.log.has("Disabling route") {
		t.Errorf("%d connections", n)
	}
}
