package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// eximAddr is where Exim listens.
const eximAddr = "127.0.0.5:25"

// exim is Debian's Exim. It takes mail for exim.test into a maildir and gives everything
// else to Godwit.
type exim struct {
	box *maildir
	log string
}

const eximConf = `
exim_path = %[2]s
spool_directory = %[1]s/spool
log_file_path = %[1]s/%%slog
log_selector = +all_parents
pid_file_path = %[1]s/pid
primary_hostname = mx.exim.test
local_interfaces = 127.0.0.5
daemon_smtp_ports = 25
host_lookup =
rfc1413_query_timeout = 0s
keep_environment =
smtp_accept_max = 0
smtp_accept_queue_per_connection = 0
smtp_enforce_sync = false
message_size_limit = 0
%[3]s
bounce_return_message = false
acl_smtp_rcpt = accept
acl_smtp_data = accept
allow_domain_literals
accept_8bitmime
begin routers
box:
  driver = accept
  domains = exim.test : *.dane.test : *.plain.test
  transport = box
on:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = on
begin transports
box:
  driver = appendfile
  directory = %[1]s/box
  maildir_format
  user = vmail
  group = vmail
on:
  driver = smtp
  interface = 127.0.0.5
  message_linelength_limit = 0
begin retry
* * F,1h,1s
`

// startExim starts it with more settings, and ends it with the test.
func startExim(t *testing.T, more ...string) *exim {
	t.Helper()
	path := filepath.Join(top(), "exim/usr/sbin/exim4")
	if _, err := os.Stat(path); err != nil {
		lacking(t, "run.sh could not get Exim: ", err)
	}
	dir := place(t)
	e := &exim{box: &maildir{dir: filepath.Join(dir, "box")}, log: filepath.Join(dir, "mainlog")}
	for _, sub := range []string{"box", "box/cur", "box/new", "box/tmp", "spool"} {
		user := 7003
		if sub == "spool" {
			user = 7004
		}
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(dir, sub), user, user); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, 7004, 7004); err != nil { // it makes its logs here
		t.Fatal(err)
	}
	if err := os.MkdirAll("/etc/exim4", 0o755); err != nil { // this /etc is ours
		t.Fatal(err)
	}
	write(t, "/etc/exim4/exim4.conf", fmt.Sprintf(eximConf, dir, path, strings.Join(more, "\n")))
	cmd := exec.Command(path, "-bdf", "-q1s")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(e.log)
			t.Logf("end of the log of Exim:\n%s", tail(string(text), 30))
			text, _ = os.ReadFile(filepath.Join(dir, "paniclog"))
			t.Logf("%s", text)
		}
	})
	eventually(t, startWait, "Exim answers", func() bool { return answers(eximAddr) })
	return e
}
