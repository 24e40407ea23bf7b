package filter

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestHandshake(t *testing.T) {
	for said, want := range map[string]string{
		"register|report|smtp-in|link-connect\nregister|ready\n": "",
		"register|report|smtp-out|*\r\nregister|ready\r\n":       "",
		"register|ready\n":                   "",
		"register|report|smtp-in|no-event\n": `cannot register for reports of "no-event"`,
		"register|filter|smtp-in|no-phase\n": `cannot register to filter smtp-in "no-phase"`,
		"register|filter|smtp-in|*\n":        `cannot register to filter smtp-in "*"`,
		"register|filter|smtp-out|connect\n": `cannot register to filter smtp-out "connect"`,
		"register|report|lmtp|timeout\n":     `cannot register for "lmtp"`,
		"register|both|smtp-in|timeout\n":    `cannot register for "both"`,
		"register|filter\n":                  `cannot register "register|filter"`,
		"hello\n":                            `said "hello" before register|ready`,
		"\n":                                 `said "" before register|ready`,
		"filter-result|1|2|proceed\n":        `before register|ready`,
		"register|rea":                       "ended in the middle of a line before it was ready",
		"":                                   "closed its output before it was ready",
		strings.Repeat("register|filter|smtp-in|data\n", mostRegister+1): "does not end to register",
		strings.Repeat("x", maxSaid+1):                                   "wrote a line longer than",
	} {
		f := &fake{begin: func(out io.Writer) bool {
			_, _ = io.WriteString(out, said)
			return want == ""
		}}
		p, err := Start(context.Background(), f.options(new(lines)))
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			p.Close()
		}
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%.40q: %s, want %s", said, got, want)
		}
		f.ended.Wait()
	}
}

// TestUnready: a process that never gets ready does not hold the server up for ever.
func TestUnready(t *testing.T) {
	f := &fake{begin: func(io.Writer) bool { return true }}
	opts := f.options(new(lines))
	opts.Handshake = 20 * time.Millisecond
	if _, err := Start(context.Background(), opts); err == nil || !strings.Contains(err.Error(), "was not ready within 20ms") {
		t.Error(err)
	}
	f.ended.Wait()
}

