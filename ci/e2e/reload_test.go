package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/compat/signals"
)

const reloadConf = `
listen on 127.0.0.1 hostname "HOST"
listen on 127.0.0.1 port PORT
smtp limit max-rcpt MAX
action "local" maildir
match from any for domain "DOMAIN" action "local"
`

func reloadText(host, port, most, domain string) string {
	return strings.NewReplacer("HOST", host, "PORT", port, "MAX", most, "DOMAIN", domain).Replace(reloadConf)
}

// reload puts a new configuration in place and sends SIGHUP. It gives the lines that were
// logged since.
func (d *daemon) reload(text, wait string) []string {
	d.t.Helper()
	write(d.t, d.conf, text)
	before := len(d.logged())
	d.signal(signals.Hangup)
	eventually(d.t, startWait, wait, func() bool { return strings.Contains(d.logged()[before:], wait) })
	return strings.Split(strings.TrimSpace(d.logged()[before:]), "\n")
}

// TestReload: new sessions go by the new file, old ones by the file they began with.
func TestReload(t *testing.T) {
	d := start(t, reloadText("old.test", "2501", "1", "old.test"))
	old := dial(t, listen)
	d.reload(reloadText("new.test", "2502", "2", "new.test"), "configuration reloaded")

	c := dial(t, listen)
	if got := c.ask("250", "EHLO client.test"); !strings.Contains(got, "new.test") {
		t.Errorf("a new session: %q", got)
	}
	c.ask("250", "MAIL FROM:<%s>", tester)
	c.ask("550", "RCPT TO:<alice@old.test>")
	c.ask("250", "RCPT TO:<alice@new.test>")
	c.ask("250", "RCPT TO:<bob@new.test>")
	if got := old.ask("250", "EHLO client.test"); !strings.Contains(got, "old.test") {
		t.Errorf("an old session: %q", got)
	}
	old.ask("250", "MAIL FROM:<%s>", tester)
	old.ask("550", "RCPT TO:<alice@new.test>")
	old.ask("250", "RCPT TO:<alice@old.test>")
	old.ask("452", "RCPT TO:<bob@old.test>")
	old.ask("354", "DATA")
	old.ask("250", "Subject: old\r\n\r\nOld.\r\n.")
	newMaildir("alice").wait(t, 1, startWait)

	if conn, err := net.Dial("tcp", "127.0.0.1:2501"); err == nil {
		conn.Close()
		t.Error("a port that is no longer configured is open")
	}
	if !answers("127.0.0.1:2502") {
		t.Error("a new port does not answer")
	}
}

// TestReloadBad: a file that cannot be used changes nothing but one line of the log.
func TestReloadBad(t *testing.T) {
	good := reloadText("old.test", "2501", "1", "old.test")
	d := start(t, good)
	occupied, err := net.Listen("tcp", "127.0.0.1:2503")
	if err != nil {
		t.Fatal(err)
	}
	defer occupied.Close()
	for name, bad := range map[string]string{
		"syntax":        "listen on 127.0.0.1 port\n",
		"missing table": good + `table people file:/nonexistent/people` + "\n" + `match from src <people> for any reject` + "\n",
		"port in use":   reloadText("new.test", "2503", "1", "new.test"),
		"missing key":   good + `pki x cert "/nonexistent/cert"` + "\n" + `pki x key "/nonexistent/key"` + "\n",
		"empty":         "",
	} {
		t.Run(name, func(t *testing.T) {
			defer write(t, d.conf, good)
			lines := d.reload(bad, "not reloaded")
			var ours []string
			for _, line := range lines {
				if !strings.Contains(line, " smtp ") {
					ours = append(ours, line)
				}
			}
			if len(ours) != 1 {
				t.Errorf("%d lines: %q", len(ours), ours)
			}
			t.Log(ours[0])
			c := dial(t, listen)
			if got := c.ask("250", "EHLO client.test"); !strings.Contains(got, "old.test") {
				t.Errorf("the session: %q", got)
			}
			c.ask("250", "MAIL FROM:<%s>", tester)
			c.ask("250", "RCPT TO:<alice@old.test>")
			c.ask("221", "QUIT")
		})
	}
	write(t, d.conf, "nonsense\n")
	if out, err := d.ctl("reload"); err == nil || !strings.Contains(out, "smtpd.conf:1") {
		t.Errorf("smtpctl reload: %v: %s", err, out)
	}
	write(t, d.conf, good)
	if out, err := d.ctl("reload"); err != nil {
		t.Errorf("smtpctl reload: %v: %s", err, out)
	}
}

// TestReloadCertificate: a renewed certificate is shown after a reload.
func TestReloadCertificate(t *testing.T) {
	ca := newAuthority(t)
	d := startSecure(t, ca)
	serial := func() string {
		conn, err := tls.Dial("tcp", "127.0.0.1:465", ca.client("mx.godwit.test"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return fmt.Sprint(conn.ConnectionState().PeerCertificates[0].SerialNumber)
	}
	text, err := os.ReadFile(d.conf)
	if err != nil {
		t.Fatal(err)
	}
	old := dial(t, listen)
	old.ask("250", "EHLO client.test")
	before := serial()
	ca.issue(ca.dir, "mx.godwit.test")
	d.reload(string(text), "configuration reloaded")
	if after := serial(); after == before {
		t.Error("the old certificate is shown")
	}
	old.ask("220", "STARTTLS")
	secured := tls.Client(old.conn, ca.client("mx.godwit.test"))
	if err := secured.Handshake(); err != nil {
		t.Errorf("a session of before the reload: %v", err)
	}
	write(t, filepath.Join(ca.dir, "mx.godwit.test.pem"), "not a certificate\n")
	lines := d.reload(string(text), "not reloaded")
	t.Log(lines)
	if after := serial(); after == before {
		t.Error("the certificate is not that of the last good reload")
	}
}

// TestDrain: SIGTERM lets a message in transit finish and sends everybody else away.
func TestDrain(t *testing.T) {
	d := newDaemon(t, localConf)
	d.run("-P", "mda")
	d.ready()
	idle, busy := dial(t, listen), dial(t, listen)
	busy.ask("250", "EHLO client.test")
	busy.ask("250", "MAIL FROM:<%s>", tester)
	busy.ask("250", "RCPT TO:<alice@godwit.test>")
	busy.ask("354", "DATA")
	busy.send("Subject: drain\r\n\r\n" + strings.Repeat("A line.\r\n", 20000))
	d.signal(signals.Terminate)
	idle.expect("421")
	if conn, err := net.Dial("tcp", listen); err == nil {
		conn.Close()
		t.Error("the port is open while the daemon stops")
	}
	busy.ask("250", ".")
	d.ended()
	if files, _ := os.ReadDir(filepath.Join(d.spool, "journal")); len(files) > 0 {
		t.Errorf("journal has %v", files)
	}
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	messages, _ := filepath.Glob(filepath.Join(d.spool, "queue", "*", "*", "message"))
	if len(messages) != 1 {
		t.Errorf("messages in the queue: %v", messages)
	}
	d.start()
	newMaildir("alice").wait(t, 1, startWait)
}
