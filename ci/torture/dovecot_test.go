package torture

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// dovecotConf is that of an LMTP server alone. Every user exists.
const dovecotConf = `
base_dir = DIR/run
state_dir = DIR/run
protocols = lmtp
listen = 127.0.0.10
ssl = no
log_path = DIR/log
default_login_user = nobody
default_internal_user = nobody
default_internal_group = nogroup
mail_location = maildir:~/Maildir
mail_fsync = always
first_valid_uid = 100
recipient_delimiter = +
userdb {
  driver = static
  args = uid=vmail gid=vmail home=DIR/mail/%n allow_all_users=yes
}
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.10
    port = 24
  }
}
service anvil {
  chroot =
}
service stats {
  chroot =
}
`

// dovecot starts Dovecot, which takes mail for dove.test. It is never killed.
func (w *world) dovecot(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp(filepath.Join(top(), "run"), "dovecot.")
	must(t, err)
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Mkdir(filepath.Join(dir, "mail"), 0o755))
	must(t, os.Chown(filepath.Join(dir, "mail"), 7003, 7003))
	conf := filepath.Join(dir, "conf")
	must(t, os.WriteFile(conf, []byte(strings.ReplaceAll(dovecotConf, "DIR", dir)), 0o644))
	cmd := exec.Command("dovecot", "-F", "-c", conf)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = exec.Command("doveadm", "-c", conf, "stop").Run()
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("end of the log of Dovecot:\n%s", tail(string(text), 20))
		}
	})
	if !within(startWait, func() bool {
		c, err := net.DialTimeout("tcp", "127.0.0.10:24", time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	}) {
		t.Fatal("Dovecot does not come up")
	}
	w.doves = filepath.Join(dir, "mail")
}
