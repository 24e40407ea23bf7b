package e2e

import (
	"bytes"
	_ "embed" // of the script
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
)

// reportScript is what python reads notices with.
//
//go:embed testdata/report.py
var reportScript string

// report is a notice as python understands it.
type report struct {
	Subject, From, To, Auto, Text, Returned string
	Types                                   []string
	Message                                 map[string]string
	Recipients                              []map[string]string
}

func readReport(t *testing.T, notice []byte) report {
	t.Helper()
	cmd := exec.Command(python, "-c", reportScript)
	cmd.Stdin = bytes.NewReader(notice)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("python does not take the notice: %v %s\n%s", err, &complaint, notice)
	}
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	slices.SortFunc(r.Recipients, func(a, b map[string]string) int {
		return strings.Compare(a["Final-Recipient"], b["Final-Recipient"])
	})
	return r
}

// fields compares the fields of a group of a report.
func fields(t *testing.T, got map[string]string, want string) {
	t.Helper()
	for line := range strings.SplitSeq(want, "\n") {
		name, value, _ := strings.Cut(line, ": ")
		if got[name] != value {
			t.Errorf("%s: %q, want %q, in %v", name, got[name], value, got)
		}
	}
}

const secondSink = "127.0.0.5:25"

// TestOneNotice: recipients who are refused by different servers are in one notice, which
// carries the whole message as the sender wished.
func TestOneNotice(t *testing.T) {
	startDNS(t)
	refuse := func(s *sink, rcpt, text string) {
		s.refuse[rcpt] = &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: text}
	}
	refuse(startSink(t, sinkAddr, nil), "no@sink.test", "nobody\r\n--here")
	refuse(startSink(t, secondSink, nil), "no@second.test", "nobody there")
	d := start(t, `
listen on 127.0.0.1
action "local" maildir
action "out" relay
action "second" relay host 127.0.0.5
match from any for domain "godwit.test" action "local"
match for domain "second.test" action "second"
match for any action "out"
`)
	t.Setenv("SMTPD_SOCKET", d.sock)
	text := "Subject: =?utf-8?q?gr=C3=BCn?=\nFrom: alice@godwit.test\n\nGr\u00fcn.\n.dot\n..\n.\n--=_\n"
	feed(t, []byte(text), program("sendmail"), "-i", "-f", "alice@godwit.test", "-R", "full", "-V", "id+1", "-N", "failure",
		"no@sink.test", "no@second.test")
	r := readReport(t, newMaildir("alice").wait(t, 1, startWait)[0])
	if r.Subject != "Delivery status notification: failed" || r.From != "MAILER-DAEMON@mx.godwit.test" ||
		r.To != "alice@godwit.test" || r.Auto != "auto-replied" || len(r.Recipients) != 2 ||
		!slices.Equal(r.Types, []string{"text/plain", "message/delivery-status", "message/rfc822"}) {
		t.Fatalf("%+v", r)
	}
	fields(t, r.Message, "Reporting-MTA: dns; mx.godwit.test\nOriginal-Envelope-Id: id+1")
	fields(t, r.Recipients[0], "Final-Recipient: rfc822; no@second.test\nAction: failed\nStatus: 5.1.1\n"+
		"Diagnostic-Code: smtp; 550 5.1.1 nobody there")
	fields(t, r.Recipients[1], "Final-Recipient: rfc822; no@sink.test\nAction: failed\nStatus: 5.1.1\nRemote-MTA: dns; mx.sink.test\n"+
		"Diagnostic-Code: smtp; 550 nobody 5.1.1 --here")
	if _, body, _ := strings.Cut(text, "\n\n"); !strings.HasSuffix(r.Returned, "\n\n"+body) {
		t.Errorf("returned:\n%s", r.Returned)
	}
	if !strings.Contains(r.Text, "no@second.test: 550 5.1.1 nobody there") {
		t.Errorf("text:\n%s", r.Text)
	}
	d.drained(startWait)
	if more := newMaildir("alice").take(); len(more) > 0 {
		t.Errorf("%d more notices", len(more))
	}
}

// TestDelayAndExpiry: a sender is told once that a message is late, with the real time, and
// in the end that it failed.
func TestDelayAndExpiry(t *testing.T) {
	startDNS(t)
	s := startSink(t, sinkAddr, nil)
	s.fail = &gosmtp.SMTPError{Code: 451, EnhancedCode: gosmtp.EnhancedCode{4, 7, 1}, Message: "Later"}
	d := start(t, `
listen on 127.0.0.1
bounce warn-interval 1s
action "local" maildir
action "out" relay ttl 4s
match from any for domain "godwit.test" action "local"
match from any for any action "out"
`)
	submit(t, "alice@godwit.test", "late@sink.test", "Subject: late\n\nLate.\n")
	list := newMaildir("alice").wait(t, 2, startWait)
	delayed, failed := readReport(t, list[0]), readReport(t, list[1])
	if delayed.Subject != "Delivery status notification: delayed" {
		delayed, failed = failed, delayed
	}
	fields(t, delayed.Recipients[0], "Final-Recipient: rfc822; late@sink.test\nAction: delayed\nStatus: 4.7.1\n"+
		"Diagnostic-Code: smtp; 451 4.7.1 Later")
	if delayed.Recipients[0]["Will-Retry-Until"] == "" || !strings.Contains(delayed.Text, "tried for 1 second.") {
		t.Errorf("%+v", delayed)
	}
	fields(t, failed.Recipients[0], "Final-Recipient: rfc822; late@sink.test\nAction: failed\nStatus: 5.4.7\n"+
		"Diagnostic-Code: smtp; 451 4.7.1 Later")
	if !strings.Contains(failed.Text, "tried for 4 seconds without") {
		t.Errorf("%+v", failed)
	}
	d.drained(startWait)
	if more := newMaildir("alice").take(); len(more) > 0 {
		t.Errorf("%d more notices", len(more))
	}
}

