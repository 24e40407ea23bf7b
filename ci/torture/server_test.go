package torture

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/compat/signals"
)

// startWait is how long the daemon may take to come up or go down.
const startWait = 30 * time.Second

// server is the daemon under torture.
type server struct {
	t      *testing.T
	smtpd  string // path of the program
	doves  string // mailboxes of Dovecot, if it runs
	dir    string
	conf   string
	spool  string
	sock   string
	log    string
	addr   string // listens on port 25 and 587
	cmd    *exec.Cmd
	exited chan struct{}

	mu   sync.Mutex
	seen map[int]string // processes that there were, and when each began
}

// run starts the daemon without waiting.
func (d *server) run() {
	d.t.Helper()
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	must(d.t, err)
	defer log.Close()
	d.cmd = exec.Command("setsid", d.smtpd, "-d", "-f", d.conf, "-S", d.spool, "-s", d.sock)
	d.cmd.Stderr = log
	d.cmd.Dir = "/"
	first := d.exited == nil
	must(d.t, d.cmd.Start())
	exited, cmd := make(chan struct{}), d.cmd
	go func() { _ = cmd.Wait(); close(exited) }()
	d.exited = exited
	if first {
		d.t.Cleanup(d.cleanup)
	}
}

// ready waits for the banner.
func (d *server) ready() {
	d.t.Helper()
	if !within(startWait, func() bool { return d.gone() || d.answers() }) || d.gone() {
		d.t.Fatalf("smtpd does not come up:\n%s", tail(d.logged(), 30))
	}
}

func (d *server) answers() bool {
	c, err := net.DialTimeout("tcp", d.addr+":25", time.Second)
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
func (d *server) gone() bool {
	select {
	case <-d.exited:
		return true
	default:
		return false
	}
}

// again starts the daemon when its parent is gone.
func (d *server) again() {
	d.t.Helper()
	<-d.exited
	if !within(startWait, func() bool { return len(d.processes()) == 0 && !d.lingers() }) {
		d.t.Errorf("after the end of the parent: %v", d.processes())
	}
	d.run()
}

// stop ends the daemon as an administrator does.
func (d *server) stop() {
	d.t.Helper()
	_ = d.cmd.Process.Signal(signals.Terminate)
	if !within(startWait, func() bool { return d.gone() && len(d.processes()) == 0 }) {
		d.t.Fatalf("smtpd does not end: %v\n%s", d.processes(), tail(d.logged(), 30))
	}
}

func (d *server) cleanup() {
	for range 100 {
		for _, p := range d.processes() {
			kill(p.pid)
		}
		if len(d.processes()) == 0 && d.gone() {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	text := d.logged()
	for _, bad := range []string{"panic", "goroutine ", "DATA RACE"} {
		if strings.Contains(text, bad) {
			d.t.Errorf("the log has %q", bad)
		}
	}
	if d.t.Failed() {
		d.t.Logf("end of the log %s:\n%s", d.log, tail(text, 40))
	}
}

func (d *server) logged() string {
	b, _ := os.ReadFile(d.log)
	return string(b)
}

// mark writes into the log of the daemon.
func (d *server) mark(what string) {
	f, err := os.OpenFile(d.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	must(d.t, err)
	defer f.Close()
	_, _ = f.WriteString(mark + what + "\n")
}

// ctl runs smtpctl and gives its output.
func (d *server) ctl(args ...string) (string, error) {
	cmd := exec.Command(program("smtpctl"), append([]string{"-s", d.sock}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// tail gives the last lines of a text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// proc is a process of the daemon.
type proc struct {
	pid  int
	role string
}

// processes gives all processes that write to the log of the daemon, but for those that are ending.
func (d *server) processes() []proc {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var list []proc
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if target, err := os.Readlink(dir + "/fd/2"); err != nil || target != d.log {
			continue
		}
		line, _ := os.ReadFile(dir + "/cmdline")
		title, _, _ := strings.Cut(string(line), "\x00")
		role, _, _ := strings.Cut(strings.TrimPrefix(title, "smtpd: "), " ")
		if pid == d.cmd.Process.Pid {
			role = "parent"
		}
		list = append(list, proc{pid, role})
		d.see(pid)
	}
	return list
}

func (d *server) see(pid int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen == nil {
		d.seen = make(map[int]string)
	}
	d.seen[pid] = began(pid)
}

// lingers reports whether something is left of a process that there was. One that was killed
// loses its log before the addresses on which it listened.
func (d *server) lingers() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for pid, at := range d.seen {
		if at != "" && began(pid) == at {
			return true
		}
		delete(d.seen, pid)
	}
	return false
}

// began gives the start time of a process, "" when there is none.
func began(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(stat), ") ")
	f := strings.Fields(after)
	if err != nil || len(f) < 20 {
		return ""
	}
	return f[19]
}

// find gives the processes of a role.
func (d *server) find(role string) []proc {
	return slices.DeleteFunc(d.processes(), func(p proc) bool { return p.role != role })
}

// kill is kill -9.
func kill(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}

// killAll leaves no process of the daemon.
func (d *server) killAll() {
	within(startWait, func() bool {
		list := d.processes()
		for _, p := range list {
			kill(p.pid)
		}
		return len(list) == 0
	})
}
