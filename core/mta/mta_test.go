package mta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/trace"
)

// bodies that have something a careless client would change.
func bodies() map[string]string {
	r := rand.New(rand.NewPCG(1, 2))
	big := make([]byte, 10<<20)
	for i := range big {
		big[i] = byte(r.Uint32())
		if big[i] == '\r' || big[i] == 0 {
			big[i] = '\n'
		}
	}
	return map[string]string{
		"plain":    "Subject: x\n\nhello\n",
		"dots":     ".\n..\n.x\n\n.\nMAIL FROM:<a@b>\n.\n",
		"eightbit": "Subject: \xc3\xa9\n\n\xff\xfe\x80\n",
		"long":     strings.Repeat("x", 9000) + "\n." + strings.Repeat("y", 70000) + "\n",
		"empty":    "",
		"unended":  "no line end",
		"10MiB":    string(big) + "\n",
	}
}

func TestBodiesArriveUnchanged(t *testing.T) {
	s := &sink{}
	b := newBench(t, nil)
	b.domain("example.com", s.start(t, nil))
	for name, body := range bodies() {
		want := strings.ReplaceAll(body, "\n", "\r\n")
		if body != "" && !strings.HasSuffix(body, "\n") {
			want += "\r\n"
		}
		for _, file := range []bool{false, true} {
			msg := b.message(body, "user@example.com")
			if file {
				msg.Body = Body{File: strings.NewReader(body), Size: int64(len(body))}
			}
			closed := make(chan struct{})
			msg.Close = func() { close(closed) }
			b.Submit(msg, defaultRelay)
			for _, r := range b.wait(1) {
				if r.Status != envelope.Delivered {
					t.Errorf("%s: %+v", name, r)
				}
			}
			<-closed
			mails := s.taken()
			if got := mails[len(mails)-1].body; !bytes.Equal(got, []byte(want)) {
				t.Errorf("%s: body changed: %d octets instead of %d", name, len(got), len(want))
			}
		}
	}
	if s.sessions != 1 {
		t.Errorf("%d sessions for messages that came one after the other", s.sessions)
	}
}

func TestResultAndLog(t *testing.T) {
	s := &sink{}
	b := newBench(t, nil)
	b.domain("example.com", s.start(t, nil))
	msg := b.message("x\n", "user@example.com")
	msg.Recipients[0].Rcpt = address.Address{Local: "alias", Domain: "us.example"}
	msg.EnvID, msg.Ret = "id+2B", "HDRS"
	b.Submit(msg, defaultRelay)
	r := b.wait(1)[msg.Recipients[0].ID]
	if r.Status != envelope.Delivered || r.EscClass != 2 || r.EscCode != 0 || r.MTA != "mx1.example" || r.NoDSN || !strings.HasPrefix(r.Text, "250 2.0.0 ") {
		t.Errorf("%+v", r)
	}
	m := s.taken()[0]
	if m.from != "sender@us.example" || m.opts.EnvelopeID != "id+" || m.opts.Return != "HDRS" || m.opts.Size != 2 || m.opts.Body != gosmtp.Body8BitMIME {
		t.Errorf("%+v", m)
	}
	for _, part := range []string{"mta connecting address=smtp://192.0.2.1:25 host=ptr.example", "mta connected",
		"mta delivery evpid=0000000100000001 from=<sender@us.example> to=<user@example.com> rcpt=<alias@us.example> source=\"127.0.0.1\" relay=\"192.0.2.1 (ptr.example)\" delay=0s result=\"Ok\" stat=\"250 2.0.0 "} {
		if !b.log.has(part) {
			t.Errorf("not logged: %s", part)
		}
	}
}