// TestDSNWithPostfix: Postfix gets what the sender asked for and tells of the success by
// itself, and so do we when it asks us.
func TestDSNWithPostfix(t *testing.T) {
	startDNS(t)
	startPostfix(t)
	d := start(t, relayConf)
	ask := func(addr, from, to string) {
		c := dial(t, addr)
		c.ask("250", "EHLO client.test")
		c.ask("250", "MAIL FROM:<%s> RET=HDRS ENVID=id+2B1", from)
		c.ask("250", "RCPT TO:<%s> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;first+2Bx@client.test", to)
		c.ask("354", "DATA")
		c.ask("250", "Subject: asked\r\n\r\nText.\r\n.")
		c.ask("221", "QUIT")
	}
	for _, tt := range []struct{ addr, to, from string }{
		{listen, "box@postfix.test", "mx.postfix.test"},
		{postfixAddr, "bob@godwit.test", "mx.godwit.test"},
	} {
		ask(tt.addr, "alice@godwit.test", tt.to)
		r := readReport(t, newMaildir("alice").wait(t, 1, startWait)[0])
		if len(r.Recipients) != 1 || r.From != "MAILER-DAEMON@"+tt.from && r.From != "MAILER-DAEMON@"+strings.TrimPrefix(tt.from, "mx.") {
			t.Fatalf("%+v", r)
		}
		fields(t, r.Message, "Reporting-MTA: dns; "+tt.from+"\nOriginal-Envelope-Id: id+1")
		if got := r.Recipients[0]; got["Action"] != "delivered" || got["Status"][:2] != "2." ||
			strings.ReplaceAll(strings.ToLower(got["Original-Recipient"]), " ", "") != "rfc822;first+x@client.test" {
			t.Errorf("%v", got)
		}
	}
	newMaildir("bob").wait(t, 1, startWait)
	d.drained(startWait)
	if more := newMaildir("alice").take(); len(more) > 0 {
		t.Errorf("%d more notices: %s", len(more), more)
	}
}

// TestLoop: a message that has been everywhere fails, and its sender is told once.
func TestLoop(t *testing.T) {
	startDNS(t)
	d := start(t, relayConf)
	submit(t, "alice@godwit.test", "bob@godwit.test", "Delivered-To: bob@godwit.test\nSubject: again\n\nAgain.\n")
	r := readReport(t, newMaildir("alice").wait(t, 1, startWait)[0])
	fields(t, r.Recipients[0], "Final-Recipient: rfc822; bob@godwit.test\nAction: failed\nStatus: 5.4.6")
	d.drained(startWait)
	if more := newMaildir("alice").take(); len(more) > 0 {
		t.Errorf("%d more notices", len(more))
	}
}

// TestNoticesAfterKills: whatever is killed while notices are made, each recipient is reported
// in one of them. One that comes twice, which a crash during the delivery to a mailbox can
// cause, is still the same.
func TestNoticesAfterKills(t *testing.T) {
	const rounds, each = 9, 25
	startDNS(t)
	s := startSink(t, sinkAddr, nil)
	for i := range rounds * each {
		for _, name := range []string{"a", "b"} {
			s.refuse[fmt.Sprintf("%s%d@sink.test", name, i)] = &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "Nobody"}
		}
	}
	d := start(t, crashConf)
	box := newMaildir("alice")
	reports := make(map[string]map[string]bool) // Message-IDs by recipient
	take := func() int {
		for _, text := range box.take() {
			header, body := split(text)
			for line := range strings.Lines(string(body)) {
				if rcpt, ok := strings.CutPrefix(line, "Final-Recipient: rfc822; "); ok {
					rcpt = strings.TrimSpace(rcpt)
					if reports[rcpt] == nil {
						reports[rcpt] = make(map[string]bool)
					}
					reports[rcpt][field(header, "Message-ID")] = true
				}
			}
		}
		return len(reports)
	}
	for round := range rounds {
		for i := range each {
			n := round*each + i
			submit(t, "alice@godwit.test", fmt.Sprintf("a%d@sink.test,b%d@sink.test", n, n), "Subject: lost\n\nLost.\n")
		}
		made := strings.Count(d.logged(), "info: notice ")
		eventually(t, startWait, "notices are made", func() bool { return strings.Count(d.logged(), "info: notice ") > made })
		time.Sleep(rand.N(20 * time.Millisecond)) // at any moment
		d.recover(d.crash([]string{"all", "group", "parent"}[round%3]))
	}
	eventually(t, 3*startWait, "everybody is reported", func() bool { return take() == 2*rounds*each })
	d.drained(startWait)
	take()
	twice := 0
	for rcpt, ids := range reports {
		if len(ids) != 1 {
			twice++
			t.Errorf("%s is in %d notices", rcpt, len(ids))
		}
	}
	t.Logf("%d recipients, %d in more than one notice", len(reports), twice)
}
