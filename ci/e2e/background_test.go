package e2e

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBackground: without -d the command comes back when mail is taken, the daemon holds on
// to nothing of its caller and writes to the system's log.
func TestBackground(t *testing.T) {
	syslog, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "/dev/log", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer syslog.Close()
	defer os.Remove("/dev/log")
	if err := os.Chmod("/dev/log", 0o666); err != nil {
		t.Fatal(err)
	}
	dir := place(t)
	conf, sock := write(t, filepath.Join(dir, "conf"), localConf), filepath.Join(dir, "sock")
	args := []string{"-f", conf, "-S", filepath.Join(dir, "spool"), "-s", sock}
	var out bytes.Buffer
	cmd := exec.Command(program("smtpd"), args...)
	cmd.Stdout, cmd.Stderr = &out, &out // a pipe: Run waits until nobody has it any more
	if err := cmd.Run(); err != nil || out.Len() > 0 {
		t.Fatalf("%v: %s", err, out.String())
	}
	t.Cleanup(func() {
		for _, p := range running() {
			kill(p.pid)
		}
		eventually(t, startWait, "the daemon ends", func() bool { return len(running()) == 0 })
	})
	submit(t, tester, "alice@godwit.test", "Subject: background\n\nHello.\n")
	newMaildir("alice").wait(t, 1, startWait)
	var lines []string
	for line := ""; !strings.Contains(line, "mda delivery"); lines = append(lines, line) {
		buffer := make([]byte, 8192)
		_ = syslog.SetReadDeadline(time.Now().Add(startWait))
		n, err := syslog.Read(buffer)
		if err != nil {
			t.Fatalf("nothing more in the log: %v: %q", err, lines)
		}
		if line = string(buffer[:n]); !strings.Contains(line, "smtpd[") {
			t.Errorf("a line of the log: %q", line)
		}
	}
	for _, p := range running() {
		for n, target := range p.files(t) {
			if n <= 2 && target != "/dev/null" && (n < 2 || target != "pipe") {
				t.Errorf("%s: descriptor %d is %s", p.role(), n, target)
			}
		}
	}
	if out, err := exec.Command(program("smtpctl"), "-s", sock, "stop").CombinedOutput(); err != nil {
		t.Errorf("smtpctl stop: %v: %s", err, out)
	}
	eventually(t, startWait, "the daemon ends", func() bool { return len(running()) == 0 })

	// What keeps it from starting is said to the caller.
	write(t, conf, "frobnicate\n")
	said, err := exec.Command(program("smtpd"), args...).CombinedOutput()
	if err == nil || !strings.Contains(string(said), "conf:1:1") {
		t.Errorf("a bad configuration: %v: %s", err, said)
	}
}
