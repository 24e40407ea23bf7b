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

func TestMakemap(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string]string{
		"aliases": "root: alice\nstaff: alice, bob\n", "bad": "root: \"alice\n", "list": "a\nb\n",
		"db.conf":   "table aliases db:" + path("aliases.db") + "\naction a mbox alias <aliases>\nmatch for any action a\n",
		"file.conf": "table aliases file:" + path("bad") + "\naction a mbox alias <aliases>\nmatch for any action a\n",
		"none.conf": "action a mbox\nmatch for any action a\n",
	} {
		if err := os.WriteFile(path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		args   []string
		stdin  string
		status int
		want   string
	}{
		{"newaliases", []string{"-f", path("db.conf")}, "", 0, path("aliases") + ": 2 aliases\nnewaliases: cannot connect to smtpd"},
		{"makemap", []string{"-U", path("aliases.db")}, "", 0, "root\talice\nstaff\talice, bob\n"},
		{"newaliases", []string{"-f", path("file.conf")}, "", 1, path("bad") + ":1: quote without an end"},
		{"newaliases", []string{"-f", path("none.conf")}, "", 1, "has no table \"aliases\""},
		{"newaliases", []string{"x"}, "", 1, "no operands"},
		{"/usr/sbin/makemap", []string{"hash", path("x")}, "a b\n", 0, ""},
		{"smtpctl", []string{"makemap", "-U", path("x.db")}, "", 0, "a\tb\n"},
		{"makemap", []string{path("list")}, "", 0, ""},
		{"makemap", []string{"-U", path("list.db")}, "", 0, "a\nb\n"},
		{"makemap", []string{"hash", path("x")}, "a b\na c\n", 1, "makemap: -:2: duplicate entry for a"},
		{"makemap", []string{"hash", path("x")}, "", 0, "x.db is empty"},
		{"makemap", []string{path("nosuch")}, "", 1, "no such file"},
		{"makemap", nil, "", 1, "usage: makemap"},
		{"makemap", []string{"-h"}, "", 0, "usage: makemap"},
	} {
		status, stdout, stderr := call(t, c.name, c.stdin, c.args...)
		if status != c.status || !strings.Contains(stdout+stderr, c.want) {
			t.Errorf("%s %q: status %d, want %d\n%s%s", c.name, c.args, status, c.status, stdout, stderr)
		}
	}
}

func TestEncrypt(t *testing.T) {
	for _, args := range [][]string{{"encrypt", "a secret"}, {"encrypt"}, {"encrypt-scram", "a secret"}, {"encrypt-scram"}} {
		_, stdout, stderr := call(t, "smtpctl", "a secret\n", args...)
		if ok, err := password.Verify(strings.TrimSuffix(stdout, "\n"), "a secret"); !ok || err != nil {
			t.Errorf("%q: %q, %q: %v", args, stdout, stderr, err)
		}
	}
}
