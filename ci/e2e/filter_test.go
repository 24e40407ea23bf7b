package e2e

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// filtered starts a daemon whose listener has one filter with these arguments.
func filtered(t *testing.T, args ...string) *daemon {
	t.Helper()
	d := newDaemon(t, `filter f proc-exec "filter-test log=DIR/heard `+strings.Join(args, " ")+"\"\n"+
		"listen on 127.0.0.1 filter f\naction a maildir\nmatch from any for domain { godwit.test, example.org } action a\n")
	write(t, filepath.Join(d.dir, "heard"), "")
	if err := os.Chmod(filepath.Join(d.dir, "heard"), 0o666); err != nil {
		t.Fatal(err)
	}
	d.start()
	eventually(t, startWait, "the end of the session that start makes", func() bool { return strings.Contains(d.heard(), "link-disconnect") })
	return d
}

// heard gives the lines that the filter got, without what differs from time to time.
func (d *daemon) heard() string {
	b, _ := os.ReadFile(filepath.Join(d.dir, "heard"))
	text := regexp.MustCompile(`\|\d+\.\d{6}\|`).ReplaceAllString(string(b), "|TIME|")
	text = regexp.MustCompile(`\|[0-9a-f]{16}\b`).ReplaceAllString(text, "|ID")
	return regexp.MustCompile(`\|[0-9a-f]{8}\b`).ReplaceAllString(text, "|MSG")
}

// TestFilterHears: a filter process hears what OpenSMTPD would tell it, in the same order.
func TestFilterHears(t *testing.T) {
	d := filtered(t, "'data-line=X-Filter: was here'")
	if got := strings.Split(d.heard(), "report|")[0]; got != handshake {
		t.Errorf("began with %s", got)
	}
	if err := os.Truncate(filepath.Join(d.dir, "heard"), 0); err != nil {
		t.Fatal(err)
	}
	c := dial(t, listen)
	c.ask("250", "EHLO client.test")
	c.ask("250", "MAIL FROM:<%s> SIZE=10", tester)
	c.ask("550", "RCPT TO:<joe@elsewhere.test>")
	c.ask("250", "RCPT TO:<alice@godwit.test>")
	c.ask("354", "DATA")
	c.ask("250", "Subject: x\r\n\r\n..dot\r\n.")
	c.ask("221", "QUIT")
	var want strings.Builder
	for _, l := range strings.Split(strings.TrimSpace(hearing), "\n") {
		l = strings.Replace(strings.Replace(l, "report|", "report|0.7|TIME|smtp-in|", 1), "filter|", "filter|0.7|TIME|smtp-in|", 1)
		want.WriteString(l + "\n")
	}
	eventually(t, startWait, "the end of the session", func() bool { return strings.Contains(d.heard(), "link-disconnect") })
	got := regexp.MustCompile(`(127.0.0.1:)\d{4,5}(\|)`).ReplaceAllString(d.heard(), "${1}PORT$2")
	got = regexp.MustCompile(`\t\w\w\w, .*`).ReplaceAllString(got, "DATE")
	got = regexp.MustCompile(`(Date: |Message-ID: )[^|\n]*`).ReplaceAllString(got, "${1}X")
	got = regexp.MustCompile(`( id |2\.0\.0 )[0-9a-f]{8}[^|\n]*`).ReplaceAllString(got, "${1}X")
	if got != want.String() {
		t.Errorf("heard\n%s", difference([]byte(want.String()), []byte(got)))
	}
	d.drained(startWait)
	if text := bytes.Join(newMaildir("alice").take(), nil); !bytes.Contains(text, []byte("X-Filter: was here\nReceived: ")) || !bytes.HasSuffix(text, []byte("\n\n.dot\n")) {
		t.Errorf("alice has %q", text)
	}
	if m := d.line("f: argv="); !strings.Contains(m, "uid=7001 gid=7001") {
		t.Error(m)
	}
}

const handshake = `config|smtpd-version|7.8.0
config|protocol|0.7
config|smtp-session-timeout|300
config|subsystem|smtp-in
config|decide|smtp-in
config|admd|mx.godwit.test
config|ready
`

