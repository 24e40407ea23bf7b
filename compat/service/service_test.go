package service

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kardianos/service"
)

const program = "/usr/local/sbin/smtpd"

// rcTests has what differs between the systems with rc.d.
var rcTests = []struct {
	goos, script, settings string
	start, status          string
}{
	{"openbsd", "/etc/rc.d/mx", "", "/usr/sbin/rcctl start mx", "/usr/sbin/rcctl check mx"},
	{"netbsd", "/etc/rc.d/mx", "mx=YES\n", "/etc/rc.d/mx start", "/etc/rc.d/mx status"},
	{"freebsd", "/usr/local/etc/rc.d/mx", "mx_enable=YES\n", "/usr/local/etc/rc.d/mx start",
		"/usr/local/etc/rc.d/mx status"},
	{"dragonfly", "/usr/local/etc/rc.d/mx", "mx_enable=YES\n", "/usr/local/etc/rc.d/mx start",
		"/usr/local/etc/rc.d/mx status"},
}

func TestRC(t *testing.T) {
	for _, tt := range rcTests {
		t.Run(tt.goos, func(t *testing.T) {
			r, ok := rcFor(tt.goos, "mx", program)
			if !ok || r.script != tt.script || r.settings != tt.settings {
				t.Fatalf("got %+v", r)
			}
			for action, want := range map[string]string{"start": tt.start, "status": tt.status} {
				if got := strings.Join(r.command(action), " "); got != want {
					t.Errorf("%s: %q, want %q", action, got, want)
				}
			}
			lifeOfRC(t, r)
		})
	}
	for _, goos := range []string{"linux", "darwin", "plan9"} {
		if _, ok := rcFor(goos, "mx", program); ok {
			t.Errorf("%s has an rc.d", goos)
		}
	}
}

// lifeOfRC installs, controls and uninstalls below a directory of its own.
func lifeOfRC(t *testing.T, r *rc) {
	t.Helper()
	dir := t.TempDir()
	r.script = filepath.Join(dir, r.script)
	if r.settingsFile != "" {
		r.settingsFile = filepath.Join(dir, r.settingsFile)
	}
	var ran []string
	r.run = func(command []string) error {
		ran = append(ran, command[len(command)-2]+" "+command[len(command)-1])
		return nil
	}
	if err := r.Start(); !errors.Is(err, service.ErrNotInstalled) {
		t.Errorf("start before install: %v", err)
	}
	if err := r.Install(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(r.script); err != nil || info.Mode().Perm() != 0o555 {
		t.Errorf("script: %v, %v", info, err)
	}
	if err := r.Install(); !errors.Is(err, os.ErrExist) {
		t.Errorf("second install: %v", err)
	}
	if err := errors.Join(r.Start(), r.Restart(), r.Stop()); err != nil {
		t.Error(err)
	}
	if now, err := r.Status(); now != service.StatusRunning || err != nil {
		t.Errorf("status: %v, %v", now, err)
	}
	if err := r.Uninstall(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{r.script, r.settingsFile} {
		if _, err := os.Stat(path); path != "" && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
	if enabled := slices.Contains(ran, "enable mx") && slices.Contains(ran, "disable mx"); enabled !=
		(r.settingsFile == "") {
		t.Errorf("ran %q", ran)
	}
}

func TestRCStatus(t *testing.T) {
	tests := []struct {
		script string
		want   service.Status
		fails  bool
	}{
		{"exit 0", service.StatusRunning, false},
		{"exit 1", service.StatusStopped, false},
		{"", service.StatusUnknown, true}, // cannot be run
	}
	for _, tt := range tests {
		r, _ := rcFor("netbsd", "mx", program)
		r.script = filepath.Join(t.TempDir(), "mx")
		if tt.script == "" {
			r.command = func(string) []string { return []string{"/nonexistent/rcctl"} }
		}
		if err := create(r.script, "#!/bin/sh\n"+tt.script+"\n", 0o555); err != nil {
			t.Fatal(err)
		}
		if got, err := r.Status(); got != tt.want || (err != nil) != tt.fails {
			t.Errorf("%q: got %v, %v", tt.script, got, err)
		}
	}
}

// Every script must at least be one to a shell.
func TestScripts(t *testing.T) {
	for name, text := range map[string]string{"openrc": openRCScript, "openbsd": openbsdScript,
		"freebsd": freebsdScript, "netbsd": netbsdScript} {
		text = fill(text, "smtpd", program)
		if strings.Contains(text, "@") || strings.Contains(text, "{{") || !strings.Contains(text, program) {
			t.Errorf("%s: not filled in:\n%s", name, text)
		}
		cmd := exec.Command("/bin/sh", "-n")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

func TestPlist(t *testing.T) {
	d := xml.NewDecoder(strings.NewReader(fill(launchdPlist, "org.example", program)))
	for {
		if _, err := d.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestOptions(t *testing.T) {
	for manager, key := range map[string]string{"linux-systemd": "SystemdScript",
		"linux-openrc": "OpenRCScript", "darwin-launchd": "LaunchdConfig"} {
		text, _ := options(manager, "smtpd", program)[key].(string)
		if !strings.Contains(text, program) {
			t.Errorf("%s: %q", manager, text)
		}
	}
	if o := options("unix-systemv", "smtpd", program); o != nil {
		t.Errorf("got %v", o)
	}
}

func TestDaemon(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	odd := filepath.Join(dir, "a b")
	good := filepath.Join(dir, "smtpd")
	for path, mode := range map[string]os.FileMode{file: 0o600, odd: 0o700, good: 0o700} {
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{file, odd, dir, "smtpd", filepath.Join(dir, "missing")} {
		if got, err := daemon(path); err == nil {
			t.Errorf("%q: got %q", path, got)
		}
	}
	if got, err := daemon(good); got != good || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestMainUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"start", "stop"}, {"-x"}, {"-program", program}, {"reload"}} {
		var out, errOut bytes.Buffer
		if code := Main(args, &out, &errOut); code != exitUsage || out.Len() > 0 || errOut.Len() == 0 {
			t.Errorf("%q: status %d, %q, %q", args, code, &out, &errOut)
		}
	}
	var out, errOut bytes.Buffer
	if code := Main([]string{"-program", "/nonexistent/smtpd", "status"}, &out, &errOut); code != 1 {
		t.Errorf("without a daemon: status %d", code)
	}
}
