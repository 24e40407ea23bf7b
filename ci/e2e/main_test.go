package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain runs nothing outside the namespaces of run.sh, where every test may take every
// port, mount file systems and kill processes.
func TestMain(m *testing.M) {
	if isFilterProgram() {
		os.Exit(filterProgram())
	}
	if isTableProgram() {
		os.Exit(tableProgram())
	}
	if os.Getenv("GODWIT_E2E") != "1" || os.Geteuid() != 0 {
		fmt.Println("skipped: end-to-end tests need root and the surroundings that ci/e2e/run.sh makes")
		return
	}
	os.Exit(m.Run())
}

// TestPrograms: what run.sh should have installed is there.
func TestPrograms(t *testing.T) {
	for _, name := range []string{"kill", "setsid", "mount", "openssl", "postfix", "swaks", "msmtp", "curl", "haproxy",
		"mutt", "s-nail", "git", "perl", "node", python} {
		if _, err := exec.LookPath(name); err != nil {
			t.Error(err)
		}
	}
}

// top is the directory of this run; all its parts can be entered by everybody.
func top() string { return os.Getenv("GODWIT_E2E_TOP") }

// program gives the path of one of our programs.
func program(name string) string { return filepath.Join(os.Getenv("GODWIT_E2E_BIN"), name) }

func home(user string) string { return filepath.Join(top(), "home", user) }

// place makes a directory that everybody can enter, with a short path for sockets.
func place(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(filepath.Join(top(), "run"), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			_ = os.RemoveAll(dir)
		}
	})
	return dir
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// eventually waits for an event that nothing announces.
func eventually(t *testing.T, limit time.Duration, what string, happened func() bool) {
	t.Helper()
	if !within(limit, happened) {
		t.Fatalf("not within %v: %s", limit, what)
	}
}

func within(limit time.Duration, happened func() bool) bool {
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		if happened() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// tail gives the last lines of a text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// lacking leaves a test out because run.sh could not get a program of others. Where all checks run,
// that is a failure: a test that nobody notices to be left out proves nothing.
func lacking(t *testing.T, why ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why...)
	}
	t.Skip(why...)
}