const hearing = `
report|link-connect|ID|localhost|pass|127.0.0.1:PORT|127.0.0.1:25
filter|connect|ID|ID|localhost|127.0.0.1
report|filter-response|ID|connected|proceed
report|protocol-server|ID|220 mx.godwit.test ESMTP Godwit
report|link-greeting|ID|mx.godwit.test
report|protocol-client|ID|EHLO client.test
filter|ehlo|ID|ID|client.test
report|filter-response|ID|ehlo|proceed
report|link-identify|ID|EHLO|client.test
report|protocol-server|ID|250-mx.godwit.test Hello client.test [127.0.0.1], pleased to meet you
report|protocol-server|ID|250-8BITMIME
report|protocol-server|ID|250-CHUNKING
report|protocol-server|ID|250-ENHANCEDSTATUSCODES
report|protocol-server|ID|250-LIMITS MAILMAX=100 RCPTMAX=1000
report|protocol-server|ID|250-PIPELINING
report|protocol-server|ID|250-SIZE 36700160
report|protocol-server|ID|250-DSN
report|protocol-server|ID|250-SMTPUTF8
report|protocol-server|ID|250 HELP
report|protocol-client|ID|MAIL FROM:<tester@client.test> SIZE=10
filter|mail-from|ID|ID|tester@client.test
report|filter-response|ID|mail-from|proceed
report|protocol-server|ID|250 2.0.0 Ok
report|tx-begin|ID|MSG
report|tx-mail|ID|MSG|ok|tester@client.test
report|protocol-client|ID|RCPT TO:<joe@elsewhere.test>
filter|rcpt-to|ID|ID|joe@elsewhere.test
report|filter-response|ID|rcpt-to|proceed
report|protocol-server|ID|550 5.7.1 Invalid recipient: <joe@elsewhere.test>
report|tx-rcpt|ID|MSG|permfail|joe@elsewhere.test
report|protocol-client|ID|RCPT TO:<alice@godwit.test>
filter|rcpt-to|ID|ID|alice@godwit.test
report|filter-response|ID|rcpt-to|proceed
report|protocol-server|ID|250 2.1.5 Destination address valid: Recipient ok
report|tx-rcpt|ID|MSG|ok|alice@godwit.test
report|protocol-client|ID|DATA
filter|data|ID|ID|
report|filter-response|ID|data|proceed
report|protocol-server|ID|354 Enter mail, end with "." on a line by itself
report|tx-data|ID|MSG|ok
filter|data-line|ID|ID|Received: from client.test (localhost [127.0.0.1])
filter|data-line|ID|ID|	by mx.godwit.test (Godwit) with ESMTP id X
filter|data-line|ID|ID|	for <alice@godwit.test>;
filter|data-line|ID|ID|DATE
filter|data-line|ID|ID|Subject: x
filter|data-line|ID|ID|Date: X
filter|data-line|ID|ID|Message-ID: X
filter|data-line|ID|ID|
filter|data-line|ID|ID|..dot
filter|data-line|ID|ID|.
report|protocol-client|ID|.
filter|commit|ID|ID|
report|filter-response|ID|commit|proceed
report|tx-envelope|ID|MSG|ID
report|protocol-server|ID|250 2.0.0 X
report|tx-commit|ID|MSG|293
report|tx-reset|ID|MSG
report|protocol-client|ID|QUIT
filter|quit|ID|ID|
report|filter-response|ID|quit|proceed
report|protocol-server|ID|221 2.0.0 Bye
report|link-disconnect|ID
`