func TestSomeRecipientsRefused(t *testing.T) {
	refusal := &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	later := &gosmtp.SMTPError{Code: 452, EnhancedCode: gosmtp.EnhancedCode{4, 2, 2}, Message: "full"}
	s := &sink{refuse: map[string]*gosmtp.SMTPError{"b@example.com": refusal, "c@example.com": later, "e@example.com": refusal}}
	b := newBench(t, nil)
	b.domain("example.com", s.start(t, nil))
	msg := b.message("x\n", "a@example.com", "b@example.com", "c@example.com", "d@example.com", "e@example.com")
	b.Submit(msg, defaultRelay)
	got := b.wait(5)
	for i, want := range []envelope.Result{
		{Status: envelope.Delivered, EscClass: 2},
		{Status: envelope.PermFail, EscClass: 5, EscCode: 101},
		{Status: envelope.TempFail, EscClass: 4, EscCode: 202},
		{Status: envelope.Delivered, EscClass: 2},
		{Status: envelope.PermFail, EscClass: 5, EscCode: 101}} {
		r := got[msg.Recipients[i].ID]
		if r.Status != want.Status || r.EscClass != want.EscClass || r.EscCode != want.EscCode {
			t.Errorf("recipient %d: %+v", i, r)
		}
	}
	if mails := s.taken(); len(mails) != 1 || len(mails[0].to) != 2 {
		t.Errorf("%+v", mails)
	}
	// The connection is as good as before, also after a message that nobody took.
	if r := b.one(defaultRelay, "y\n", "b@example.com"); r.Status != envelope.PermFail {
		t.Errorf("%+v", r)
	}
	if r := b.one(defaultRelay, "z\n", "a@example.com"); r.Status != envelope.Delivered {
		t.Errorf("%+v", r)
	}
	if s.sessions != 1 {
		t.Errorf("%d sessions", s.sessions)
	}
}

func TestDataRefused(t *testing.T) {
	s := &sink{dataErr: &gosmtp.SMTPError{Code: 554, EnhancedCode: gosmtp.EnhancedCode{5, 7, 1}, Message: "spam"}}
	b := newBench(t, nil)
	b.domain("example.com", s.start(t, nil))
	if r := b.one(defaultRelay, "x\n", "a@example.com"); r.Status != envelope.PermFail || r.EscCode != 701 || r.Text != "554 5.7.1 spam" {
		t.Errorf("%+v", r)
	}
}

func TestTooManyRecipientsFollow(t *testing.T) {
	for _, pipelining := range []bool{false, true} {
		var mu sync.Mutex
		var counts []int
		addr := scripted(t, func(c *script, _ int) {
			var ehlo []string
			if pipelining {
				ehlo = []string{"PIPELINING"}
			}
			n := 0
			c.serve(ehlo, func(cmd string) string {
				switch {
				case strings.HasPrefix(cmd, "MAIL"):
					n = 0
				case strings.HasPrefix(cmd, "RCPT"):
					if n == 100 {
						return "452 4.5.3 too many recipients"
					}
					n++
				case cmd == ".":
					mu.Lock()
					counts = append(counts, n)
					mu.Unlock()
				}
				return ""
			})
		})
		b := newBench(t, nil)
		b.domain("example.com", addr)
		var to []string
		for i := range 1250 {
			to = append(to, fmt.Sprintf("u%d@example.com", i))
		}
		b.Submit(b.message("x\n", to...), defaultRelay)
		for id, r := range b.wait(1250) {
			if r.Status != envelope.Delivered {
				t.Fatalf("%s: %+v", id, r)
			}
		}
		total := 0
		for _, n := range counts {
			total += n
		}
		if len(counts) != 13 || total != 1250 {
			t.Errorf("pipelining %t: %v", pipelining, counts)
		}
	}
}

func TestOneConnectionForMany(t *testing.T) {
	s := &sink{}
	b := newBench(t, nil)
	b.domain("example.com", s.start(t, nil))
	opts := &Relay{Name: "out", Limits: Limits{MaxConnPerRoute: 1, SessionMailMax: 100}}
	for i := range 100 {
		b.Submit(b.message(fmt.Sprintf("message %d\n", i), "user@example.com"), opts)
	}
	for _, r := range b.wait(100) {
		if r.Status != envelope.Delivered {
			t.Errorf("%+v", r)
		}
	}
	if s.sessions != 1 {
		t.Errorf("%d sessions", s.sessions)
	}
	seen := make(map[string]bool)
	for _, m := range s.taken() {
		seen[string(m.body)] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d different messages", len(seen))
	}
	b.Submit(b.message("one more\n", "user@example.com"), opts)
	b.wait(1)
	if s.sessions != 2 {
		t.Errorf("%d sessions after session-mail-max", s.sessions)
	}
}

