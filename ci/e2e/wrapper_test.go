package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestWrapper runs commands around a delivery that has a command and around one that has
// none, and a pipe with a format specifier.
func TestWrapper(t *testing.T) {
	alice := forwardHome(t, "alice", 7011)
	start(t, `
table users { "alice" = "7011:7011:/var/lib/smtpd/homes/alice" }
mda wrapper mark "sed 's/plain/wrapped for %{rcpt.user}/' | %{mda}"
listen on 127.0.0.1 port 25
action "dir" maildir userbase <users> wrapper mark
action "cmd" mda "cat > command" userbase <users> wrapper mark
action "plain" maildir userbase <users>
match from any for domain "dir.test" action "dir"
match from any for domain "cmd.test" action "cmd"
match from any for domain "pipe.test" action "plain"
`)
	submit(t, "s@test", "alice@dir.test", "Subject: x\n\nplain\n")
	got := (&maildir{dir: filepath.Join(alice, "Maildir")}).wait(t, 1, startWait)[0]
	if !bytes.HasSuffix(got, []byte("\n\nwrapped for alice\n")) || bytes.Count(got, []byte("Delivered-To:")) != 1 {
		t.Errorf("maildir has %q", got)
	}
	submit(t, "s@test", "alice@cmd.test", "Subject: x\n\nplain\n")
	eventually(t, startWait, "the wrapped command runs", func() bool {
		text, err := os.ReadFile(filepath.Join(alice, "command"))
		return err == nil && bytes.HasSuffix(text, []byte("\n\nwrapped for alice\n"))
	})
	forward := write(t, filepath.Join(alice, ".forward"), "\"|cat > pipe-%{rcpt.user[0:1]:uppercase}\"\n")
	if err := os.Chown(forward, 7011, 7011); err != nil {
		t.Fatal(err)
	}
	submit(t, "s@test", "alice@pipe.test", "Subject: x\n\nplain\n")
	eventually(t, startWait, "the pipe runs", func() bool {
		text, err := os.ReadFile(filepath.Join(alice, "pipe-AL"))
		return err == nil && bytes.HasSuffix(text, []byte("\n\nplain\n"))
	})
}
