package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// postfixAddr is where Postfix listens.
const postfixAddr = "127.0.0.2:25"

// postfix is the Postfix of Debian with the configuration of a test. It takes mail for
// postfix.test and host.test into one maildir and gives everything else to Godwit.
type postfix struct {
	box *maildir
	log string
}

const postfixMain = `compatibility_level = 3.6
myhostname = mx.postfix.test
mydestination =
inet_interfaces = 127.0.0.4
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:25
smtp_bind_address = 127.0.0.2
maillog_file = %[1]s/maillog
maillog_file_prefixes = %[1]s
virtual_mailbox_domains = postfix.test, host.test
virtual_mailbox_base = %[1]s
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:7003
virtual_gid_maps = static:7003
alias_maps =
message_size_limit = 0
mailbox_size_limit = 0
virtual_mailbox_limit = 0
smtp_line_length_limit = 0
smtp_pix_workarounds =
smtpd_client_connection_count_limit = 0
disable_vrfy_command = yes
`

// postfixMaster is the usual table of services, with none in a chroot.
const postfixMaster = `127.0.0.2:25 inet n - n - - smtpd
pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`

// startPostfix starts it with more settings, and ends it with the test.
func startPostfix(t *testing.T, more ...string) *postfix {
	t.Helper()
	dir := place(t)
	p := &postfix{box: &maildir{dir: filepath.Join(dir, "box")}, log: filepath.Join(dir, "maillog")}
	for _, sub := range []string{"", "cur", "new", "tmp"} {
		path := filepath.Join(p.box.dir, sub)
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, 7003, 7003); err != nil {
			t.Fatal(err)
		}
	}
	write(t, "/etc/postfix/main.cf", fmt.Sprintf(postfixMain, dir)+strings.Join(more, "\n")+"\n")
	write(t, "/etc/postfix/master.cf", postfixMaster)
	t.Cleanup(func() {
		_ = exec.Command("postfix", "stop").Run()
		if t.Failed() {
			text, _ := os.ReadFile(p.log)
			t.Logf("end of the log of Postfix:\n%s", tail(string(text), 30))
		}
	})
	command(t, "postfix", "start")
	eventually(t, startWait, "Postfix answers", func() bool { return answers(postfixAddr) })
	return p
}
