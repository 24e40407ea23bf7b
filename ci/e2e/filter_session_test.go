package e2e

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// filterPrograms counts the running filters.
func filterPrograms() int { return programsNamed(filterProgramName) }

// TestFilterReload: a configuration that is read again has its own processes, and those of the one
// before it live as long as its sessions. None is left in the end.
func TestFilterReload(t *testing.T) {
	d := filtered(t)
	text, _ := os.ReadFile(d.conf)
	old := dial(t, listen)
	old.ask("250", "EHLO old.test")
	again := strings.Replace(string(text), "log=", "'ehlo=reject|550 new one' log=", 1)
	d.reload(again, "configuration reloaded")
	if n := filterPrograms(); n != 2 {
		t.Errorf("%d filters", n)
	}
	old.ask("250", "EHLO old.test")
	c := dial(t, listen)
	c.ask("550", "EHLO new.test")
	old.ask("221", "QUIT")
	eventually(t, startWait, "the end of the old filter", func() bool { return filterPrograms() == 1 })

	d.reload(strings.ReplaceAll(again, "filter-test", "filter-missing"), "configuration not reloaded: ")
	c.ask("550", "EHLO new.test")
	c = dial(t, listen)
	c.ask("550", "EHLO new.test")
	d.stop()
	if n := filterPrograms(); n != 0 {
		t.Errorf("%d filters are left", n)
	}
}

// TestFilterSession: filters have their say in sessions with TLS, AUTH, commands sent together and
// messages in chunks, and hear no password.
func TestFilterSession(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(ca.dir, "mx.godwit.test")
	d := newDaemon(t, fmt.Sprintf("pki mx.godwit.test cert %q\npki mx.godwit.test key %q\n", cert, key)+
		"filter a proc-exec \"filter-test log=DIR/heard data-line='X-First: a'\"\n"+
		"filter b proc-exec \"filter-test data-line='X-Second: b'\"\n"+
		"table users { ann = \""+strings.Fields(encrypt(t, "ann", "annpw"))[1]+"\" }\n"+
		"listen on 127.0.0.1 tls pki mx.godwit.test auth-optional <users> filter { a, b }\n"+
		"action a maildir\nmatch from any for domain godwit.test action a\n")
	write(t, filepath.Join(d.dir, "heard"), "")
	if err := os.Chmod(filepath.Join(d.dir, "heard"), 0o666); err != nil {
		t.Fatal(err)
	}
	d.start()
	c := dial(t, listen)
	c.ask("250", "EHLO client.test")
	c.startTLS(ca.client("mx.godwit.test"))
	c.ask("250", "EHLO client.test")
	plain := base64.StdEncoding.EncodeToString([]byte("\x00ann\x00wrong"))
	c.ask("535", "AUTH PLAIN %s", plain)
	c.ask("334", "AUTH LOGIN")
	c.ask("334", "%s", base64.StdEncoding.EncodeToString([]byte("ann")))
	c.ask("235", "%s", base64.StdEncoding.EncodeToString([]byte("annpw")))
	c.send("MAIL FROM:<ann@client.test>\r\nRCPT TO:<alice@godwit.test>\r\nDATA\r\n")
	for _, code := range []string{"250", "250", "354"} {
		c.expect(code)
	}
	c.send("Subject: first\r\n\r\n.. one\r\n.\r\nMAIL FROM:<ann@client.test>\r\nRCPT TO:<alice@godwit.test>\r\nBDAT 20\r\nSubject: second\r\n\r\n.NOOP\r\nBDAT 6 LAST\r\n two\r\nQUIT\r\n")
	for _, code := range []string{"250", "250", "250", "250", "250", "250", "221"} {
		c.expect(code)
	}
	d.drained(startWait)
	for _, m := range newMaildir("alice").wait(t, 2, startWait) {
		text := string(m)
		if !strings.Contains(text, "X-Second: b\nX-First: a\nReceived: ") || !strings.HasSuffix(text, "\n\n. one\n") && !strings.HasSuffix(text, "\n\n. two\n") {
			t.Errorf("%q", text)
		}
	}
	heard := d.heard()
	for _, want := range []string{"|link-tls|ID|TLSv1.3:", "|filter-response|ID|tls|proceed", "|auth|ID|ID|PLAIN\n", "|protocol-client|ID|AUTH PLAIN ********\n",
		"|link-auth|ID|fail|ann\n", "|link-auth|ID|pass|ann\n", "|noop|ID|ID|\n", "|tx-commit|ID|MSG|"} {
		if !strings.Contains(heard, want) {
			t.Errorf("the filter did not hear %q", want)
		}
	}
	for _, secret := range []string{plain, "annpw", base64.StdEncoding.EncodeToString([]byte("annpw"))} {
		if strings.Contains(heard, secret) {
			t.Errorf("the filter heard %q", secret)
		}
	}
}

