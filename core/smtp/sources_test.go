package smtp

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/trace"
)

// clock is a time that tests set.
type clock struct{ ns int64 }

func (c *clock) add(d time.Duration) { c.ns += int64(d) }

func testSources(t *testing.T, l *Limits) (*Sources, *clock, *lines) {
	log, c := &lines{}, &clock{1}
	s := NewSources(trace.New(log))
	s.now = func() int64 { return c.ns }
	s.SetLimits(l)
	t.Cleanup(s.Close)
	return s, c, log
}

func enter(s *Sources, addr string) (*Source, string) { return s.Enter(netip.MustParseAddr(addr)) }

func TestSessionsAtATime(t *testing.T) {
	s, _, _ := testSources(t, &Limits{Session: PerClient{2, 3}, Exempt: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}})
	const many = "Too many sessions from your address"
	for _, step := range []struct{ addr, want string }{
		{"192.0.2.1", ""}, {"192.0.2.1", ""}, {"192.0.2.1", many},
		{"::ffff:192.0.2.1", many}, {"192.0.2.2", ""}, {"192.0.2.3", many}, {"192.0.3.3", ""},
		{"2001:db8::1", ""}, {"2001:db8::2", ""}, {"2001:db8::3", many}, {"2001:db8:0:1::1", ""}, {"2001:db8:0:2::1", many},
		{"2001:db8:1::1", ""},
	} {
		if _, got := enter(s, step.addr); got != step.want {
			t.Errorf("%s: %q, want %q", step.addr, got, step.want)
		}
	}
	for _, addr := range []string{"127.0.0.1", "::1", "198.51.100.7"} {
		for range 5 {
			if src, got := enter(s, addr); src != nil || got != "" {
				t.Errorf("%s: %v, %q", addr, src, got)
			}
		}
	}
	if src, got := s.Enter(netip.Addr{}); src != nil || got != "" {
		t.Errorf("no address: %v, %q", src, got)
	}
}

// A session that ends makes room for another one.
func TestSessionEnds(t *testing.T) {
	s, _, _ := testSources(t, &Limits{Session: PerClient{1, 1}})
	for range 3 {
		src, refused := enter(s, "192.0.2.1")
		if refused != "" {
			t.Fatal(refused)
		}
		if _, refused := enter(s, "192.0.2.2"); refused == "" {
			t.Fatal("two sessions of a network")
		}
		src.Leave()
	}
	if len(s.live)+len(s.idle) != 0 {
		t.Errorf("%d live, %d idle", len(s.live), len(s.idle))
	}
}

func TestConnectionRate(t *testing.T) {
	s, c, _ := testSources(t, &Limits{Connect: PerClient{6, 9}})
	connect := func(addr string, times int) (in int) {
		for range times {
			if src, refused := enter(s, addr); refused == "" {
				in++
				src.Leave()
			}
		}
		return in
	}
	for _, step := range []struct {
		wait time.Duration
		addr string
		want int
	}{
		{0, "192.0.2.1", 6}, {0, "192.0.2.2", 3}, {10 * time.Second, "192.0.2.1", 1},
		{20 * time.Second, "192.0.2.3", 3}, {time.Hour, "192.0.2.1", 6},
	} {
		c.add(step.wait)
		if got := connect(step.addr, 100); got != step.want {
			t.Errorf("%s: %d connections, want %d", step.addr, got, step.want)
		}
	}
}

func TestMistakesOfASource(t *testing.T) {
	s, c, _ := testSources(t, &Limits{Errors: PerClient{3, 4}, AuthErrors: PerClient{2, 0}, Rcpt: PerClient{5, 6}})
	src, _ := enter(s, "192.0.2.1")
	other, _ := enter(s, "192.0.2.2")
	for i := range 30 { // refused recipients
		if src.failed(rcptErrorWeight) {
			t.Fatal("too many errors after", i)
		}
	}
	if !src.failed(errorWeight) || !src.failed(rcptErrorWeight) {
		t.Error("no limit of errors")
	}
	if _, refused := enter(s, "192.0.2.1"); !strings.HasPrefix(refused, "Too many errors") {
		t.Errorf("another session: %q", refused)
	}
	if other.failed(errorWeight) || !other.failed(errorWeight) {
		t.Error("the network counts wrong")
	}
	c.add(time.Hour)
	if _, refused := enter(s, "192.0.2.1"); refused != "" {
		t.Error("never forgotten:", refused)
	}
	src.authFailed()
	if !src.mayAuth() {
		t.Error("no second password")
	}
	src.authFailed()
	if src.mayAuth() || !other.mayAuth() {
		t.Error("passwords are not limited by the source")
	}
	for range 5 {
		if !src.recipient() {
			t.Fatal("too many recipients")
		}
	}
	if src.recipient() || !other.recipient() || other.recipient() {
		t.Error("recipients are not limited")
	}
	var none *Source
	if none.failed(1000) || !none.mayAuth() || !none.recipient() {
		t.Error("an exempt client is limited")
	}
	none.authFailed()
	none.Leave()
}

