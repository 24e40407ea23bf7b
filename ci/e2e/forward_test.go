package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// forwardHome makes a home directory below directories where nobody else can write.
func forwardHome(t *testing.T, user string, uid int) string {
	t.Helper()
	dir := filepath.Join("/var/lib/smtpd", "homes", user)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, uid, uid); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

const forwardConf = `
table users { "alice" = "7011:7011:/var/lib/smtpd/homes/alice", "bob" = "7012:7012:/var/lib/smtpd/homes/bob" }
listen on 127.0.0.1 port 25
action "local" maildir userbase <users>
match from any for domain "here.test" action "local"
`

// TestForward reads .forward files where root cannot: the parent lacks the right to pass
// over the modes of files, as it does on a file system of another host where root is nobody.
func TestForward(t *testing.T) {
	alice, bob := forwardHome(t, "alice", 7011), forwardHome(t, "bob", 7012)
	d := newDaemon(t, forwardConf)
	d.under = []string{"setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"}
	d.start()
	forward := filepath.Join(alice, ".forward")
	set := func(text string, mode os.FileMode, uid int) {
		t.Helper()
		_ = os.RemoveAll(forward)
		if err := os.WriteFile(forward, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(forward, uid, uid); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(forward, mode); err != nil {
			t.Fatal(err)
		}
	}

	submit(t, "s@test", "alice@here.test", "Subject: none\n\nx\n")
	(&maildir{dir: filepath.Join(alice, "Maildir")}).wait(t, 1, startWait)

	set("bob\n", 0o400, 7011)
	submit(t, "s@test", "alice@here.test", "Subject: forwarded\n\nx\n")
	(&maildir{dir: filepath.Join(bob, "Maildir")}).wait(t, 1, startWait)

	c := dial(t, listen)
	c.ask("250", "EHLO client.test")
	c.ask("250", "MAIL FROM:<s@test>")
	refused := func(code, what string) {
		t.Helper()
		if reply := c.say("RCPT TO:<alice@here.test>"); !strings.HasPrefix(reply, code) {
			t.Errorf("%s: reply %q, want %s", what, reply, code)
		}
	}
	set("bob\n", 0o620, 7011)
	refused("524", "writable by the group")
	set("bob\n", 0o644, 7012)
	refused("524", "owned by another")
	set("bob\n", 0o000, 7011)
	refused("424", "not readable")
	_ = os.Remove(forward)
	if out, err := exec.Command("mkfifo", "-m", "600", forward).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Chown(forward, 7011, 7011); err != nil {
		t.Fatal(err)
	}
	refused("524", "a pipe")
	_ = os.Remove(forward)
	if err := os.Symlink("/etc/passwd", forward); err != nil {
		t.Fatal(err)
	}
	refused("524", "a link")
	_ = os.Remove(forward)
	c.ask("250", "RCPT TO:<alice@here.test>")

	eventually(t, startWait, "the readers end", func() bool { _, some := find("agent"); return !some })
}
