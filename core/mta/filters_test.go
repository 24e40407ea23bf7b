package mta

import (
	"context"
	"io"
	"log"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/filter"
	"github.com/godwit-mta/godwit/core/filterkit"
	"github.com/godwit-mta/godwit/core/trace"
)

// filteredBy gives the options of a relay whose sessions a filter process sees.
func filteredBy(t *testing.T, f *filterkit.Filter) *Relay {
	t.Helper()
	f.Log = log.New(io.Discard, "", 0)
	p, err := filter.Start(t.Context(), filter.Options{Name: "f", Log: trace.New(&logSink{}),
		Config: []string{"protocol|0.7", "subsystem|smtp-out", "decide|smtp-out"},
		Start: func(context.Context) (io.ReadWriteCloser, error) {
			ours, its := net.Pipe()
			go f.Run(context.WithoutCancel(t.Context()), its, its)
			return ours, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return &Relay{Name: "filtered", Filters: &Filters{Chain: filter.NewChain(filter.Member{Name: "f", Process: p}),
		Hold: func() bool { return true }, Release: func() {}}}
}

// notes is what a filter heard, without what differs each time.
type notes struct {
	mu    sync.Mutex
	lines []string
	over  chan struct{}
}

func (n *notes) add(s string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, s)
}

func everything() []filterkit.Event {
	return []filterkit.Event{filterkit.LinkConnect, filterkit.LinkGreeting, filterkit.LinkIdentify, filterkit.LinkTLS, filterkit.LinkAuth,
		filterkit.LinkDisconnect, filterkit.TxReset, filterkit.TxBegin, filterkit.TxMail, filterkit.TxRcpt, filterkit.TxEnvelope,
		filterkit.TxData, filterkit.TxCommit, filterkit.TxRollback, filterkit.ProtocolClient, filterkit.ProtocolServer, filterkit.Timeout}
}

func TestFilterReports(t *testing.T) {
	n := &notes{over: make(chan struct{})}
	var f filterkit.Filter
	for _, e := range everything() {
		f.Out.Report(e, func(s *filterkit.Session, args []string) {
			if e == filterkit.LinkConnect {
				args = args[:2]
			}
			n.add(strings.Join(append([]string{string(e)}, args...), "|"))
			if e == filterkit.LinkDisconnect {
				close(n.over)
			}
		})
	}
	relay := filteredBy(t, &f)
	relay.Limits.SessionMailMax = 2
	server := scripted(t, func(c *script, _ int) {
		c.serve([]string{"8BITMIME"}, func(cmd string) string {
			if cmd == "RCPT TO:<no@example.com>" {
				return "550 5.1.1 no"
			}
			return ""
		})
	})
	b := newBench(t, nil)
	b.domain("example.com", server)
	b.Submit(b.message("Subject: x\n\n.\n", "no@example.com", "yes@example.com"), relay)
	b.wait(2)
	b.Submit(b.message("x\n", "no@example.com"), relay)
	b.wait(1)
	<-n.over
	n.mu.Lock()
	defer n.mu.Unlock()
	want := []string{"link-connect|ptr.example|pass",
		"protocol-server|220 script.example", "link-greeting|script.example",
		"protocol-client|EHLO us.example", "link-identify|EHLO|us.example", "protocol-server|250-script.example", "protocol-server|250-8BITMIME", "protocol-server|250 HELP",
		"protocol-client|MAIL FROM:<sender@us.example> BODY=8BITMIME", "protocol-server|250 2.0.0 ok", "tx-begin|00000001", "tx-mail|00000001|ok|sender@us.example",
		"protocol-client|RCPT TO:<no@example.com>", "tx-envelope|00000001|0000000100000001", "protocol-server|550 5.1.1 no", "tx-rcpt|00000001|permfail|no@example.com",
		"protocol-client|RCPT TO:<yes@example.com>", "tx-envelope|00000001|0000000100000002", "protocol-server|250 2.0.0 ok", "tx-rcpt|00000001|ok|yes@example.com",
		"protocol-client|DATA", "protocol-server|354 go", "tx-data|00000001|ok",
		"protocol-client|.", "protocol-server|250 2.0.0 queued", "tx-commit|00000001|14", "tx-reset|00000001",
		"protocol-client|MAIL FROM:<sender@us.example> BODY=8BITMIME", "protocol-server|250 2.0.0 ok", "tx-begin|00000002", "tx-mail|00000002|ok|sender@us.example",
		"protocol-client|RCPT TO:<no@example.com>", "tx-envelope|00000002|0000000200000001", "protocol-server|550 5.1.1 no", "tx-rcpt|00000002|permfail|no@example.com",
		"tx-rollback|00000002", "tx-reset|00000002",
		"protocol-client|QUIT", "protocol-server|221 bye", "link-disconnect"}
	for i := range max(len(want), len(n.lines)) {
		if i >= len(want) || i >= len(n.lines) || n.lines[i] != want[i] {
			t.Errorf("line %d differs\ngot  %q\nwant %q", i, n.lines[min(i, len(n.lines)):], want[min(i, len(want)):])
			break
		}
	}
}

// TestFilterDecisions: what filters refuse is not sent, what they change is what is sent, and other mail goes on.
func TestFilterDecisions(t *testing.T) {
	reject := func(code int) func(*filterkit.Session, string) filterkit.Answer {
		return func(s *filterkit.Session, arg string) filterkit.Answer {
			if strings.HasPrefix(arg, "b") || arg == "" || strings.HasPrefix(arg, "sender") {
				return filterkit.Reject(code, "5.7.1 no")
			}
			return filterkit.Proceed()
		}
	}
	for _, c := range []struct {
		name string
		set  func(*filterkit.Side)
		want []envelope.Status // of a@, b@ and c@
		to   string            // that the server took it for
		body string
	}{
		{"nothing", func(d *filterkit.Side) {
			d.Decide(filterkit.MailFrom, func(*filterkit.Session, string) filterkit.Answer { return filterkit.Proceed() })
		}, []envelope.Status{1, 1, 1}, "sender@us.example abc", "S: x\r\n\r\n.\r\n"},
		{"the sender", func(d *filterkit.Side) { d.Decide(filterkit.MailFrom, reject(550)) }, []envelope.Status{3, 3, 3}, "", ""},
		{"the sender, for now", func(d *filterkit.Side) { d.Decide(filterkit.MailFrom, reject(450)) }, []envelope.Status{2, 2, 2}, "", ""},
		{"another sender", func(d *filterkit.Side) {
			d.Decide(filterkit.MailFrom, func(*filterkit.Session, string) filterkit.Answer { return filterkit.Rewrite("x@y.example") })
		}, []envelope.Status{1, 1, 1}, "x@y.example abc", "S: x\r\n\r\n.\r\n"},
		{"a bad sender", func(d *filterkit.Side) {
			d.Decide(filterkit.MailFrom, func(*filterkit.Session, string) filterkit.Answer { return filterkit.Rewrite("x> y") })
		}, []envelope.Status{2, 2, 2}, "", ""},
		{"a recipient", func(d *filterkit.Side) { d.Decide(filterkit.RcptTo, reject(550)) }, []envelope.Status{1, 3, 1}, "sender@us.example ac", "S: x\r\n\r\n.\r\n"},
		{"a recipient, for now", func(d *filterkit.Side) { d.Decide(filterkit.RcptTo, reject(451)) }, []envelope.Status{1, 2, 1}, "sender@us.example ac", "S: x\r\n\r\n.\r\n"},
		{"another recipient", func(d *filterkit.Side) {
			d.Decide(filterkit.RcptTo, func(*filterkit.Session, string) filterkit.Answer { return filterkit.Rewrite("x@y.example") })
		}, []envelope.Status{2, 2, 2}, "", ""},
		{"disconnect", func(d *filterkit.Side) {
			d.Decide(filterkit.RcptTo, func(*filterkit.Session, string) filterkit.Answer { return filterkit.Disconnect(550, "no") })
		}, []envelope.Status{3, 3, 3}, "", ""},
		{"the data", func(d *filterkit.Side) { d.Decide(filterkit.Data, reject(550)) }, []envelope.Status{3, 3, 3}, "", ""},
		{"the message", func(d *filterkit.Side) { d.Decide(filterkit.Commit, reject(550)) }, []envelope.Status{3, 3, 3}, "", ""},
		{"marked", func(d *filterkit.Side) {
			d.Decide(filterkit.Data, func(*filterkit.Session, string) filterkit.Answer { return filterkit.Junk() })
		}, []envelope.Status{1, 1, 1}, "sender@us.example abc", "X-Spam: Yes\r\nS: x\r\n\r\n.\r\n"},
		{"changed", func(d *filterkit.Side) {
			d.Message(func(_ *filterkit.Session, m *filterkit.Message) filterkit.Answer {
				m.AddHeader("A", "b")
				m.Bytes = append(m.Bytes, "..\nlast"...)
				return filterkit.Proceed()
			})
		}, []envelope.Status{1, 1, 1}, "sender@us.example abc", "A: b\r\nS: x\r\n\r\n.\r\n..\r\nlast\r\n"},
		{"line by line", func(d *filterkit.Side) {
			d.Lines(func(s *filterkit.Session, l string, o *filterkit.Output) {
				if !o.End {
					o.Write(l + "!")
				}
			})
		}, []envelope.Status{1, 1, 1}, "sender@us.example abc", "S: x!\r\n!\r\n.!\r\n"},
		{"what was seen", func(d *filterkit.Side) {
			d.Message(func(_ *filterkit.Session, m *filterkit.Message) filterkit.Answer {
				return filterkit.Reject(554, string(m.Bytes))
			})
		}, []envelope.Status{3, 3, 3}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var f filterkit.Filter
			c.set(&f.Out)
			s := &sink{}
			b := newBench(t, nil)
			b.domain("example.com", s.start(t, nil))
			relay := filteredBy(t, &f)
			for round := range 2 { // what was refused does not spoil what follows
				msg := b.message("S: x\n\n.\n", "a@example.com", "b@example.com", "c@example.com")
				b.Submit(msg, relay)
				got := b.wait(3)
				for i, want := range c.want {
					r := got[msg.Recipients[i].ID]
					if status := []envelope.Status{0, envelope.Delivered, envelope.TempFail, envelope.PermFail}[want]; r.Status != status {
						t.Errorf("round %d: %s: %+v", round, msg.Recipients[i].Dest, r)
					}
					if want != 1 && !strings.Contains(r.Text, "filter") {
						t.Errorf("text %q", r.Text)
					}
				}
			}
			mails := s.taken()
			if c.to == "" {
				if len(mails) != 0 {
					t.Errorf("the server took %+v", mails)
				}
				return
			}
			if len(mails) != 2 {
				t.Fatalf("the server took %d messages", len(mails))
			}
			for _, m := range mails {
				to := ""
				for _, a := range m.to {
					to += a[:1]
				}
				if m.from+" "+to != c.to || string(m.body) != c.body {
					t.Errorf("the server took from %s for %s %q", m.from, to, m.body)
				}
			}
		})
	}
}

// TestFilterBodies: a filter that changes nothing changes nothing.
func TestFilterBodies(t *testing.T) {
	var f filterkit.Filter
	f.Out.Lines(func(_ *filterkit.Session, l string, o *filterkit.Output) {
		if !o.End {
			o.Write(l)
		}
	})
	s := &sink{}
	b := newBench(t, nil)
	b.domain("example.com", s.start(t, nil))
	relay := filteredBy(t, &f)
	for name, body := range bodies() {
		if strings.IndexByte(body, 0) >= 0 || len(body) > 0 && slices.Max(lineLengths(body)) > filter.MaxDataLine {
			if r := b.one(relay, body, "user@example.com"); r.Status != envelope.PermFail {
				t.Errorf("%s: %+v", name, r)
			}
			continue
		}
		want := strings.ReplaceAll(body, "\n", "\r\n")
		if body != "" && !strings.HasSuffix(body, "\n") {
			want += "\r\n"
		}
		if r := b.one(relay, body, "user@example.com"); r.Status != envelope.Delivered {
			t.Errorf("%s: %+v", name, r)
			continue
		}
		mails := s.taken()
		if got := mails[len(mails)-1].body; string(got) != want {
			t.Errorf("%s: body changed: %d octets instead of %d", name, len(got), len(want))
		}
	}
}

func lineLengths(s string) (n []int) {
	for l := range strings.SplitSeq(s, "\n") {
		n = append(n, len(l))
	}
	return n
}

// TestFilterGone: without its filter a message waits, and the connection whose filter has ended is not used
// for the next one.
func TestFilterGone(t *testing.T) {
	var f filterkit.Filter
	f.Out.Decide(filterkit.MailFrom, func(*filterkit.Session, string) filterkit.Answer { return filterkit.Disconnect(451, "4.3.0 wait") })
	s := &sink{}
	b := newBench(t, nil)
	b.domain("example.com", s.start(t, nil))
	relay := filteredBy(t, &f)
	for range 2 {
		if r := b.one(relay, "x\n", "user@example.com"); r.Status != envelope.TempFail || !strings.Contains(r.Text, "wait") {
			t.Errorf("%+v", r)
		}
	}
	if n := b.net.count(addr1); n != 2 {
		t.Errorf("%d connections for two messages", n)
	}
	retired := &Relay{Name: "retired", Filters: &Filters{Chain: relay.Filters.Chain, Hold: func() bool { return false }}}
	if r := b.one(retired, "x\n", "user@example.com"); r.Status != envelope.TempFail || len(s.taken()) != 0 {
		t.Errorf("%+v", r)
	}
}

// TestFilterNeeds: what filters make of a message needs what any message needs.
func TestFilterNeeds(t *testing.T) {
	for _, c := range []struct{ offered, added string }{{"DSN", "\xe9\n"}, {"SIZE 100", strings.Repeat("x", 100)}} {
		var f filterkit.Filter
		f.Out.Message(func(_ *filterkit.Session, m *filterkit.Message) filterkit.Answer {
			m.Bytes = append(m.Bytes, c.added...)
			return filterkit.Proceed()
		})
		b := newBench(t, nil)
		var mu sync.Mutex
		var commands []string
		b.domain("example.com", scripted(t, func(s *script, _ int) {
			s.serve([]string{c.offered}, func(cmd string) string {
				mu.Lock()
				defer mu.Unlock()
				commands = append(commands, cmd)
				return ""
			})
		}))
		r := b.one(filteredBy(t, &f), "a\n", "user@example.com")
		mu.Lock()
		defer mu.Unlock()
		if r.Status != envelope.PermFail || slices.Contains(commands, "") || !slices.Contains(commands, "MAIL FROM:<sender@us.example>") {
			t.Errorf("%s: %+v, %q", c.offered, r, commands)
		}
	}
}

// TestFilterSecrets: what belongs to AUTH reaches no filter.
func TestFilterSecrets(t *testing.T) {
	for _, c := range []struct {
		secret bool
		parts  []string
		want   string
	}{
		{true, []string{"AUTH ", "PLAIN", " ", "c2VjcmV0"}, "AUTH PLAIN ********"},
		{true, []string{"AUTH ", "LOGIN"}, "AUTH LOGIN ********"},
		{true, []string{"c2VjcmV0"}, "********"},
		{false, []string{"EHLO ", "us.example"}, "EHLO us.example"},
	} {
		if got := masked(c.secret, c.parts); got != c.want {
			t.Errorf("%q: got %q", c.parts, got)
		}
	}
}