// TestFilterOrder: a filter is told and asked the same as by OpenSMTPD, in the same order.
func TestFilterOrder(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(os.Getenv("GODWIT_E2E_SOURCE"), "ci/e2e/testdata/filter-order.txt"))
	if err != nil {
		t.Fatal(err)
	}
	d := filtered(t)
	left := regexp.MustCompile(`protocol-server|tx-envelope|data-line|\|help`)
	for _, dialog := range strings.Split(string(text), "\n# ")[2:] {
		name, lines, _ := strings.Cut(dialog, "\n")
		if err := os.Truncate(filepath.Join(d.dir, "heard"), 0); err != nil {
			t.Fatal(err)
		}
		want := play(t, lines)
		eventually(t, startWait, "the end of "+name, func() bool { return strings.Contains(d.heard(), "link-disconnect") })
		var got []string
		for l := range strings.Lines(d.heard()) {
			if f := strings.Split(l, "|"); len(f) > 4 && !left.MatchString(l) {
				got = append(got, l[:1]+" "+f[4])
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: heard\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	d.drained(startWait)
}

// play says what a client said and gives what followed for the filter.
func play(t *testing.T, lines string) (want []string) {
	t.Helper()
	c := dial(t, listen)
	for l := range strings.Lines(lines) {
		l = strings.TrimSuffix(l, "\n")
		said, client := strings.CutPrefix(l, "C ")
		if !client && l != "" {
			want = append(want, l)
		}
		if !client {
			continue
		}
		said, err := strconv.Unquote(`"` + said + `"`)
		if err != nil {
			t.Fatal(err)
		}
		c.send(said)
		if strings.HasSuffix(said, "\n.\r\n") || strings.Count(said, "\n") == 1 {
			c.reply()
		}
	}
	_ = c.conn.(*net.TCPConn).CloseWrite()
	return want
}

// TestFilterDecides: what a filter decides is what the client and the mailbox see.
func TestFilterDecides(t *testing.T) {
	for _, c := range []struct{ arg, command, want string }{
		{"'mail-from=reject|550 5.7.1 no | pipes'", "MAIL", "550 5.7.1 no | pipes"},
		{"'mail-from=disconnect|550 bye'", "MAIL", "550 bye"},
		{"'mail-from=reject|421 4.7.0 bye'", "MAIL", "421 4.7.0 bye"},
		{"'mail-from=reject|go away'", "MAIL", "421 "},
		{"'rcpt-to=reject|451 4.7.1 later'", "RCPT", "451 4.7.1 later"},
		{"'data=reject|554 no'", "DATA", "554 no"},
		{"'commit=reject|554 5.7.1 spam'", ".", "554 5.7.1 spam"},
		{"'commit=disconnect|451 4.7.1 spam'", ".", "451 4.7.1 spam"},
		{"rcpt-to=die", "RCPT", "421 4.3.0"},
		{"data-line=die", ".", "421 4.3.0"},
		{"commit=die", ".", "421 4.3.0"},
		{"mail-from=garbage", "", ""},
		{"'mail-from=rewrite|other@client.test'", "", ""},
		{"'rcpt-to=rewrite|<bob@godwit.test>'", "", ""},
		{"mail-from=junk", "", ""},
		{"connect=junk", "", ""},
		{"'mail-from=report|seen'", "", ""},
	} {
		t.Run(c.arg, func(t *testing.T) {
			d := filtered(t, c.arg)
			if verb, got := tryMail(t); verb != c.command || !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: %q", verb, got)
			}
			d.drained(startWait)
			if c.command == "" {
				d.delivered(c.arg)
			}
		})
	}
}

// tryMail sends a message to alice and gives the first command that was refused.
func tryMail(t *testing.T) (verb, reply string) {
	t.Helper()
	c := dial(t, listen)
	defer c.conn.Close()
	for _, line := range []string{"EHLO client.test", "MAIL FROM:<" + tester + ">", "RCPT TO:<alice@godwit.test>", "DATA", "Subject: x\r\n\r\n.. hello\r\n."} {
		r := c.say("%s", line)
		if r[0] > '3' {
			verb, _, _ := strings.Cut(line[strings.LastIndexByte(line, '\n')+1:], " ")
			return verb, r
		}
	}
	return "", ""
}

// delivered checks what a decision has made of the message.
func (d *daemon) delivered(arg string) {
	d.t.Helper()
	to, has := "alice", "\n\n. hello\n"
	switch {
	case strings.Contains(arg, "<bob@"):
		to = "bob"
	case strings.Contains(arg, "junk"):
		has = "X-Spam: Yes\n"
	case strings.Contains(arg, "other@"):
		has = "Return-Path: <other@client.test>"
	}
	if text := string(bytes.Join(newMaildir(to).take(), nil)); !strings.Contains(text, has) {
		d.t.Errorf("%s has %q", to, text)
	}
}

// TestFilterStarts: smtpd does not start with a filter that does not.
func TestFilterStarts(t *testing.T) {
	d := newDaemon(t, "filter f proc-exec \"/nonexistent/filter\"\nlisten on 127.0.0.1 filter f\naction a maildir\nmatch for any action a\n")
	if out := d.refuses(); !strings.Contains(out, "filter f: the process closed its output") {
		t.Error(out)
	}
}

// TestFilterKilled: sessions of a filter that was killed get a 421, and those after it a filter that
// was started again.
func TestFilterKilled(t *testing.T) {
	d := filtered(t, "noop=die")
	c := dial(t, listen)
	c.ask("250", "EHLO client.test")
	if r := c.say("NOOP"); !strings.HasPrefix(r, "421 4.3.0") {
		t.Error(r)
	}
	d.waitLog("info: filter f: the process was started again")
	if verb, got := tryMail(t); verb != "" {
		t.Errorf("%s: %s", verb, got)
	}
}