func TestSessionsGrowWithinLimits(t *testing.T) {
	const all = 400
	var now, most atomic.Int32
	addr := scripted(t, func(c *script, _ int) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		c.serve([]string{"PIPELINING"}, nil)
	})
	b := newBench(t, nil)
	b.domain("example.com", addr)
	for range all {
		b.Submit(b.message("x\n", "user@example.com"), &Relay{Name: "out", Limits: Limits{MaxConnPerRoute: 3}})
	}
	for _, r := range b.wait(all) {
		if r.Status != envelope.Delivered {
			t.Errorf("%+v", r)
		}
	}
	if m := most.Load(); m > 4 { // one may still be saying goodbye when the next begins
		t.Errorf("%d connections at once", m)
	}
}

func TestRecipientsOfOneHostShareATransaction(t *testing.T) {
	s := &sink{}
	b := newBench(t, nil)
	b.net.to[addr1] = s.start(t, nil)
	b.resolver.hosts["smart.example"] = []netip.Addr{addr1}
	opts := &Relay{Name: "smart", URL: URL{Host: "smart.example", Port: 2525}, MailFrom: "@masked.example"}
	b.Submit(b.message("x\n", "a@one.example", "b@two.example", "c@three.example"), opts)
	b.wait(3)
	if mails := s.taken(); len(mails) != 1 || len(mails[0].to) != 3 || mails[0].from != "sender@masked.example" {
		t.Errorf("%+v", mails)
	}
	msg := b.message("x\n", "a@one.example")
	msg.Sender = address.Address{}
	b.Submit(msg, opts)
	b.wait(1)
	if m := s.taken()[1]; m.from != "" {
		t.Errorf("null sender became %q", m.from)
	}
}

func TestNextExchanger(t *testing.T) {
	s := &sink{}
	banner := scripted(t, func(c *script, _ int) { c.say("554 5.3.2 no mail today") })
	for name, first := range map[string]string{"refused": "", "banner": banner,
		"ehlo": scripted(t, func(c *script, _ int) { c.serve(nil, func(string) string { return "421 4.3.2 busy" }) }),
		"lost": scripted(t, func(c *script, _ int) {
			c.serve(nil, func(cmd string) string {
				if strings.HasPrefix(cmd, "MAIL") {
					return "-"
				}
				return ""
			})
		})} {
		b := newBench(t, nil)
		b.domain("example.com", first, s.start(t, nil))
		if r := b.one(defaultRelay, "x\n", "user@example.com"); r.Status != envelope.Delivered || r.MTA != "mx2.example" {
			t.Errorf("%s: %+v", name, r)
		}
		if !b.log.has("smtp-out: Disabling route [] <-> 192.0.2.1 for 15s") {
			t.Errorf("%s: route not disabled", name)
		}
		routes := b.Routes()
		if len(routes) != 2 || !routes[0].Disabled || routes[0].Penalty != 1 || routes[1].Disabled {
			t.Errorf("%s: %v", name, routes)
		}
		before := b.net.count(addr1)
		b.one(defaultRelay, "y\n", "user@example.com")
		if b.net.count(addr1) != before {
			t.Errorf("%s: disabled route was used", name)
		}
		missed, ok := b.ResumeRoute(routes[0].ID)
		if _, known := b.ResumeRoute(99); !ok || known || b.Routes()[0].Disabled {
			t.Errorf("%s: route not resumed", name)
		}
		if len(missed) != 0 {
			t.Errorf("%s: %v could be reached by another route", name, missed)
		}
	}
	b := newBench(t, nil)
	b.domain("example.com", banner)
	if r := b.one(defaultRelay, "x\n", "user@example.com"); r.Status != envelope.TempFail || r.Text != "554 5.3.2 no mail today" || r.EscClass != 4 {
		t.Errorf("%+v", r)
	}
	if r := b.one(defaultRelay, "x\n", "user@example.com"); r.Status != envelope.TempFail || !strings.HasPrefix(r.Text, "All routes to destination blocked") {
		t.Errorf("%+v", r)
	}
}

