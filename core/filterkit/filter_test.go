package filterkit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"slices"
	"strings"
	"testing"
	"time"
)

const hello = `config|smtpd-version|7.8.0-portable
config|protocol|0.7
config|smtp-session-timeout|300
config|subsystem|smtp-in
config|admd|mx.example.org
config|ready
`

// report and ask give a line of the server about session 1.
func report(event, args string) string { return line1("report", event, args) }
func ask(phase, args string) string    { return line1("filter", phase, "t|"+args) }

func line1(kind, name, rest string) string {
	if rest != "" {
		rest = "|" + rest
	}
	return kind + "|0.7|1795438964.350452|smtp-in|" + name + "|0000000000000001" + rest + "\n"
}

// message gives the lines of a message, in the form of SMTP.
func message(lines ...string) string {
	var b strings.Builder
	for _, l := range append(lines, ".") {
		b.WriteString(ask("data-line", l))
	}
	return b.String()
}

// quiet runs a filter over some lines and gives what it wrote after the handshake.
func quiet(t *testing.T, f *Filter, in string) (string, error) {
	t.Helper()
	f.Log = log.New(io.Discard, "", 0)
	var out bytes.Buffer
	err := f.Run(t.Context(), strings.NewReader(in), &out)
	_, after, _ := strings.Cut(out.String(), "register|ready\n")
	return strings.ReplaceAll(after, "|0000000000000001|t|", " "), err
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		phase  Phase
		answer Answer
		want   string
	}{
		{Ehlo, Answer{}, "proceed"},
		{Ehlo, Proceed(), "proceed"},
		{Ehlo, Rewrite("a\r\nfilter-result|1"), "rewrite|a  filter-result|1"},
		{MailFrom, Rewrite("a@example.org"), "rewrite|<a@example.org>"},
		{MailFrom, Junk(), "junk"},
		{Commit, Junk(), "proceed"},
		{Ehlo, Report("hi"), "proceed"}, // since OpenSMTPD would take it for a name
		{RcptTo, Reject(451, "4.7.1 later\n"), "reject|451 4.7.1 later "},
		{RcptTo, Reject(250, "fine"), "reject|550 fine"},
		{RcptTo, Disconnect(421, "bye"), "disconnect|421 bye"},
	} {
		var f Filter
		f.In.Decide(c.phase, func(*Session, string) Answer { return c.answer })
		got, err := quiet(t, &f, hello+ask(string(c.phase), "value"))
		if want := "filter-result " + c.want + "\n"; got != want || err != nil {
			t.Errorf("%s %v: got %q, %v; want %q", c.phase, c.answer, got, err, want)
		}
	}
}

