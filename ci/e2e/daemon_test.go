package e2e

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/compat/signals"
)

// listen is where the daemon of a test listens, unless the test says something else.
const listen = "127.0.0.1:25"

// startWait is how long the daemon may take to come up or go down.
const startWait = 30 * time.Second

// daemon is the server under test.
type daemon struct {
	t      *testing.T
	dir    string
	conf   string // path of the configuration
	spool  string
	sock   string
	log    string   // path of what it writes to standard error
	under  []string // a command and arguments under which it is started
	args   []string // further ones of its own
	addr   string   // answers with a banner when it is up; "" for none
	cmd    *exec.Cmd
	exited chan struct{} // closed when the parent has ended
}

// newDaemon prepares a daemon with a configuration. In it, DIR stands for the directory of
// the test.
func newDaemon(t *testing.T, conf string) *daemon {
	t.Helper()
	dir := place(t)
	d := &daemon{t: t, dir: dir, spool: filepath.Join(dir, "spool"), sock: filepath.Join(dir, "sock"),
		log: filepath.Join(dir, "log"), addr: listen}
	d.conf = write(t, filepath.Join(dir, "smtpd.conf"), strings.ReplaceAll(conf, "DIR", dir))
	for _, user := range []string{"alice", "bob", "carol"} { // what an earlier test did not wait for
		newMaildir(user).take()
	}
	return d
}

// start starts the daemon and waits until it takes mail.
func start(t *testing.T, conf string) *daemon {
	t.Helper()
	d := newDaemon(t, conf)
	d.start()
	return d
}

func (d *daemon) start() {
	d.t.Helper()
	d.run()
	d.ready()
}

// run starts the daemon without waiting.
func (d *daemon) run(args ...string) {
	d.t.Helper()
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		d.t.Fatal(err)
	}
	defer log.Close()
	// The parent leads a process group of its own, so that a test can kill that.
	words := append(slices.Clone(d.under), program("smtpd"), "-d", "-f", d.conf, "-S", d.spool, "-s", d.sock)
	d.cmd = exec.Command("setsid", append(append(words, d.args...), args...)...)
	d.cmd.Stderr = log
	d.cmd.ExtraFiles = []*os.File{log, log} // a careless caller's, which nobody may keep
	d.cmd.Dir = "/"
	d.cmd.Env = append(os.Environ(), "GODWIT_E2E_SECRET=1")
	first := d.exited == nil
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	exited, cmd := make(chan struct{}), d.cmd
	go func() { _ = cmd.Wait(); close(exited) }()
	d.exited = exited
	if first {
		d.t.Cleanup(d.cleanup)
	}
}

// ready waits for the banner.
func (d *daemon) ready() {
	d.t.Helper()
	if !within(startWait, func() bool { return d.gone() || answers(d.addr) }) || d.gone() {
		d.t.Fatalf("smtpd does not come up:\n%s", tail(d.logged(), 30))
	}
}

// answers reports whether a server sends its banner.
func answers(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	b := make([]byte, 4)
	n, _ := c.Read(b)
	return bytes.HasPrefix(b[:n], []byte("220"))
}

// gone reports whether the parent has ended.
func (d *daemon) gone() bool {
	select {
	case <-d.exited:
		return true
	default:
		return false
	}
}

// signal sends a signal to the parent.
func (d *daemon) signal(s os.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		d.t.Fatal(err)
	}
}

// stop ends the daemon as an administrator does.
func (d *daemon) stop() {
	d.t.Helper()
	d.signal(signals.Terminate)
	d.ended()
}

// ended waits for the end of all processes.
func (d *daemon) ended() {
	d.t.Helper()
	eventually(d.t, startWait, "smtpd ends", func() bool { return d.gone() && len(running()) == 0 })
}

// cleanup leaves no process behind and shows what happened when the test failed.
func (d *daemon) cleanup() {
	if !d.gone() && !d.t.Failed() {
		_ = d.cmd.Process.Signal(signals.Terminate)
		if !within(startWait, d.gone) {
			d.t.Error("smtpd does not end at SIGTERM")
		}
	}
	_ = d.cmd.Process.Kill()
	if !within(5*time.Second, func() bool { return len(running()) == 0 }) {
		d.t.Errorf("processes are left: %v", roleNames(running()))
		for _, p := range running() {
			kill(p.pid)
		}
	}
	text := d.logged()
	for _, bad := range []string{"panic", "goroutine ", "DATA RACE"} {
		if strings.Contains(text, bad) {
			d.t.Errorf("the log has %q", bad)
		}
	}
	if d.t.Failed() {
		d.t.Logf("end of the log %s:\n%s", d.log, tail(text, 60))
	}
}

// logged gives what the daemon has logged.
func (d *daemon) logged() string {
	b, _ := os.ReadFile(d.log)
	return string(b)
}

// waitLog waits for a line that has all the parts.
func (d *daemon) waitLog(parts ...string) string {
	d.t.Helper()
	line := ""
	if !within(startWait, func() bool { line = d.line(parts...); return line != "" }) {
		d.t.Fatalf("not in the log: %q", parts)
	}
	return line
}

// line gives the last line of the log that has all the parts.
func (d *daemon) line(parts ...string) string {
	lines := strings.Split(d.logged(), "\n")
	for _, line := range slices.Backward(lines) {
		if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(line, p) }) {
			return line
		}
	}
	return ""
}

// ctl runs smtpctl and gives its output.
func (d *daemon) ctl(args ...string) (string, error) {
	cmd := exec.Command(program("smtpctl"), append([]string{"-s", d.sock}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// queued gives the lines of show queue.
func (d *daemon) queued() []string {
	d.t.Helper()
	out, err := d.ctl("show", "queue")
	if err != nil {
		d.t.Fatalf("smtpctl: %v: %s", err, out)
	}
	return strings.FieldsFunc(out, func(r rune) bool { return r == '\n' })
}

// drained waits for an empty queue.
func (d *daemon) drained(limit time.Duration) {
	d.t.Helper()
	eventually(d.t, limit, "the queue is empty", func() bool { return len(d.queued()) == 0 })
}

// refuses starts a daemon that must not start, and gives what it says: one line.
func (d *daemon) refuses(args ...string) string {
	d.t.Helper()
	d.run(args...)
	d.ended()
	text := strings.TrimSpace(d.logged())
	if d.cmd.ProcessState.ExitCode() != 1 {
		d.t.Errorf("exit status %d, want 1", d.cmd.ProcessState.ExitCode())
	}
	return text
}

// command runs a program to its end.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