func TestWhatTheResolverSays(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.LocalAddrs = func() []netip.Addr { return []netip.Addr{addr2} }
	})
	s := &sink{}
	sinkAddr := s.start(t, nil)
	b.resolver.errs["gone.example"] = lookupError{"Domain does not exist", false}
	b.resolver.errs["broken.example"] = lookupError{"Temporary failure in MX lookup: SERVFAIL", true}
	b.resolver.errs["odd.example"] = errors.New("ipc\nlost")
	b.resolver.mx["self.example"] = []MXHost{{"US.example.", 10, []netip.Addr{addr1}, false}}
	b.resolver.mx["address.example"] = []MXHost{{"mx.example", 10, []netip.Addr{addr1, addr2}, false}, {"worse.example", 20, []netip.Addr{addr3}, false}}
	b.resolver.mx["better.example"] = []MXHost{{"best.example", 5, []netip.Addr{addr1}, false}, {"us.example", 10, nil, false}, {"other.example", 10, []netip.Addr{addr3}, false}}
	b.resolver.mx["empty.example"] = nil
	b.resolver.mx["six.example"] = []MXHost{{"six.example", 10, []netip.Addr{addr3}, false}}
	b.net.to[addr1] = sinkAddr
	tests := []struct {
		domain string
		status envelope.Status
		esc    uint16
		text   string
	}{
		{"gone.example", envelope.PermFail, 102, "Domain does not exist"},
		{"broken.example", envelope.TempFail, 403, "SERVFAIL"},
		{"odd.example", envelope.TempFail, 403, "ipc?lost"},
		{"self.example", envelope.Loop, 406, "loops back"},
		{"address.example", envelope.Loop, 406, "loops back"},
		{"[192.0.2.2]", envelope.Loop, 406, "loops back"},
		{"[192.0.2.1]", envelope.Delivered, 0, "250"},
		{"better.example", envelope.Delivered, 0, "250"},
		{"empty.example", envelope.TempFail, 401, "No MX found for destination"},
		{"six.example", envelope.TempFail, 401, "Address family mismatch on destination MXs"},
	}
	opts := &Relay{Name: "out", Limits: Limits{Family: "inet4"}}
	for _, tt := range tests {
		r := b.one(opts, "x\n", "user@"+tt.domain)
		if r.Status != tt.status || r.EscCode != tt.esc || !strings.Contains(r.Text, tt.text) {
			t.Errorf("%s: %+v", tt.domain, r)
		}
	}
	if b.net.count(addr3) != 0 {
		t.Error("an exchanger that is not better than this host was tried")
	}
}

func TestBackup(t *testing.T) {
	b := newBench(t, nil)
	s := &sink{}
	b.net.to[addr1] = s.start(t, nil)
	b.resolver.mx["example.com"] = []MXHost{{"primary.example", 10, []netip.Addr{addr1}, false},
		{"backup.example", 20, []netip.Addr{addr2}, false}, {"worse.example", 30, []netip.Addr{addr3}, false}}
	if r := b.one(&Relay{Name: "b", Backup: true, BackupMX: "backup.example"}, "x\n", "u@example.com"); r.Status != envelope.Delivered {
		t.Errorf("%+v", r)
	}
	if r := b.one(&Relay{Name: "b", Backup: true, BackupMX: "primary.example"}, "x\n", "u@example.com"); r.Status != envelope.Loop {
		t.Errorf("%+v", r)
	}
	if r := b.one(&Relay{Name: "b", Backup: true, BackupMX: "stranger.example"}, "x\n", "u@example.com"); r.Status != envelope.Delivered {
		t.Errorf("%+v", r)
	}
	if !b.log.has("stranger.example is not a mail exchanger") {
		t.Error("no warning")
	}
}

func TestSourcesAndHelo(t *testing.T) {
	var mu sync.Mutex
	var helos []string
	addr := scripted(t, func(c *script, _ int) {
		c.serve(nil, func(cmd string) string {
			if strings.HasPrefix(cmd, "EHLO") {
				mu.Lock()
				helos = append(helos, cmd)
				mu.Unlock()
			}
			return ""
		})
	})
	b := newBench(t, nil)
	b.domain("example.com", addr)
	v4, v6 := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8::99")
	r := b.one(&Relay{Name: "a", Sources: []netip.Addr{v6, v4}, HeloBySource: map[netip.Addr]string{v4: "four.example"}}, "x\n", "u@example.com")
	if r.Status != envelope.Delivered || len(helos) != 1 || helos[0] != "EHLO four.example" {
		t.Errorf("%+v %v", r, helos)
	}
	if routes := b.Routes(); len(routes) != 1 || routes[0].Source != v4 {
		t.Errorf("%v", routes)
	}
	if r := b.one(&Relay{Name: "b", Sources: []netip.Addr{v6}}, "x\n", "u@example.com"); r.Status != envelope.TempFail || r.Text != "No valid route to destination" {
		t.Errorf("%+v", r)
	}
}