func TestDecisions(t *testing.T) {
	for said, want := range map[string]string{
		"proceed":            "a@b",
		"proceed|x":          "a@b",
		"junk":               "a@b junk",
		"rewrite|c|d":        "c|d rewritten",
		"report|seen":        "a@b",
		"reject|550 no | x":  "550 no | x",
		"reject|451 later":   "451 later",
		"reject|421 bye":     "421 bye, closed",
		"disconnect|550 bye": "550 bye, closed",
		"reject":             "451 Temporary failure",
		"reject|":            "421 Temporary failure, closed",
		"reject|no code":     "421 Temporary failure, closed",
		"reject|250 fine":    "421 Temporary failure, closed",
		"reject|550 a\rb":    "451 Temporary failure",
		"reject|550 a\x00b":  "451 Temporary failure",
		"bypass":             "451 Temporary failure",
		"maybe":              "451 Temporary failure",
		"":                   "451 Temporary failure",
		"proceed\r":          "a@b",
	} {
		b := run(t, &fake{register: everything, answer: says(said)}, time.Minute)
		out := b.session().Ask(context.Background(), MailFrom, "a@b")
		got := out.Arg
		switch {
		case out.Reply != nil:
			got = fmt.Sprint(out.Reply.Code, " ", out.Reply.Message)
		case out.Junk:
			got += " junk"
		case out.Rewritten:
			got += " rewritten"
		}
		if out.Close {
			got += ", closed"
		}
		if got != want {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
	b := run(t, &fake{register: everything, answer: says("rewrite|x")}, time.Minute)
	if out := b.session().Ask(context.Background(), Connect, "host", "127.0.0.1"); out.Reply == nil || out.Reply.Code != 451 {
		t.Errorf("rewrote the connection: %+v", out)
	}
}

// TestUnasked: what is said twice, the wrong way round, too late or for nobody changes nothing.
func TestUnasked(t *testing.T) {
	b := run(t, &fake{register: everything, answer: func(f []string, out *bufio.Writer) bool {
		fmt.Fprintf(out, "filter-result|%s|%s|reject|550 swapped\n", f[6], f[5])
		fmt.Fprintf(out, "filter-result|%s|0123456789abcdef|reject|550 wrong token\n", f[5])
		fmt.Fprintf(out, "filter-result|0123456789abcdef|%s|reject|550 wrong session\n", f[6])
		fmt.Fprintf(out, "register|filter|smtp-in|helo\nreport|1.2|smtp-in|%s|unasked\n\n", f[5])
		says("proceed")(f, out)
		return says("reject|550 twice")(f, out)
	}}, time.Minute)
	for range 2 {
		if out := b.session().Ask(context.Background(), MailFrom, "x"); out.Reply != nil {
			t.Errorf("%+v", out.Reply)
		}
	}
	until(t, "the last complaint", func() bool { return strings.Count(b.log.String(), "waits for no answer") == 8 })
	if text := b.log.String(); !strings.Contains(text, "unasked") || strings.Contains(text, "panic") {
		t.Error(text)
	}
}

// TestLines: what a process is told has the form that it expects, and one line is one line.
func TestLines(t *testing.T) {
	b := run(t, &fake{register: "report|smtp-in|link-auth\nreport|smtp-in|protocol-client\nfilter|smtp-in|connect", answer: says("proceed")}, time.Minute)
	l := b.session()
	l.Report(LinkAuth, "pa|ss", "us|er\nx")
	l.Report(ProtocolClient, "a|b\r\x00c")
	l.Report(LinkConnect, "not wanted")
	l.Ask(context.Background(), Connect, "ho|st", "127.0.0.1")
	l.Ask(context.Background(), Helo, "not wanted")
	text := regexp.MustCompile(`\|\d+\.\d{6}\|`).ReplaceAllString(b.lines(), "|TIME|")
	text = regexp.MustCompile(`ef\|[0-9a-f]{16}\|`).ReplaceAllString(text, "ef|TOKEN|")
	if want := `config|protocol|0.7
config|ready
report|0.7|TIME|smtp-in|link-auth|0000000000abcdef|pa?ss|us|er?x
report|0.7|TIME|smtp-in|protocol-client|0000000000abcdef|a|b??c
filter|0.7|TIME|smtp-in|connect|0000000000abcdef|TOKEN|ho?st|127.0.0.1`; text != want {
		t.Errorf("told\n%s\nwant\n%s", text, want)
	}
}

// TestSaid: what filters that are in use say is understood.
func TestSaid(t *testing.T) {
	text, err := os.ReadFile("testdata/said.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		a, err := parseAnswer([]byte(strings.TrimSuffix(line, "\n")))
		if err != nil || a.session == 0 || a.token == 0 || (a.line == nil) != strings.HasPrefix(line, "filter-result") {
			t.Errorf("%q: %+v, %v", line, a, err)
		}
	}
}

// TestDeath: a process that ends costs the sessions that it knew, not those that begin after it was
// started again.
func TestDeath(t *testing.T) {
	die := func(phase Phase) func([]string, *bufio.Writer) bool {
		return func(f []string, out *bufio.Writer) bool { return f[4] != phase.String() && says("proceed")(f, out) }
	}
	for _, p := range []Phase{Connect, MailFrom, DataLine} {
		f := &fake{register: everything, answer: die(p)}
		b := run(t, f, time.Minute)
		l := b.session()
		ask := func() (code int) {
			if p == DataLine {
				_, err := message(l, "x\n")
				return codeOf(err)
			}
			if out := l.Ask(context.Background(), p, "x"); out.Reply != nil {
				code = out.Reply.Code
			}
			return code
		}
		if got := ask(); got != 421 {
			t.Errorf("%s: %d", p, got)
		}
		if got := ask(); got != 421 {
			t.Errorf("%s: then %d", p, got)
		}
		if out := l.Ask(context.Background(), Quit, ""); out.Reply != nil {
			t.Errorf("%s: cannot quit: %+v", p, out)
		}
		until(t, "another start", func() bool { return strings.Contains(b.log.String(), "was started again") })
		b.fake.mu.Lock()
		f.answer = says("proceed")
		b.fake.mu.Unlock()
		if out := b.session().Ask(context.Background(), Connect, "x"); out.Reply != nil {
			t.Errorf("%s: after that %+v", p, out.Reply)
		}
	}
}

// TestDown: as long as a process that decides does not run, nobody comes in; one that only
// listens keeps nobody out.
func TestDown(t *testing.T) {
	for register, want := range map[string]int{everything: 421, "filter|smtp-in|commit": 421, "report|smtp-in|*": 0} {
		f := &fake{register: register, answer: says("proceed")}
		b := run(t, f, time.Minute)
		b.proc.mu.Lock()
		life := b.proc.life
		b.proc.Options.FirstWait = time.Hour
		b.proc.mu.Unlock()
		life.fail(errors.New("was ended by the test"))
		until(t, "the end", func() bool { l, _ := b.proc.now(); return l == nil })
		out := b.session().Ask(context.Background(), Connect, "x")
		code := 0
		if out.Reply != nil {
			code = out.Reply.Code
		}
		if code != want {
			t.Errorf("%s: %d, want %d", register, code, want)
		}
	}
}

// TestFailOpen: a process that may fail is not missed.
func TestFailOpen(t *testing.T) {
	f := &fake{register: everything, answer: says("reject|550 no")}
	b := run(t, f, time.Minute)
	b.proc.mu.Lock()
	life := b.proc.life
	b.proc.Options.FirstWait, b.proc.Options.FailOpen = time.Hour, true
	b.proc.mu.Unlock()
	known := b.session()
	if out := known.Ask(context.Background(), MailFrom, "x"); out.Reply == nil {
		t.Error("its decision does not count")
	}
	life.fail(errors.New("was ended by the test"))
	until(t, "the end", func() bool { l, _ := b.proc.now(); return l == nil })
	for _, l := range []*Link{known, b.session()} {
		for _, p := range []Phase{Connect, MailFrom} {
			if out := l.Ask(context.Background(), p, "x"); out.Reply != nil {
				t.Errorf("%s: %+v", p, out.Reply)
			}
		}
		if s, err := l.Stream(1); s != nil || err != nil {
			t.Errorf("a message: %v, %v", s, err)
		}
	}
}

// TestSilent: who waits for an answer that does not come gets a temporary error. A process that is
// silent to everybody is ended, one that talks to others is not.
func TestSilent(t *testing.T) {
	for name, answer := range map[string]string{"silent": "", "wrong token": "filter-result|0000000000abcdef|0123456789abcdef|proceed\n", "noise": "hm\n"} {
		f := &fake{register: everything, answer: func(_ []string, out *bufio.Writer) bool { _, _ = out.WriteString(answer); return true }}
		patience := 50 * time.Millisecond
		if answer != "" {
			patience = 2 * time.Second // it has to say something within that
		}
		b := run(t, f, patience)
		l := b.session()
		if out := l.Ask(context.Background(), MailFrom, "x"); out.Reply == nil || out.Reply.Code != 451 || out.Close {
			t.Errorf("%s: %+v", name, out)
		}
		if over := l.parts[0].life.over(); over != (answer == "") {
			t.Errorf("%s: ended: %t", name, over)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if out := b.session().Ask(ctx, MailFrom, "x"); out.Reply == nil {
			t.Errorf("%s: %+v", name, out)
		}
	}
}

// TestFlood: what a process says wrong does not fill the log, and a line without an end ends it.
func TestFlood(t *testing.T) {
	f := &fake{register: everything, answer: func(f []string, out *bufio.Writer) bool {
		for range 1000 {
			_, _ = out.WriteString("no such thing\n")
		}
		return says("proceed")(f, out)
	}}
	b := run(t, f, time.Minute)
	if out := b.session().Ask(context.Background(), MailFrom, "x"); out.Reply != nil {
		t.Errorf("%+v", out.Reply)
	}
	if n := strings.Count(b.log.String(), "no such thing"); n != mostNoise {
		t.Errorf("%d lines in the log", n)
	}
	f = &fake{register: everything, answer: func(_ []string, out *bufio.Writer) bool {
		_, _ = out.WriteString(strings.Repeat("x", 2*maxSaid))
		return true
	}}
	b = run(t, f, time.Minute)
	if out := b.session().Ask(context.Background(), MailFrom, "x"); out.Reply == nil || out.Reply.Code != 421 {
		t.Errorf("an endless line: %+v", out)
	}
}

// TestDeaf: a process that does not read is ended, and holds nobody for longer.
func TestDeaf(t *testing.T) {
	stop := make(chan struct{})
	f := &fake{register: everything, answer: func([]string, *bufio.Writer) bool { <-stop; return false }}
	b := run(t, f, 50*time.Millisecond)
	defer close(stop)
	l := b.session()
	go l.Ask(context.Background(), MailFrom, "x")
	for range 4 * mostUnsent / 1000 {
		l.Report(ProtocolClient, strings.Repeat("x", 1000))
	}
	until(t, "the end of this life", l.parts[0].life.over)
}
