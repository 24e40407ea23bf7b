package mta

import (
	"crypto/tls"
	"slices"
	"strings"
	"sync"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/mtasts"
	"github.com/godwit-mta/godwit/core/tlspolicy"
)

// recorder keeps the commands that a scripted server got.
type recorder struct {
	mu       sync.Mutex
	commands []string
}

func (r *recorder) reply(cmd string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commands = append(r.commands, cmd)
	return ""
}

// list gives the commands so far.
func (r *recorder) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.commands)
}

// saw counts the commands that begin with prefix.
func (r *recorder) saw(prefix string) (n int) {
	for _, c := range r.list() {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

// A message goes only to a server that takes what it has, as it is; else it fails and the
// next one is sent over the same connection.
func TestNeeds(t *testing.T) {
	const umlaut = "ö@example.com"
	plain := []string{"PIPELINING", "DSN"}
	eight := append([]string{"8BITMIME"}, plain...)
	utf8 := append([]string{"SMTPUTF8"}, eight...)
	for _, v := range []struct {
		name      string
		ehlo      []string
		from, to  string
		body      string
		utf8      bool
		code      uint16 // 0: delivered
		mail, cmd string // what the server gets
	}{
		{"ascii", plain, "a@us.example", "u@example.com", "A: b\n\nx\n", false, 0, "MAIL FROM:<a@us.example>", "RCPT TO:<u@example.com>"},
		{"8 bit body", plain, "a@us.example", "u@example.com", "A: b\n\nö\n", false, 603, "", ""},
		{"8 bit header", plain, "a@us.example", "u@example.com", "A: ö\n\nx\n", false, 603, "", ""},
		{"8 bit to 8BITMIME", eight, "a@us.example", "u@example.com", "A: ö\n\n\xff\n", false, 0, "MAIL FROM:<a@us.example> BODY=8BITMIME", ""},
		{"SMTPUTF8 of nothing but ASCII", plain, "a@us.example", "u@example.com", "A: b\n\nx\n", true, 0, "MAIL FROM:<a@us.example>", ""},
		{"SMTPUTF8 with an 8-bit body", eight, "a@us.example", "u@example.com", "A: b\n\nö\n", true, 0, "MAIL FROM:<a@us.example> BODY=8BITMIME", ""},
		{"header", eight, "a@us.example", "u@example.com", "A: b\nB: ö\n\nx\n", true, 609, "", ""},
		{"sender", eight, umlaut, "u@example.com", "A: b\n\nx\n", true, 607, "", ""},
		{"recipient", eight, "a@us.example", umlaut, "A: b\n\nx\n", false, 607, "", ""},
		{"domain", plain, "a@us.example", "u@bücher.example", "A: b\n\nx\n", true, 0, "MAIL FROM:<a@us.example>", "RCPT TO:<u@xn--bcher-kva.example>"},
		{"all to SMTPUTF8", utf8, umlaut, umlaut, "A: ö\n\nö\n", true, 0, "MAIL FROM:<" + umlaut + "> BODY=8BITMIME SMTPUTF8", "RCPT TO:<" + umlaut + ">"},
		{"an alias in UTF-8", utf8, "a@us.example", umlaut, "A: b\n\nx\n", false, 0, "MAIL FROM:<a@us.example> BODY=8BITMIME SMTPUTF8", ""},
		{"ASCII to SMTPUTF8", utf8, "a@us.example", "u@example.com", "A: b\n\nx\n", false, 0, "MAIL FROM:<a@us.example> BODY=8BITMIME", ""},
	} {
		t.Run(v.name, func(t *testing.T) {
			var r recorder
			b := newBench(t, nil)
			where := scripted(t, func(c *script, _ int) { c.serve(v.ehlo, r.reply) })
			b.domain("example.com", where)
			b.domain("xn--bcher-kva.example", where)
			msg, last := b.message(v.body, v.to), b.message("A: b\n\nlast\n", "u@example.com")
			sender, err := address.Parse(v.from)
			if err != nil {
				t.Fatal(err)
			}
			msg.Sender, msg.UTF8 = sender, v.utf8
			b.Submit(msg, defaultRelay)
			b.Submit(last, defaultRelay)
			got := b.wait(2)
			res := got[msg.Recipients[0].ID]
			if got[last.Recipients[0].ID].Status != envelope.Delivered {
				t.Errorf("the next message: %+v", got)
			}
			if v.code == 0 && res.Status != envelope.Delivered || v.code != 0 && (res.Status != envelope.PermFail || res.EscClass != 5 || res.EscCode != v.code) {
				t.Errorf("%+v", res)
			}
			if v.code == 0 && (r.saw(v.mail) == 0 || r.saw(v.cmd) == 0) || v.code != 0 && r.saw("MAIL") != 1 {
				t.Errorf("%q", r.list())
			}
			if strings.Contains(v.mail, "SMTPUTF8") != (r.saw(v.mail) == 1 && slices.ContainsFunc(r.list(), func(c string) bool { return strings.HasSuffix(c, " SMTPUTF8") })) {
				t.Errorf("%q", r.list())
			}
		})
	}
}

// Recipients whose addresses need SMTPUTF8 do not take the others down with them.
func TestNeedsOfOneRecipient(t *testing.T) {
	b := newBench(t, nil)
	s := &sink{}
	b.domain("example.com", s.start(t, nil))
	msg := b.message("A: b\n\nx\n", "u@example.com", "ö@example.com", "v@example.com")
	b.Submit(msg, defaultRelay)
	got := b.wait(3)
	for i, want := range []envelope.Status{envelope.Delivered, envelope.PermFail, envelope.Delivered} {
		if r := got[msg.Recipients[i].ID]; r.Status != want {
			t.Errorf("%d: %+v", i, r)
		}
	}
}

func TestOriginalOf(t *testing.T) {
	for in, want := range map[string]string{"a+b=c@d": "rfc822;a+2Bb+3Dc@d", `"a b"@d`: `rfc822;"a+20b"@d`,
		"ö+用@bücher.example": `utf-8;\x{F6}+2B\x{7528}@xn--bcher-kva.example`} {
		a, err := address.Parse(in)
		if got := originalOf(a); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

// REQUIRETLS is obeyed or the message fails for good; other messages are not held up.
func TestRequireTLS(t *testing.T) {
	good, pool := certificate(t, "next.example", "mx1.example")
	other, _ := certificate(t, "other.example")
	with := func(offer bool, cert *tls.Certificate) func(*gosmtp.Server) {
		return func(srv *gosmtp.Server) {
			srv.EnableREQUIRETLS = offer
			if cert != nil {
				srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*cert}}
			}
		}
	}
	roots := &tls.Config{RootCAs: pool}
	named := func(scheme Scheme) *Relay {
		return &Relay{Name: "s", URL: URL{Scheme: scheme, Host: "next.example"}, TLSConfig: roots}
	}
	for _, v := range []struct {
		name   string
		relay  *Relay
		server func(*gosmtp.Server)
		null   bool
		status envelope.Status
		text   string
	}{
		{"mail exchangers of DNSSEC", &Relay{Name: "s", TLSConfig: roots}, with(true, &good), false, envelope.Delivered, ""},
		{"mail exchangers of DNSSEC, not offered", &Relay{Name: "s", TLSConfig: roots}, with(false, &good), false, envelope.PermFail, "REQUIRETLS not supported"},
		{"mail exchangers of DNSSEC with DANE", &Relay{Name: "s", DANE: true}, with(true, &good), false, envelope.Delivered, ""},
		{"all there", named(SMTP), with(true, &good), false, envelope.Delivered, ""},
		{"the action does not verify", &Relay{Name: "s", URL: URL{Host: "next.example"}, TLSConfig: roots, RequireTLS: true, NoVerify: true},
			with(true, &other), false, envelope.PermFail, "certificate not valid"},
		{"not offered", named(SMTP), with(false, &good), false, envelope.PermFail, "REQUIRETLS not supported"},
		{"no TLS", named(SMTP), with(true, nil), false, envelope.PermFail, "TLS required but not supported"},
		{"bad certificate", named(SMTPTLS), with(true, &other), false, envelope.PermFail, "certificate not valid"},
		{"TLS forbidden", named(SMTPNoTLS), with(true, &good), false, envelope.PermFail, "both required and forbidden"},
		{"LMTP", named(LMTP), with(true, &good), false, envelope.PermFail, "both required and forbidden"},
		{"mail exchangers", &Relay{Name: "s", TLSConfig: roots}, with(true, &good), false, envelope.PermFail, "not validated"},
		{"notice", named(SMTP), with(false, nil), true, envelope.Delivered, ""},
		{"notice where it can be", named(SMTP), with(true, &good), true, envelope.Delivered, ""},
	} {
		t.Run(v.name, func(t *testing.T) {
			s := &sink{}
			b := newBench(t, nil)
			b.resolver.hosts["next.example"] = append(b.resolver.hosts["next.example"], addr1)
			b.domain("example.com", s.start(t, v.server))
			msg := b.message("A: b\n\nx\n", "u@example.com")
			if strings.Contains(v.name, "DNSSEC") {
				b.secure("example.com")
			}
			if strings.Contains(v.name, "DANE") {
				b.resolver.tlsa["mx1.example"] = TLSA{Records: []tlspolicy.Record{daneEE(t, good)}, Base: "mx1.example"}
			}
			if msg.RequireTLS = true; v.null {
				msg.Sender = address.Address{}
			}
			b.Submit(msg, v.relay)
			r := b.wait(1)[msg.Recipients[0].ID]
			if r.Status != v.status || !strings.Contains(r.Text, v.text) || v.status == envelope.PermFail && (r.EscClass != 5 || r.EscCode != 730) {
				t.Errorf("%+v", r)
			}
			if v.status == envelope.Delivered {
				if m := s.taken(); len(m) != 1 || m[0].opts.RequireTLS == (v.name == "notice") {
					t.Errorf("%+v", m)
				}
				return
			}
			if m := s.taken(); len(m) != 0 {
				t.Errorf("sent: %+v", m)
			}
			if v.relay.URL.Scheme != LMTP {
				opts := *v.relay
				opts.RequireTLS, opts.URL.Scheme = false, SMTP
				if r := b.one(&opts, "x\n", "u@example.com"); r.Status != envelope.Delivered {
					t.Errorf("another message: %+v", r)
				}
			}
		})
	}
}

// RFC 9422: transactions have as many recipients, sessions as many transactions as the server says.
func TestServerLimits(t *testing.T) {
	var r recorder
	b := newBench(t, nil)
	quits := make(chan struct{}, 10)
	b.domain("example.com", scripted(t, func(c *script, _ int) {
		c.serve([]string{"PIPELINING", "limits rcptmax=2 MAILMAX=1 FOO RCPTDOMAINMAX=x"}, func(cmd string) string {
			if cmd == "QUIT" {
				quits <- struct{}{}
			}
			return r.reply(cmd)
		})
	}))
	b.Submit(b.message("x\n", "a@example.com", "b@example.com", "c@example.com", "d@example.com", "e@example.com"), defaultRelay)
	for _, res := range b.wait(5) {
		if res.Status != envelope.Delivered {
			t.Errorf("%+v", res)
		}
	}
	for range 3 { // each session ends politely
		<-quits
	}
	if r.saw("MAIL") != 3 || r.saw("EHLO") != 3 || r.saw("RCPT") != 5 {
		t.Errorf("%q", r.list())
	}
	for args, want := range map[string][2]int{"": {}, "RCPTMAX": {}, "RCPTMAX=0 MAILMAX=-1": {}, "RCPTMAX=99999999999": {}, "MAILMAX=7 X=1": {0, 7}} {
		x := parseExtensions([]string{"hi", "LIMITS " + args})
		if x.rcpt != want[0] || x.mail != want[1] {
			t.Errorf("%q: %+v", args, x)
		}
	}
}

// TLS-Required: No has no regard to DANE, but to what the action says, and not beside REQUIRETLS.
func TestTLSOptional(t *testing.T) {
	cert, pool := certificate(t, "mx1.example")
	other, _ := certificate(t, "mx1.example")
	for _, v := range []struct {
		relay    Relay
		required bool
		status   envelope.Status
	}{
		{Relay{DANE: true}, false, envelope.Delivered},
		{Relay{DANE: true, RequireTLS: true}, false, envelope.TempFail},
		{Relay{DANE: true, RequireTLS: true, TLSConfig: &tls.Config{RootCAs: pool}}, false, envelope.Delivered},
		{Relay{DANE: true}, true, envelope.PermFail},
		{Relay{STS: true}, false, envelope.Delivered},
	} {
		b := newBench(t, nil)
		b.domain("example.com", (&sink{}).startTLS(t, cert))
		b.secure("example.com")
		b.resolver.tlsa["mx1.example"] = TLSA{Records: []tlspolicy.Record{daneEE(t, other)}, Base: "mx1.example"}
		b.resolver.sts["example.com"] = stsPolicy(mtasts.Enforce, "other.example")
		msg := b.message("TLS-Required: No\n\nx\n", "u@example.com")
		msg.TLSOptional, msg.RequireTLS = true, v.required
		b.Submit(msg, &v.relay)
		if r := b.wait(1)[msg.Recipients[0].ID]; r.Status != v.status {
			t.Errorf("%+v: %+v", v, r)
		}
	}
}
