package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/password"
)

// The test binary is the program when this is set; its argv[0] is the name that counts.
const asProgram = "SMTPCTL_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// call runs the program by a name and gives its exit status.
func call(t *testing.T, name, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	cmd := exec.Command(self, args...)
	cmd.Args[0] = name
	cmd.Env = append(os.Environ(), asProgram+"=1", "HOME="+t.TempDir(), "SMTPD_SOCKET="+filepath.Join(t.TempDir(), "none"))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func TestWithoutDaemon(t *testing.T) {
	for _, c := range []struct {
		name   string
		args   []string
		stdin  string
		status int
		want   string
	}{
		{"smtpctl", nil, "", 255, "possibilities are:\ndiscover\n"},
		{"smtpctl", []string{"sho"}, "", 255, "show queue"},
		{"smtpctl", []string{"show", "envelope", "zz"}, "", 255, "show envelope <evpid>"},
		{"smtpctl", []string{"-x"}, "", 1, "unknown option -- x"},
		{"smtpctl", []string{"show", "queue"}, "", 1, "is it running?"},
		{"smtpctl", []string{"encrypt", "x"}, "", 0, "$"},
		{"smtpctl", []string{"encrypt"}, strings.Repeat("x", 2000) + "\n", 1, "too long"},
		{"smtpctl", []string{"spf", "walk"}, "", 1, "not supported yet"},
		{"smtpctl", []string{"config", "convert"}, "", 255, "config convert <file>"},
		{"smtpctl", []string{"config", "convert", "/nonexistent"}, "", 1, "no such file"},
		{"smtpctl", []string{"config", "convert", "testdata/wrong.conf"}, "", 1, "testdata/wrong.conf:2:8: a delay needs a unit"},
		{"smtpctl", []string{"config", "convert", "testdata/old.conf"}, "", 0, `filter of OpenSMTPD before 6.4 is not supported yet`},
		{"/usr/bin/mailq", nil, "", 1, "is it running?"},
		{"newaliases", nil, "", 1, "newaliases: "},
		{"sendmail", []string{"joe@example.org"}, "Subject: x\n\nbody\n", 75, "is it running?"},
		{"sendmail", nil, "Subject: x\n\n", 70, "no recipients"},
		{"sendmail", []string{"-f"}, "", 64, ""},
		{"sendmail", []string{"joe@example.org\nRCPT TO:<x>"}, "x\n", 64, "control character"},
		{"sendmail", []string{"-bs"}, "", 64, ""},
	} {
		status, stdout, stderr := call(t, c.name, c.stdin, c.args...)
		if status != c.status || !strings.Contains(stdout+stderr, c.want) {
			t.Errorf("%s %q: status %d, want %d\n%s%s", c.name, c.args, status, c.status, stdout, stderr)
		}
	}
}

func TestEncrypt(t *testing.T) {
	for _, args := range [][]string{{"encrypt", "a secret"}, {"encrypt"}} {
		_, stdout, stderr := call(t, "smtpctl", "a secret\n", args...)
		if ok, err := password.Verify(strings.TrimSuffix(stdout, "\n"), "a secret"); !ok || err != nil {
			t.Errorf("%q: %q, %q: %v", args, stdout, stderr, err)
		}
	}
}
