package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUser delivers mail of users of a table as one user of the system: the process is that
// user's, names and directories are those of the recipient.
func TestUser(t *testing.T) {
	out := filepath.Join(home("vmail"), "user-test")
	t.Cleanup(func() { _ = os.RemoveAll(out) })
	if err := os.MkdirAll(home("vmail"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(home("vmail"), 7003, 7003); err != nil {
		t.Fatal(err)
	}
	start(t, `
table users { "info" = "7999:7999:/var/vmail/info" }
listen on 127.0.0.1 port 25
action "all" mda "echo $(id -u) $USER $LOGNAME $HOME %{user.username} %{user.directory} > user-test" userbase <users> user vmail
match from any for domain "here.test" action "all"
`)
	submit(t, "s@test", "info@here.test", "Subject: x\n\nx\n")
	want := "7003 info info " + home("vmail") + " info /var/vmail/info"
	eventually(t, startWait, "the command runs", func() bool {
		text, err := os.ReadFile(out)
		return err == nil && strings.TrimSpace(string(text)) == want
	})
}