// TestFilterSocket: what local programs hand in goes through the filter of the socket.
func TestFilterSocket(t *testing.T) {
	d := newDaemon(t, "filter f proc-exec \"filter-test log=DIR/heard 'data-line=X-Filter: local'\"\n"+
		"listen on socket filter f\nlisten on 127.0.0.1\naction a maildir\nmatch for domain godwit.test action a\n")
	write(t, filepath.Join(d.dir, "heard"), "")
	if err := os.Chmod(filepath.Join(d.dir, "heard"), 0o666); err != nil {
		t.Fatal(err)
	}
	d.start()
	if out, err := d.ctl("trace", "filters"); err != nil {
		t.Fatal(err, out)
	}
	t.Setenv("SMTPD_SOCKET", d.sock)
	feed(t, []byte("Subject: local\n\nhello\n"), program("sendmail"), "-i", "-f", "alice@godwit.test", "bob@godwit.test")
	d.drained(startWait)
	if m := string(newMaildir("bob").wait(t, 1, startWait)[0]); !strings.Contains(m, "X-Filter: local\n") {
		t.Errorf("%q", m)
	}
	if want := "|link-connect|ID|mx.godwit.test|pass|unix:" + d.sock + "|unix:" + d.sock + "\n"; !strings.Contains(d.heard(), want) {
		t.Errorf("%q is not in %q", want, d.heard())
	}
	d.waitLog("filters: ", "smtp-in link-connect")
	d.waitLog("filters: ", "f mail-from: proceed")
}

// TestFilterUser: a filter runs as the user that it is given.
func TestFilterUser(t *testing.T) {
	d := start(t, "proc p \"filter-test\" user alice group project\nfilter f proc p\nlisten on 127.0.0.1 filter f\naction a maildir\nmatch for any action a\n")
	if line := d.line("p: argv="); !strings.Contains(line, `argv=["`) || !strings.Contains(line, "uid=7011 gid=7100 groups=[7100]") || !strings.Contains(line, "env=[\"PATH=") {
		t.Error(line)
	}
	d.stop()
	d = newDaemon(t, "proc p \"filter-test\" user root\nfilter f proc p\nlisten on 127.0.0.1 filter f\naction a maildir\nmatch for any action a\n")
	if out := d.refuses(); !strings.Contains(out, "filter p: user root: filters do not run as root") {
		t.Error(out)
	}
}

// TestFilterLarge: a large message goes through filters without being kept in memory, even when one of
// them gives it back after its end only.
func TestFilterLarge(t *testing.T) {
	d := newDaemon(t, "filter a proc-exec \"filter-test log=/dev/null late=yes\"\nfilter b proc-exec \"filter-test log=/dev/null\"\n"+
		"listen on 127.0.0.1 filter { a, b }\naction a maildir\nmatch from any for domain godwit.test action a\n")
	d.start()
	body := strings.Repeat(strings.Repeat("0123456789", 7)+"\n", 450000) // 32 MB
	submit(t, tester, "alice@godwit.test", "Subject: large\n\n"+body)
	d.drained(startWait)
	if m := newMaildir("alice").wait(t, 1, startWait)[0]; !bytes.HasSuffix(m, []byte("\n\n"+body)) {
		t.Errorf("%d octets came", len(m))
	}
	p, _ := find("dispatcher")
	most := peakMemory(t, p.pid)
	if most > 60000 {
		t.Errorf("the dispatcher has had %d kB in memory", most)
	}
	t.Logf("the dispatcher has had %d kB in memory", most)
}

// TestFilterHangs: a filter that does not answer holds up the session that waits for it and nobody else. That the
// wait ends is tested in core/filter.
func TestFilterHangs(t *testing.T) {
	d := filtered(t, "noop=hang")
	c := dial(t, listen)
	c.ask("250", "EHLO client.test")
	c.send("NOOP\r\n")
	for range 3 {
		if verb, got := tryMail(t); verb != "" {
			t.Errorf("%s: %s", verb, got)
		}
	}
	c.conn.Close()
	d.drained(startWait)
}