// TestSession: what is told is there for the handlers of later lines.
func TestSession(t *testing.T) {
	var f Filter
	var got []string
	f.In.Report(LinkConnect, func(s *Session, args []string) { s.State = len(args) })
	f.In.Decide(Data, func(s *Session, _ string) Answer {
		got = append(got, fmt.Sprintf("%q %v %v %s %s %s %q %q %q %v", s.Name, s.Confirmed, s.Addr, s.Helo, s.TLS, s.User,
			s.Tx.ID, s.Tx.Sender, s.Tx.Recipients, s.State))
		return Proceed()
	})
	f.In.Report(FilterReport, func(s *Session, args []string) { got = append(got, strings.Join(args, " ")) })
	in := hello + report("link-connect", "<unknown>|fail|[::1]:38834|[::1]:25") +
		report("link-identify", "EHLO|a|b") + report("link-tls", "TLSv1.3:X:256") +
		report("link-auth", "fail|eve") + report("link-auth", "pass|a|b") +
		report("tx-begin", "fb3434cc") + report("tx-mail", "fb3434cc|ok|") +
		report("tx-rcpt", "fb3434cc|permfail|x@example.org") + report("tx-rcpt", "fb3434cc|ok|a|b@example.org") +
		ask("data", "") + report("filter-report", "proc|other|a|b") + report("future", "1|2|3") +
		report("tx-rollback", "fb3434cc") + ask("data", "") + report("link-disconnect", "")
	if out, err := quiet(t, &f, in); err != nil || strings.Count(out, "proceed") != 2 {
		t.Error(out, err)
	}
	want := []string{`"" false ::1 a|b TLSv1.3:X:256 a|b "fb3434cc" "" ["a|b@example.org"] 4`, "proc other a|b",
		`"" false ::1 a|b TLSv1.3:X:256 a|b "" "" [] 4`}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestOldAuth: before 0.7 the user came first.
func TestOldAuth(t *testing.T) {
	var user string
	var f Filter
	f.In.Report(LinkAuth, func(s *Session, args []string) { user = s.User })
	if _, err := quiet(t, &f, hello+"report|0.6|1.0|smtp-in|link-auth|1|a|b|pass\n"); err != nil || user != "a|b" {
		t.Error(user, err)
	}
}

func TestLines(t *testing.T) {
	for _, c := range []struct {
		name string
		h    func(*Session, string, *Output)
		in   []string
		want string // the lines, then the answer at commit
	}{
		{"nothing written", func(*Session, string, *Output) {}, []string{"a"}, ". proceed"},
		{"as it is", func(_ *Session, l string, o *Output) {
			if !o.End {
				o.Write(l)
			}
		}, []string{"a", "", "..dot"}, "a||..dot|. proceed"},
		{"more at the end, refused", func(_ *Session, l string, o *Output) {
			if o.End {
				o.Write("one\n.two")
				o.Answer = Reject(550, "no")
			}
		}, []string{"a"}, "one|..two|. reject|550 no"},
		{"a panic in the middle", func(_ *Session, l string, o *Output) {
			if l == "b" {
				panic("b")
			}
			o.Write(l)
		}, []string{"a", "b", "c", "..d"}, "a|c|..d|. reject|451 4.3.0 the filter failed, try again later"},
	} {
		var f Filter
		f.In.Lines(c.h)
		out, err := quiet(t, &f, hello+message(c.in...)+ask("commit", ""))
		if got := flat(out); got != c.want || err != nil {
			t.Errorf("%s: got %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

// flat gives the lines of a message and the answer at commit.
func flat(out string) string {
	out = strings.ReplaceAll(out, "filter-dataline ", "")
	out = strings.TrimSuffix(strings.ReplaceAll(out, "\nfilter-result ", " "), "\n")
	return strings.ReplaceAll(out, "\n", "|")
}

func TestMessage(t *testing.T) {
	big := strings.Repeat("x", 40)
	for _, c := range []struct {
		name string
		h    func(*Session, *Message) Answer
		in   []string
		want string
	}{
		{"as it is", func(*Session, *Message) Answer { return Proceed() }, []string{"S: a", "", "..", "b"}, "S: a||..|b|. proceed"},
		{"a field added", func(_ *Session, m *Message) Answer { m.AddHeader("A", "b\n\n c\r\nd"); return Proceed() },
			[]string{"S: a"}, "A: b|\tc|\td|S: a|. proceed"},
		{"CRLF, and no end", func(_ *Session, m *Message) Answer { m.Bytes = []byte("a\r\n\r\n.\r\nb"); return Proceed() },
			[]string{"S: a"}, "a||..|b|. proceed"},
		{"junk", func(*Session, *Message) Answer { return Junk() }, []string{"S: a"}, "X-Spam: Yes|S: a|. proceed"},
		{"refused", func(_ *Session, m *Message) Answer { return Reject(550, string(m.Bytes)) }, []string{"S: a"}, "S: a|. reject|550 S: a "},
		{"too long", func(*Session, *Message) Answer { panic("called") }, []string{big, "", ".." + big},
			big + "||.." + big + "|. reject|552 5.3.4 the message is too long for the filter"},
		{"a panic", func(*Session, *Message) Answer { panic("x") }, []string{"a"}, "a|. reject|451 4.3.0 the filter failed, try again later"},
		{"empty", func(*Session, *Message) Answer { return Proceed() }, nil, ". proceed"},
	} {
		f := Filter{MaxMessage: 64}
		f.In.Message(c.h)
		in := hello + message(c.in...) + ask("commit", "")
		out, err := quiet(t, &f, in+in[len(hello):]) // twice in one session
		if got := strings.SplitAfterN(out, "filter-result ", 2); err != nil || len(got) != 2 {
			t.Fatalf("%s: %q, %v", c.name, out, err)
		}
		half := len(out) / 2
		if got := flat(out[:half]); got != c.want || out[:half] != out[half:] {
			t.Errorf("%s: got %q; want %q", c.name, got, c.want)
		}
	}
}

// TestOversize: a message that is too long can be let through.
func TestOversize(t *testing.T) {
	pass := Proceed()
	f := Filter{MaxMessage: 4, Oversize: &pass}
	f.In.Message(func(*Session, *Message) Answer { return Reject(550, "seen") })
	out, err := quiet(t, &f, hello+message("abc", "def")+ask("commit", ""))
	if got := flat(out); got != "abc|def|. proceed" || err != nil {
		t.Error(got, err)
	}
}

// TestHandshake: what is registered is what is used, of the sides that there are.
func TestHandshake(t *testing.T) {
	out := strings.Replace(hello, "config|subsystem|smtp-in", "config|subsystem|smtp-out", 1)
	deciding := strings.Replace(out, "config|ready", "config|decide|smtp-out\nconfig|ready", 1)
	nothing := func(*Session, string) Answer { return Proceed() }
	for _, c := range []struct {
		name, in string
		set      func(*Filter)
		want     string // first and last line before register|ready, or an error
	}{
		{"nothing", hello, func(*Filter) {}, ""},
		{"other side", out, func(f *Filter) { f.In.Decide(Ehlo, nothing) }, ""},
		{"phase", hello, func(f *Filter) { f.In.Decide(Ehlo, nothing) },
			"register|report|smtp-in|link-auth register|filter|smtp-in|ehlo"},
		{"message", hello, func(f *Filter) { f.In.Message(func(*Session, *Message) Answer { return Proceed() }) },
			"register|report|smtp-in|link-auth register|filter|smtp-in|data-line"},
		{"reports out", out, func(f *Filter) { f.Out.Report(Timeout, func(*Session, []string) {}) },
			"register|report|smtp-out|link-auth register|report|smtp-out|tx-rollback"},
		{"decides out", deciding, func(f *Filter) { f.Out.Decide(RcptTo, nothing) },
			"register|report|smtp-out|link-auth register|filter|smtp-out|rcpt-to"},
		{"cannot decide out", out, func(f *Filter) { f.Out.Decide(RcptTo, nothing) }, "this server lets no filter decide about outgoing sessions"},
		{"refuses", hello, func(f *Filter) { f.Configured = func(c Config) error { return errors.New(c.ADMD) } }, "mx.example.org"},
		{"cut", "config|protocol|0.7\n", func(*Filter) {}, "unexpected EOF"},
		{"no end", "config|protocol|0.7", func(*Filter) {}, errLine.Error()},
		{"no config", "report|0.7\n", func(*Filter) {}, errLine.Error()},
		{"no value", "config|protocol\n", func(*Filter) {}, errLine.Error()},
		{"no number", "config|smtp-session-timeout|x\n", func(*Filter) {}, errLine.Error()},
	} {
		f := Filter{Log: log.New(io.Discard, "", 0)}
		c.set(&f)
		var got bytes.Buffer
		err := f.Run(t.Context(), strings.NewReader(c.in), &got)
		lines := strings.Split(strings.TrimSuffix(got.String(), "\n"), "\n")
		switch {
		case err != nil && (c.want == "" || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v", c.name, err)
		case err == nil && lines[len(lines)-1] != "register|ready":
			t.Errorf("%s: %q", c.name, lines)
		case err == nil && c.want == "" && len(lines) != 1,
			err == nil && c.want != "" && (len(lines) < 2 || lines[0]+" "+lines[len(lines)-2] != c.want):
			t.Errorf("%s: %q", c.name, lines)
		}
	}
}

func TestBadLines(t *testing.T) {
	for _, l := range []string{"", "x", "report|0.7|1.0|smtp-in|link-connect", "report|1.0|1.0|smtp-in|timeout|1",
		"report|0.4|1.0|smtp-in|timeout|1", "report|0.7|1.0|smtp|timeout|1", "report|0.7|1.0|smtp-in||1",
		"report|0.7|1.0|smtp-in|timeout|xyz", "report|0.7|1.0|smtp-in|timeout|", "filter|0.7|1.0|smtp-in|ehlo|1",
		"filter|0.7|1.0|smtp-in|ehlo|1|t", "filter|0.7|1.0|smtp-in|ehlo|1||x", "filter|0.7|1.0|smtp-in|helo|1|t|not wanted",
		"filter|0.7|1.0|smtp-out|ehlo|1|t|other side", "config|ready", strings.Repeat("x", maxLine)} {
		var f Filter
		f.In.Decide(Ehlo, func(*Session, string) Answer { return Proceed() })
		if _, err := quiet(t, &f, hello+l+"\n"); !errors.Is(err, errLine) {
			t.Errorf("%.80q: %v", l, err)
		}
	}
}

// TestSideBySide: a handler that waits holds up no other session, and the end of its own ends it.
func TestSideBySide(t *testing.T) {
	var f Filter
	f.In.Decide(Ehlo, func(s *Session, name string) Answer {
		if name == "slow" {
			l := Begin(s, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
			_, err := l.Wait()
			return Reject(451, err.Error())
		}
		return Proceed()
	})
	in, feed := io.Pipe()
	read, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- f.Run(t.Context(), in, out); out.Close() }()
	lines := bufio.NewScanner(read)
	go io.WriteString(feed, hello)
	for lines.Scan() && lines.Text() != "register|ready" {
	}
	slow := ask("ehlo", "slow")
	io.WriteString(feed, slow+strings.ReplaceAll(ask("ehlo", "fast"), "0001|", "0002|"))
	if lines.Scan(); lines.Text() != "filter-result|0000000000000002|t|proceed" {
		t.Error(lines.Text())
	}
	io.WriteString(feed, report("link-disconnect", ""))
	if lines.Scan(); lines.Text() != "filter-result|0000000000000001|t|reject|451 context canceled" {
		t.Error(lines.Text())
	}
	feed.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestLimits: many sessions with few places get all their answers, each its own, in bounded memory.
func TestLimits(t *testing.T) {
	const sessions, rounds = 200, 20
	f := Filter{MaxActive: 3, MaxPending: 1000, MaxSessions: sessions, Log: log.New(io.Discard, "", 0)}
	f.In.Decide(Ehlo, func(s *Session, name string) Answer {
		n, _ := s.State.(int)
		s.State = n + 1
		l := Begin(s, func(context.Context) (int, error) { return n, nil })
		n, err := l.Wait()
		return Rewrite(fmt.Sprintf("%s-%d-%v", name, n, err))
	})
	var in strings.Builder
	in.WriteString(hello)
	for round := range rounds {
		for id := range sessions {
			fmt.Fprintf(&in, "filter|0.7|1.0|smtp-in|ehlo|%x|t|%d.%d\n", id, id, round)
		}
	}
	fmt.Fprintf(&in, "filter|0.7|1.0|smtp-in|ehlo|ffff|t|one too many\n")
	var out bytes.Buffer
	if err := f.Run(t.Context(), strings.NewReader(in.String()), &out); err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(out.String(), "register|ready\n")
	next := make(map[string]int)
	for l := range strings.SplitSeq(strings.TrimSuffix(after, "\n"), "\n") {
		id, text, _ := strings.Cut(strings.TrimPrefix(l, "filter-result|"), "|t|")
		if id == "000000000000ffff" {
			if text != "disconnect|421 4.3.2 the filter has too many sessions" {
				t.Error(text)
			}
			continue
		}
		var n uint64
		fmt.Sscanf(id, "%x", &n)
		if want := fmt.Sprintf("rewrite|%d.%d-%d-<nil>", n, next[id], next[id]); text != want {
			t.Fatalf("got %q, want %q", text, want)
		}
		next[id]++
	}
	for id, n := range next {
		if n != rounds {
			t.Errorf("%s: %d answers", id, n)
		}
	}
	if len(next) != sessions {
		t.Errorf("%d sessions", len(next))
	}
}

type broke struct{}

func (broke) Write([]byte) (int, error) { return 0, errors.New("gone") }

// TestEnd: the run ends when its context does, or when nothing can be written, though nothing comes.
func TestEnd(t *testing.T) {
	var f Filter
	in, feed := io.Pipe()
	defer feed.Close()
	if err := f.Run(t.Context(), io.MultiReader(strings.NewReader(hello), in), broke{}); err == nil || err.Error() != "gone" {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := f.Run(ctx, in, io.Discard); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// FuzzServer: whatever the server says, a filter neither panics nor hangs nor writes a line that
// is none.
func FuzzServer(f *testing.F) {
	f.Add(message("S: a", "", "..") + ask("commit", ""))
	f.Add(report("link-connect", "a|pass|127.0.0.1:1|unix:/x") + ask("mail-from", "a|b") + report("link-disconnect", ""))
	f.Fuzz(func(t *testing.T, in string) {
		k := Filter{MaxSessions: 4, MaxMessage: 100, MaxPending: 1000}
		k.In.Message(func(_ *Session, m *Message) Answer {
			m.AddHeader("A", string(m.Bytes))
			return Reject(550, string(m.Bytes))
		})
		k.In.Decide(MailFrom, func(_ *Session, v string) Answer { return Rewrite(v) })
		k.In.Report(ProtocolClient, func(*Session, []string) {})
		k.Log = log.New(io.Discard, "", 0)
		var out bytes.Buffer
		err := k.Run(t.Context(), strings.NewReader(hello+in), &out)
		if err != nil && !errors.Is(err, errLine) {
			t.Error(err)
		}
		for l := range strings.SplitSeq(strings.TrimSuffix(out.String(), "\n"), "\n") {
			if !strings.HasPrefix(l, "register|") && !strings.HasPrefix(l, "filter-result|") && !strings.HasPrefix(l, "filter-dataline|") {
				t.Errorf("wrote %q", l)
			}
		}
	})
}
