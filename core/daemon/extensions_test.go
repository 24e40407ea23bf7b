package daemon

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/envelope"
)

// submit hands a message in with parameters of MAIL and of RCPT.
func submit(t *testing.T, c *gosmtp.Client, from, to string, mail *gosmtp.MailOptions, rcpt *gosmtp.RcptOptions, body string) {
	t.Helper()
	if err := c.Mail(from, mail); err != nil {
		t.Fatal(err)
	}
	if err := c.Rcpt(to, rcpt); err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err == nil {
		_, err = w.Write([]byte(body))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What a message came with is obeyed on its way out: a server that lacks it does not get the
// message, and the sender is told why, in a notice that has no more in it than it may.
func TestExtensionsEndToEnd(t *testing.T) {
	dir := t.TempDir()
	pool := makeCert(t, dir)
	s, port := startSink(t, nil)
	l := start(t, fmt.Sprintf(`
pki mx.example.org cert "%[1]s/cert.pem"
pki mx.example.org key "%[1]s/key.pem"
bounce return-full any
listen on 127.0.0.1 port PORT tls pki mx.example.org
action "local" maildir userbase <people>
action "out" relay host "smtp://127.0.0.1:%[2]d"
match from any for domain "example.org" action "local"
match from any for any action "out"
`, dir, port))
	c := l.dialTLS(&tls.Config{ServerName: "mx.example.org", RootCAs: pool})
	before := 0
	for _, v := range []struct {
		name, to string
		mail     gosmtp.MailOptions
		rcpt     gosmtp.RcptOptions
		want     []string
		full     bool
	}{
		{"REQUIRETLS", "a@b.example", gosmtp.MailOptions{RequireTLS: true, Return: gosmtp.DSNReturnFull}, gosmtp.RcptOptions{},
			[]string{"Status: 5.7.30", "TLS required but not supported"}, false},
		{"SMTPUTF8", "ö@bücher.example", gosmtp.MailOptions{UTF8: true, Return: gosmtp.DSNReturnFull}, gosmtp.RcptOptions{},
			[]string{"Status: 5.6.7", `Final-Recipient: utf-8; \x{F6}@xn--bcher-kva.example`, "Content-Type: message/global\n", "ö@xn--bcher-kva.example: SMTPUTF8"}, true},
		{"header in UTF-8", "a@b.example", gosmtp.MailOptions{UTF8: true}, gosmtp.RcptOptions{OriginalRecipient: "ö@c.example", OriginalRecipientType: gosmtp.DSNAddressTypeUTF8},
			[]string{"Status: 5.6.9", `Original-Recipient: utf-8; \x{F6}@c.example`, "Content-Type: message/global-headers\n"}, false},
	} {
		from := l.log.len()
		submit(t, c, "joe@example.org", v.to, &v.mail, &v.rcpt, "Subject: größe\r\n\r\nthe text\r\n")
		l.log.wait(t, from, `mda delivery .* from=<> to=<joe@example.org> .* result=Ok`)
		got := l.maildir("joe")
		if before++; len(got) != before {
			t.Fatalf("%s: %d messages", v.name, len(got))
		}
		notice := ""
		for _, m := range got {
			if strings.Contains(m, v.want[0]) {
				notice = m
			}
		}
		for _, want := range v.want {
			if !strings.Contains(notice, want) {
				t.Errorf("%s: no %q in\n%s", v.name, want, notice)
			}
		}
		if full := strings.Contains(notice, "the text"); full != v.full {
			t.Errorf("%s: whole message %v in\n%s", v.name, full, notice)
		}
	}
	if got := s.messages(); len(got) != 0 {
		t.Errorf("the next server got %+v", got)
	}
	// With all that in a message for somebody here nothing stands against it.
	from := l.log.len()
	submit(t, c, "ö@example.net", "joe@example.org", &gosmtp.MailOptions{UTF8: true, RequireTLS: true}, nil, "Subject: ü\r\n\r\n")
	l.log.wait(t, from, `mda delivery .* from=<ö@example.net> to=<joe@example.org> .* result=Ok`)
	found := false
	for _, m := range l.maildir("joe") {
		found = found || strings.Contains(m, "Subject: ü\n") && strings.Contains(m, "with UTF8SMTPS id ") && strings.Contains(m, "Return-Path: <ö@example.net>")
	}
	if !found {
		t.Errorf("not among %q", l.maildir("joe"))
	}
}

// The postmaster is reached without a domain even where no rule takes mail from strangers,
// but only here and by nobody else.
func TestPostmaster(t *testing.T) {
	l := start(t, `
table aliases { postmaster = joe }
listen on 127.0.0.1 port PORT hostname mx.example.org
action "local" maildir userbase <people> alias <aliases>
action "out" relay host "smtp://127.0.0.1:1"
match from socket for domain "mx.example.org" action "local"
match from socket for any action "out"
`)
	for rcpt, want := range map[string]int{"Postmaster": 0, "joe": 550, "postmaster@mx.example.org": 550, "postmaster@b.example": 550} {
		if err := l.send("ann@example.net", []string{rcpt}, "x: y\r\n\r\n"); code(err) != want {
			t.Errorf("%s: %v", rcpt, err)
		}
	}
	l.log.wait(t, 0, `mda delivery .* to=<[Pp]ostmaster@mx.example.org> .* result=Ok`)
}

// A notice needs SMTPUTF8 for the address of its reader alone.
func TestNoticeFlags(t *testing.T) {
	for sender, want := range map[string]envelope.Flags{"a@b": envelope.RequireTLS, "ö@b": envelope.RequireTLS | envelope.SMTPUTF8} {
		a, err := address.Parse(sender)
		if err != nil {
			t.Fatal(err)
		}
		about := &envelope.Envelope{Sender: a, Flags: envelope.RequireTLS | envelope.SMTPUTF8 | envelope.Authenticated | envelope.TLS}
		if got := noticeFlags(about); got != want {
			t.Errorf("%s: %s", sender, got)
		}
	}
}

// A message with REQUIRETLS passes through two servers of ours and is marked at the end; when
// the next one has a certificate that is not trusted it goes back.
func TestRequireTLSToTheEnd(t *testing.T) {
	dir := t.TempDir()
	pool := makeCert(t, dir)
	loopbackCert(t, dir)
	_, clear := startSink(t, nil)
	last := start(t, fmt.Sprintf(`
pki hop.example.org cert "%[1]s/hop.pem"
pki hop.example.org key "%[1]s/hop.key"
listen on 127.0.0.1 port PORT tls pki hop.example.org
action "local" maildir userbase <people>
action "stuck" relay host "smtp://127.0.0.1:%[2]d"
match from any for domain "stuck.example" action "stuck"
match from any for any action "local"
`, dir, clear))
	first := start(t, fmt.Sprintf(`
pki mx.example.org cert "%[1]s/cert.pem"
pki mx.example.org key "%[1]s/key.pem"
ca hop cert "%[1]s/hop.pem"
listen on 127.0.0.1 port PORT tls pki mx.example.org
action "local" maildir userbase <people>
action "trusted" relay host "smtp://%[2]s" ca hop
action "stranger" relay host "smtp://%[2]s" tls no-verify
match from any for domain "example.org" action "local"
match from any for domain "trusted.example" action "trusted"
match from any for domain "stuck.example" action "trusted"
match from any for any action "stranger"
`, dir, last.addr))
	c := first.dialTLS(&tls.Config{ServerName: "mx.example.org", RootCAs: pool})
	required := &gosmtp.MailOptions{RequireTLS: true}
	submit(t, c, "joe@example.org", "joe@trusted.example", required, nil, "Subject: safe\r\n\r\n")
	first.log.wait(t, 0, `mta delivery .* to=<joe@trusted.example> .* result="Ok"`)
	last.log.wait(t, 0, `mda delivery .* to=<joe@trusted.example> .* result=Ok`)
	submit(t, c, "joe@example.org", "joe@stranger.example", required, nil, "Subject: unsafe\r\n\r\n")
	first.log.wait(t, 0, `mta delivery .* to=<joe@stranger.example> .* result="PermFail"`)
	first.log.wait(t, 0, `mda delivery .* from=<> to=<joe@example.org> .* result=Ok`)
	if got := first.maildir("joe"); len(got) != 1 || !strings.Contains(got[0], "Status: 5.7.30") || !strings.Contains(got[0], "certificate not valid") {
		t.Errorf("notices: %q", got)
	}
	submit(t, c, "joe@example.org", "joe@stuck.example", required, nil, "Subject: marked\r\n\r\n")
	last.log.wait(t, 0, `mta delivery .* to=<joe@stuck.example> .* result="PermFail" stat="TLS required but not supported`)
}

// Names in UTF-8 are aliases, virtual addresses and users of expansion like others; domains are
// looked up as A-labels.
func TestInternationalNames(t *testing.T) {
	dir := t.TempDir()
	pool := makeCert(t, dir)
	l := start(t, fmt.Sprintf(`
pki mx.example.org cert "%[1]s/cert.pem"
pki mx.example.org key "%[1]s/key.pem"
table aliases { "jürgen" = joe }
table users { "用户@xn--bcher-kva.example" = joe, "@xn--bcher-kva.example" = "jürgen@example.org" }
listen on 127.0.0.1 port PORT tls pki mx.example.org
action "local" maildir userbase <people> alias <aliases>
action "virtual" maildir userbase <people> virtual <users>
match from any for domain "example.org" action "local"
match from any for domain "xn--bcher-kva.example" action "virtual"
`, dir))
	c := l.dialTLS(&tls.Config{ServerName: "mx.example.org", RootCAs: pool})
	for _, to := range []string{"jürgen@example.org", "用户@bücher.example", "用户@xn--bcher-kva.example", "wer@Bücher.example"} {
		from := l.log.len()
		submit(t, c, "ann@example.net", to, &gosmtp.MailOptions{UTF8: true}, nil, "Subject: x\r\n\r\n")
		l.log.wait(t, from, `mda delivery .* user=joe .* result=Ok`)
	}
	if err := c.Mail("ann@example.net", &gosmtp.MailOptions{UTF8: true}); err != nil {
		t.Fatal(err)
	}
	if err := c.Rcpt("niemand@example.org", nil); code(err) != 550 {
		t.Error(err)
	}
	if err := c.Rcpt("größe@example.org", nil); code(err) != 550 {
		t.Error(err)
	}
}

// The field marks all envelopes of a message, unless the client said REQUIRETLS.
func TestTLSOptional(t *testing.T) {
	dir := t.TempDir()
	pool := makeCert(t, dir)
	l := start(t, fmt.Sprintf(`
pki mx.example.org cert "%[1]s/cert.pem"
pki mx.example.org key "%[1]s/key.pem"
listen on 127.0.0.1 port PORT tls pki mx.example.org
action "out" relay host "smtp://127.0.0.1:1"
match from any for any action "out"
`, dir))
	if err := l.ask(control.Request{Op: control.PauseMTA}, nil); err != nil {
		t.Fatal(err)
	}
	c := l.dialTLS(&tls.Config{ServerName: "mx.example.org", RootCAs: pool})
	submit(t, c, "a@example.net", "marked@b.example", nil, nil, "TLS-Required: No\r\n\r\n")
	submit(t, c, "a@example.net", "required@b.example", &gosmtp.MailOptions{RequireTLS: true}, nil, "TLS-Required: No\r\n\r\n")
	submit(t, c, "a@example.net", "plain@b.example", nil, nil, "Subject: x\r\n\r\nTLS-Required: No\r\n")
	if err := l.stop(); err != nil { // after that all lies in files
		t.Fatal(err)
	}
	got := make(map[string]envelope.Flags)
	files, _ := filepath.Glob(filepath.Join(l.dir, "spool", "queue", "*", "*", "*"))
	for _, name := range files {
		id, err := envelope.ParseID(filepath.Base(name))
		if err != nil {
			continue // the message
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		e, err := envelope.Parse(id, text)
		if err != nil {
			t.Fatal(err)
		}
		got[e.Dest.Local] = e.Flags & (envelope.TLSOptional | envelope.RequireTLS)
	}
	if len(got) != 3 || got["marked"] != envelope.TLSOptional || got["required"] != envelope.RequireTLS || got["plain"] != 0 {
		t.Errorf("%v in %q", got, files)
	}
}