// However many clients come, what is kept of them is bounded, and nothing is kept for long.
func TestSourcesAreForgotten(t *testing.T) {
	s, c, _ := testSources(t, &Limits{Connect: PerClient{1000000, 1000000}, Errors: PerClient{10, 0}})
	bad, _ := enter(s, "203.0.113.1")
	bad.failed(errorWeight)
	bad.Leave()
	for i := range 3 * mostIdle {
		src, refused := s.Enter(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
		if refused != "" {
			t.Fatal(refused)
		}
		src.Leave()
	}
	if len(s.idle) > mostIdle || len(s.live) != 0 {
		t.Errorf("%d idle, %d live", len(s.idle), len(s.live))
	}
	if s.idle[bad.prefix] != bad {
		t.Error("the one that made mistakes was forgotten before the others")
	}
	c.add(2 * time.Hour)
	for range 3 * mostIdle {
		src, _ := enter(s, "192.0.2.1")
		src.Leave()
	}
	if n := len(s.idle); n > 2 {
		t.Errorf("%d are remembered after two hours", n)
	}
}

// 100,000 connections of one client in a minute: those within the limit are let in, and
// the log has one line a minute.
func TestRefusalsAreLoggedOnce(t *testing.T) {
	s, c, log := testSources(t, &Limits{Connect: PerClient{300, 0}})
	in := 0
	for range 100000 {
		c.add(time.Minute / 100000)
		if src, refused := enter(s, "192.0.2.1"); refused == "" {
			in++
			src.Leave()
		}
	}
	if in < 590 || in > 600 { // a full bucket, and what leaks in a minute
		t.Errorf("%d were let in", in)
	}
	s.refusals.minute(false)
	s.refusals.minute(false) // nothing came
	want := fmt.Sprintf("smtp: refused a connection of 192.0.2.1: smtp limit max-connect-per-source\n"+
		"smtp: refused %d connections of 192.0.2.1: smtp limit max-connect-per-source", 100000-in-1)
	if log.String() != want {
		t.Errorf("got\n%s\nwant\n%s", log, want)
	}
	if s.refusals.timer != nil {
		t.Error("the minute goes on")
	}
	for i := range 1000 {
		s.refusals.note(refusal{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32), "max-session-per-source", ""})
	}
	s.Busy()
	s.Close()
	text := log.String()
	if n := strings.Count(text, "\n"); n > mostRefused+5 || !strings.Contains(text, "smtp: refused 951 connections of other clients") {
		t.Errorf("%d lines, the last: %s", n, text[len(text)-200:])
	}
}

// What a session does counts for its source.
func TestSessionOfASource(t *testing.T) {
	for _, tt := range []struct {
		name   string
		limits Limits
		said   string
		want   string
	}{
		{"errors", Limits{Errors: PerClient{3, 0}}, strings.Repeat("X\r\n", 5), "421 4.7.0 Too many errors from your address, closing connection\r\n"},
		{"recipients", Limits{Rcpt: PerClient{0, 1}}, "HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nRCPT TO:<c@b.example>\r\nQUIT\r\n",
			"250 2.1.5 Destination address valid: Recipient ok\r\n450 4.7.0 Too many recipients from your address, try again later\r\n221 2.0.0 Bye\r\n"},
	} {
		s, _, _ := testSources(t, &tt.limits)
		peer := testPeer()
		peer.Source, _ = enter(s, "192.0.2.1")
		c := start(t, context.Background(), testConfig(), &sample{}, peer)
		banner(t, c)
		send(t, c, tt.said)
		if got, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(got), tt.want) {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
	}
}

func BenchmarkEnter(b *testing.B) {
	s := NewSources(nil)
	s.SetLimits(&Limits{Session: PerClient{100, 400}, Connect: PerClient{1 << 30, 1 << 30}})
	b.RunParallel(func(pb *testing.PB) {
		for i := uint32(0); pb.Next(); i++ {
			src, _ := s.Enter(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
			src.Leave()
		}
	})
}