func TestHeloFallback(t *testing.T) {
	addr := scripted(t, func(c *script, _ int) {
		c.serve(nil, func(cmd string) string {
			if strings.HasPrefix(cmd, "EHLO") {
				return "500 what?"
			}
			if strings.HasPrefix(cmd, "MAIL") && cmd != "MAIL FROM:<sender@us.example>" {
				return "501 no parameters please"
			}
			return ""
		})
	})
	b := newBench(t, nil)
	b.domain("example.com", addr)
	if r := b.one(defaultRelay, "x\n", "u@example.com"); r.Status != envelope.Delivered || !r.NoDSN {
		t.Errorf("%+v", r)
	}
}

func TestPauseAndStop(t *testing.T) {
	s := &sink{}
	b := newBench(t, nil)
	b.domain("example.com", s.start(t, nil))
	if !b.Pause() || b.Pause() {
		t.Error("Pause does not tell")
	}
	b.Submit(b.message("x\n", "u@example.com"), defaultRelay)
	if len(b.Relays()) != 1 || b.Relays()[0].Tasks != 1 || b.Relays()[0].Connections != 0 {
		t.Errorf("%v", b.Relays())
	}
	if !b.Resume() || b.Resume() {
		t.Error("Resume does not tell")
	}
	b.wait(1)
	if h := b.Hosts(); len(h) != 1 || h[0].Addr != addr1 || h[0].Name != "ptr.example" {
		t.Errorf("%v", h)
	}
	if st := b.HostStats(); len(st) != 1 || st[0].Domain != "example.com" || !strings.HasPrefix(st[0].Status, "250") {
		t.Errorf("%v", st)
	}
	b.Pause()
	b.Submit(b.message("x\n", "u@example.com"), defaultRelay)
	b.Stop(context.Background())
	b.Submit(b.message("x\n", "u@example.com"), defaultRelay)
	if len(b.results) != 0 || len(s.taken()) != 1 {
		t.Error("something was sent while paused or after Stop")
	}
}

func TestStopLetsTransactionsEnd(t *testing.T) {
	inBody, release := make(chan struct{}), make(chan struct{})
	addr := scripted(t, func(c *script, _ int) {
		c.serve(nil, func(cmd string) string {
			if cmd == "." {
				close(inBody)
				<-release
			}
			return ""
		})
	})
	b := newBench(t, nil)
	b.domain("example.com", addr)
	b.Submit(b.message("x\n", "u@example.com"), &Relay{Name: "out", Limits: Limits{MaxConnPerRoute: 1}})
	<-inBody
	b.Submit(b.message("y\n", "u@example.com"), &Relay{Name: "out", Limits: Limits{MaxConnPerRoute: 1}})
	stopped := make(chan struct{})
	go func() { b.Stop(context.Background()); close(stopped) }()
	<-b.stop
	close(release)
	<-stopped
	if r := <-b.results; r.Status != envelope.Delivered || len(b.results) != 0 {
		t.Errorf("%+v and %d more", r, len(b.results))
	}
}

func TestLMTP(t *testing.T) {
	full := &gosmtp.SMTPError{Code: 452, EnhancedCode: gosmtp.EnhancedCode{4, 2, 2}, Message: "mailbox full"}
	unknown := &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "unknown"}
	s := &sink{lmtpErr: map[string]*gosmtp.SMTPError{"full@example.com": full}, refuse: map[string]*gosmtp.SMTPError{"no@example.com": unknown}}
	b := newBench(t, nil)
	b.net.to[addr1] = s.start(t, func(srv *gosmtp.Server) { srv.LMTP = true })
	opts := &Relay{Name: "l", URL: URL{Scheme: LMTP, Host: addr1.String(), Port: 24}}
	body := ".\n..x\na\r.\rb\n" + strings.Repeat("long", 20000) + "\n"
	msg := b.message(body, "a@example.com", "full@example.com", "no@example.com", "a@example.com", "b@example.com")
	b.Submit(msg, opts)
	got := b.wait(5)
	for i, want := range []envelope.Result{
		{Status: envelope.Delivered}, {Status: envelope.TempFail, EscCode: 202}, {Status: envelope.PermFail, EscCode: 101},
		{Status: envelope.Delivered}, {Status: envelope.Delivered}} {
		r := got[msg.Recipients[i].ID]
		if r.Status != want.Status || want.EscCode != 0 && r.EscCode != want.EscCode || strings.Contains(r.Text, "\n") || !r.Final {
			t.Errorf("recipient %d: %+v", i, r)
		}
	}
	mails := s.taken()
	if len(mails) != 2 || len(mails[0].to) != 3 || len(mails[1].to) != 1 { // the address that comes twice follows
		t.Fatalf("%d mails", len(mails))
	}
	want := strings.ReplaceAll(strings.ReplaceAll(body, "\r", " "), "\n", "\r\n")
	if string(mails[0].body) != want {
		t.Errorf("%.60q", mails[0].body)
	}
	if r := b.one(opts, "x\n", "no@example.com"); r.Status != envelope.PermFail {
		t.Errorf("%+v", r)
	}
	if r := b.one(opts, "x\n", "b@example.com"); r.Status != envelope.Delivered {
		t.Errorf("%+v", r)
	}
}

