package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

const helperEnv = "SANDBOX_TEST_HELPER"

func TestMain(m *testing.M) {
	if task := os.Getenv(helperEnv); task != "" {
		helper(task)
		return
	}
	os.Exit(m.Run())
}

// The things that the helper tries inside.
var deeds = []string{"read", "write", "rename", "exec", "accept", "clock"}

// helper enters a profile and tells what it could do there: one line with the report,
// then one for each deed.
func helper(task string) {
	name, dir, _ := strings.Cut(task, ":")
	for p := Dispatcher; p <= Agent; p++ {
		if p.String() != name {
			continue
		}
		// A listener from before, as a role gets it from its parent.
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fmt.Println("cannot listen:", err)
			return
		}
		threads(6)
		var paths []string
		if p == Queue {
			paths = []string{dir}
		}
		report, err := Enter(p, paths...)
		if err != nil {
			fmt.Println("failed:", err)
			return
		}
		fmt.Println(report.Active, report.Text)
		for _, deed := range deeds {
			fmt.Println(deed, everywhere(func() error { return try(deed, dir, l) }) == nil)
		}
	}
}

// threads makes sure that there are some before the sandbox is entered: they all wait for
// each other.
func threads(n int) {
	var all sync.WaitGroup
	all.Add(n)
	for range n {
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			all.Done()
			all.Wait()
		}()
	}
	all.Wait()
}

// everywhere does f on several threads at once and gives nil if it worked on any.
func everywhere(f func() error) error {
	const n = 4
	results := make(chan error, n)
	for range n {
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			results <- f()
		}()
	}
	var last error
	worked := false
	for range n {
		if err := <-results; err != nil {
			last = err
		} else {
			worked = true
		}
	}
	if worked {
		return nil
	}
	return last
}

func try(deed, dir string, l net.Listener) error {
	switch deed {
	case "read":
		_, err := os.ReadFile("/etc/passwd")
		return err
	case "write":
		f, err := os.CreateTemp(dir, "write")
		if err != nil {
			return err
		}
		return f.Close()
	case "rename":
		from, err := os.MkdirTemp(dir, "from")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(from, "f"), []byte("x"), 0o600); err != nil {
			return err
		}
		return os.Rename(filepath.Join(from, "f"), from+".f")
	case "exec":
		return exec.Command("/bin/sh", "-c", "exit 0").Run()
	case "accept":
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return err
		}
		defer c.Close()
		s, err := l.Accept()
		if err != nil {
			return err
		}
		return s.Close()
	case "clock":
		if time.Now().Year() < 2000 {
			return errors.New("no clock")
		}
		return nil
	}
	return errors.New("unknown deed")
}

// allowed says what each profile may do where its sandbox holds, by system. A system
// that is not here has none.
func allowed(goos string, p Profile) map[string]bool {
	switch {
	case goos == "linux" && p == Lookup:
		return map[string]bool{"read": true, "exec": true, "accept": true, "clock": true}
	case goos == "linux" && p == Queue:
		return map[string]bool{"write": true, "rename": true, "accept": true, "clock": true}
	case goos == "linux":
		return map[string]bool{"accept": true, "clock": true}
	case goos == "freebsd" && p == Crypto:
		return map[string]bool{"clock": true}
	}
	return nil
}

// TestEnter compares what can be done inside with the table. pledge(2) kills for what is
// not promised, so on OpenBSD it cannot be tried out this way.
func TestEnter(t *testing.T) {
	if runtime.GOOS == "openbsd" {
		t.Skip("pledge kills who does what it did not promise")
	}
	for p := Dispatcher; p <= Agent; p++ {
		t.Run(p.String(), func(t *testing.T) {
			lines := run(t, p)
			active, text, _ := strings.Cut(lines[0], " ")
			t.Log(text)
			if active != "true" && active != "false" || text == "" {
				t.Fatalf("report %q", lines[0])
			}
			want := allowed(runtime.GOOS, p)
			if active == "true" && want == nil {
				t.Fatalf("a sandbox that this test does not know: %s", text)
			}
			for i, deed := range deeds {
				got := lines[i+1]
				// Without a sandbox everything must go on working.
				w := fmt.Sprintln(deed, active == "false" || want[deed])
				if got+"\n" != w {
					t.Errorf("got %q, want %q", got, w)
				}
			}
		})
	}
}

// run starts the helper and gives its lines.
func run(t *testing.T, p Profile) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = []string{helperEnv + "=" + p.String() + ":" + t.TempDir()}
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	s := bufio.NewScanner(strings.NewReader(string(out)))
	for s.Scan() {
		lines = append(lines, s.Text())
	}
	if len(lines) != len(deeds)+1 {
		t.Fatalf("helper said %q", out)
	}
	return lines
}

func TestUnknownProfile(t *testing.T) {
	if _, err := Enter(Agent + 1); err == nil {
		t.Error("an unknown profile was entered")
	}
}
