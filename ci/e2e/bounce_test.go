package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"
)

const relayConf = `
listen on 127.0.0.1
action "local" maildir
action "out" relay
match from any for domain "godwit.test" action "local"
match from any for any action "out"
`

// TestBounce: three of five recipients are refused, and one notice names these three.
func TestBounce(t *testing.T) {
	startDNS(t)
	s := startSink(t, sinkAddr, nil)
	for _, name := range []string{"no1", "no2", "no3"} {
		s.refuse[name+"@sink.test"] = &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1},
			Message: "No such user " + name}
	}
	d := start(t, relayConf)
	submit(t, "alice@godwit.test", "no1@sink.test,yes1@sink.test,no2@sink.test,yes2@sink.test,no3@sink.test",
		"Subject: five\nX-Test: five\n\nTo five.\n")
	got := s.wait(t, 1)[0]
	slices.Sort(got.to)
	if !slices.Equal(got.to, []string{"yes1@sink.test", "yes2@sink.test"}) {
		t.Errorf("the sink took it for %v", got.to)
	}
	notice := newMaildir("alice").wait(t, 1, startWait)[0]
	header, body := split(notice)
	d.waitLog("mda delivery", "from=<>", "to=<alice@godwit.test>")
	if got := field(header, "Content-Type"); !strings.HasPrefix(got, "multipart/report") {
		t.Errorf("Content-Type %q", got)
	}
	for i := 1; i <= 3; i++ {
		for _, want := range []string{fmt.Sprintf("no%d@sink.test", i), fmt.Sprintf("No such user no%d", i)} {
			if !strings.Contains(string(body), want) {
				t.Errorf("the notice does not have %q", want)
			}
		}
		if n := strings.Count(string(body), fmt.Sprintf("Final-Recipient: rfc822; no%d@sink.test\n", i)); n != 1 {
			t.Errorf("no%d is reported %d times", i, n)
		}
	}
	if strings.Contains(string(body), "yes1") || strings.Contains(string(body), "yes2") {
		t.Error("the notice names who got the message")
	}
	if !strings.Contains(string(body), "X-Test: five") {
		t.Error("the notice does not have the header of the message")
	}
	if t.Failed() {
		t.Logf("%s", notice)
	}
	d.drained(startWait)
	if more := newMaildir("alice").take(); len(more) > 0 {
		t.Errorf("%d more notices", len(more))
	}
}

// TestDoubleBounce: a notice that cannot be delivered is dropped, and the log says so.
func TestDoubleBounce(t *testing.T) {
	startDNS(t)
	s := startSink(t, sinkAddr, nil)
	s.fail = &gosmtp.SMTPError{Code: 554, EnhancedCode: gosmtp.EnhancedCode{5, 6, 0}, Message: "Never"}
	d := start(t, relayConf)
	submit(t, "sender@sink.test", "rcpt@sink.test", "Subject: never\n\nNever.\n")
	d.waitLog("double bounce", "sender@sink.test")
	d.drained(startWait)
	if got := s.take(); len(got) > 0 {
		t.Errorf("the sink has %d messages", len(got))
	}
}