func TestMessageTooLarge(t *testing.T) {
	s := &sink{}
	b := newBench(t, nil)
	b.domain("example.com", s.start(t, func(srv *gosmtp.Server) { srv.MaxMessageBytes = 1000 }))
	if r := b.one(defaultRelay, strings.Repeat("x", 2000), "u@example.com"); r.Status != envelope.PermFail || r.EscClass != 5 || r.EscCode != 304 {
		t.Errorf("%+v", r)
	}
	if r := b.one(defaultRelay, "small\n", "u@example.com"); r.Status != envelope.Delivered {
		t.Errorf("%+v", r)
	}
}

func TestDSNParameters(t *testing.T) {
	for _, dsn := range []bool{true, false} {
		var mu sync.Mutex
		var got []string
		addr := scripted(t, func(c *script, _ int) {
			ehlo := []string{"pipelining"}
			if dsn {
				ehlo = append(ehlo, "dsn")
			}
			c.serve(ehlo, func(cmd string) string {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, cmd)
				return ""
			})
		})
		b := newBench(t, nil)
		b.domain("example.com", addr)
		msg := b.message("x\n", "a@example.com", `"b b"@example.com`, "c@example.com")
		msg.EnvID, msg.Ret = "env", "FULL"
		msg.Recipients[0].Notify, msg.Recipients[0].ORcpt = envelope.NotifySuccess|envelope.NotifyDelay, "rfc822;o@example.com"
		msg.Recipients[1].Notify, msg.Recipients[1].ORcpt = envelope.NotifyNever, "rfc822;x\r\nRSET"
		msg.Recipients[2].Rcpt = address.Address{Local: "all+x=y", Domain: "example.org"}
		b.Submit(msg, defaultRelay)
		for _, r := range b.wait(3) {
			if r.NoDSN == dsn {
				t.Errorf("%+v", r)
			}
		}
		want := "MAIL FROM:<sender@us.example>|RCPT TO:<a@example.com>|RCPT TO:<\"b b\"@example.com>|RCPT TO:<c@example.com>|DATA"
		if dsn {
			want = "MAIL FROM:<sender@us.example> RET=FULL ENVID=env|RCPT TO:<a@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o@example.com|RCPT TO:<\"b b\"@example.com> NOTIFY=NEVER|RCPT TO:<c@example.com> ORCPT=rfc822;all+2Bx+3Dy@example.org|DATA"
		}
		mu.Lock()
		if s := strings.Join(got[1:6], "|"); s != want {
			t.Errorf("%s", s)
		}
		mu.Unlock()
	}
}

func TestDuration(t *testing.T) {
	for in, want := range map[int64]string{0: "0s", 62: "1m2s", 3600: "1h", 86400 + 7200 + 180 + 4: "1d2h3m4s", -5: "0s"} {
		if got := trace.Delay(secondsOf(in)); got != want {
			t.Errorf("%d: %s", in, got)
		}
	}
}

func BenchmarkTransaction(b *testing.B) {
	for _, size := range []int{1 << 10, 100 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			addr := scripted(b, func(c *script, _ int) { c.serve([]string{"PIPELINING", "8BITMIME", "SIZE"}, nil) })
			m := newBench(b, func(c *Config) { c.Log = nil })
			m.domain("example.com", addr)
			body := strings.Repeat(strings.Repeat("x", 75)+"\n", size/76)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				m.Submit(m.message(body, "u@example.com"), defaultRelay)
				<-m.results
			}
		})
	}
}
