package e2e

import (
	"bytes"
	"strings"
	"testing"
)

// TestBuiltinFilters: what the lines of smtpd.conf decide is what the client and the mailbox see. The
// tables are asked of another process.
func TestBuiltinFilters(t *testing.T) {
	const a = "filter f "
	for _, c := range []struct{ lines, verb, reply, alice, bob string }{
		{a + `phase ehlo match helo { "*.test" } reject "550 5.7.1 no | pipes"`, "EHLO", "550 5.7.1 no | pipes", "", ""},
		{a + `phase ehlo match ! helo regex { "^client[.]test$" } reject "550 no"`, "", "", "hello", ""},
		{a + `phase mail-from match ! auth disconnect "530 5.7.0 log in"`, "MAIL", "530 5.7.0 log in", "", ""},
		{a + `phase mail-from match mail-from { "@client.test" } reject "421 4.7.0 later"`, "MAIL", "421 4.7.0 later", "", ""},
		{a + `phase rcpt-to match rcpt-to regex { "^alice@" } reject "450 4.7.1 later"`, "RCPT", "450 4.7.1 later", "", ""},
		{a + `phase rcpt-to match rcpt-to { "alice@godwit.test" } rewrite "<bob@godwit.test>"`, "", "", "", "hello"},
		{a + `phase data match rdns { localhost } reject "554 no"`, "DATA", "554 no", "", ""},
		{a + `phase data match src { 127.0.0.0/8 } junk`, "", "", "X-Spam: ", ""},
		{a + `phase connect match fcrdns junk`, "", "", "X-Spam: ", ""},
		{a + `phase commit match fcrdns reject "554 5.7.1 spam"`, ".", "554 5.7.1 spam", "", ""},
		{a + `phase commit match ! fcrdns reject "554 5.7.1 spam"`, "", "", "hello", ""},
		{a + `phase auth match src { 127.0.0.0/8 } reject "550 no"`, "", "", "hello", ""},
		{"filter b phase connect match src { 127.0.0.0/8 } bypass\nfilter r phase commit match rdns reject \"550 no\"\nfilter f chain { b, r }", "", "", "hello", ""},
		{"filter b phase rcpt-to match src { 127.0.0.0/8 } bypass\nfilter r phase commit match rdns reject \"550 no\"\nfilter f chain { b, r }", ".", "550 no", "", ""},
		{"filter b phase data match rdns junk\nfilter r phase data match rdns reject \"550 no\"\nfilter f chain { b, r }", "DATA", "550 no", "", ""},
	} {
		d := start(t, c.lines+"\nlisten on 127.0.0.1 filter f\naction a maildir\nmatch from any for domain godwit.test action a\n")
		if verb, got := tryMail(t); verb != c.verb || !strings.HasPrefix(got, c.reply) {
			t.Errorf("%s\n%s: %q", c.lines, verb, got)
		}
		d.drained(startWait)
		for user, want := range map[string]string{"alice": c.alice, "bob": c.bob} {
			if text := bytes.Join(newMaildir(user).take(), nil); (len(text) > 0) != (want != "") || !bytes.Contains(text, []byte(want)) {
				t.Errorf("%s\n%s has %q", c.lines, user, text)
			}
		}
		d.stop()
	}
}

// TestBuiltinTable: smtpd does not start with a table that a filter cannot ask, and a filter follows a table that
// changes.
func TestBuiltinTable(t *testing.T) {
	const rest = "listen on 127.0.0.1 filter f\naction a maildir\nmatch from any for domain godwit.test action a\n"
	d := newDaemon(t, "filter f phase helo match helo regex { \"[\" } junk\n"+rest)
	if out := d.refuses(); !strings.Contains(out, "missing closing ]") {
		t.Error(out)
	}
	d = newDaemon(t, "table bad file:DIR/bad\nfilter f phase mail-from match mail-from <bad> reject \"550 5.7.1 listed\"\n"+rest)
	write(t, d.dir+"/bad", "@other.test\n")
	d.start()
	if verb, got := tryMail(t); verb != "" {
		t.Errorf("%s: %s", verb, got)
	}
	write(t, d.dir+"/bad", "@client.test\n")
	if out, err := d.ctl("update", "table", "bad"); err != nil {
		t.Fatal(out, err)
	}
	if verb, got := tryMail(t); verb != "MAIL" || got != "550 5.7.1 listed\r\n" {
		t.Errorf("%s: %q", verb, got)
	}
}
