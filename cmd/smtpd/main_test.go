package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The test binary is the program when this is set.
const asProgram = "SMTPD_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// call runs the program and gives its exit status and output.
func call(t *testing.T, args ...string) (int, string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good", "action \"a\" maildir\nmatch for local action \"a\"\n")
	macro := file("macro", "action \"a\" maildir $where\nmatch for local action \"a\"\n")
	later := file("later", "action \"a\" relay host lmtp://x:24 filter f\nfilter f proc-exec x\nmatch for local action \"a\"\n")
	outside := file("outside", "pki a.example cert \"/none\" key \"/none\"\ntable t file:/none\n"+
		"action \"a\" maildir alias <t>\nmatch for local action \"a\"\n")
	bad := file("bad", "action \"a\" maildri\nmatch for local action \"a\"\n")
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"-h"}, 0, "version: Godwit"},
		{[]string{"-nf", good}, 0, "configuration OK"},
		{[]string{"-n", "-f", macro}, 1, "where"},
		{[]string{"-n", "-D", "where=Mail", "-f", macro}, 0, "configuration OK"},
		{[]string{"-n", "-f", later}, 0, later + ":1:1: warning: \"filter\" for a relay that speaks LMTP is not supported yet; smtpd does not start with it\naction \"a\" relay host lmtp://x:24 filter f\n^\nconfiguration OK"},
		{[]string{"-d", "-S", filepath.Join(dir, "spool"), "-f", later}, 1, "is not supported yet"},
		{[]string{"-n", "-f", outside}, 0, outside + ":1:1: warning: pki a.example: open /none: no such file"},
		{[]string{"-n", "-f", outside}, 0, outside + ":2:7: warning: "},
		{[]string{"-n", "-f", outside}, 0, "\nconfiguration OK\n"},
		{[]string{"-n", "-f", bad}, 1, bad + ":1:12: "},
		{[]string{"-n", "-f", bad}, 1, "did you mean \"maildir\"?"},
		{[]string{"-n", "-f", filepath.Join(dir, "none")}, 1, "no such file"},
		{[]string{"-x"}, 1, "usage: smtpd"},
		{[]string{"-D", "x"}, 1, "could not parse macro"},
		{[]string{"-P", "x"}, 1, "unknown system"},
		{[]string{"-T", "x"}, 1, "unknown trace flag"},
		{[]string{"-d", "extra"}, 1, "unexpected argument"},
	} {
		status, out := call(t, c.args...)
		if status != c.status || !strings.Contains(out, c.want) {
			t.Errorf("smtpd %q: status %d, want %d with %q\n%s", c.args, status, c.status, c.want, out)
		}
	}
}
