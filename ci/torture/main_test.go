package torture

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var (
	duration = flag.Duration("duration", time.Minute, "how long random faults go on")
	rate     = flag.Int("rate", 100, "messages per second that are offered meanwhile, at most")
	seed     = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of what is chosen at random")
)

// TestMain serves a table instead when the daemon runs this binary to do so.
func TestMain(m *testing.M) {
	if exe, err := os.Executable(); err == nil && filepath.Base(exe) == "table-test" {
		serveTable()
		return
	}
	flag.Parse()
	os.Exit(m.Run())
}

// inside skips a test that is not in the namespaces of run.sh, where it may take
// every address, mount file systems and kill processes.
func inside(t *testing.T) {
	t.Helper()
	if os.Getenv("GODWIT_E2E") != "1" || os.Geteuid() != 0 {
		t.Skip("needs root and the surroundings that ci/torture/run.sh makes")
	}
}

// top is the directory of this run; all its parts can be entered by everybody.
func top() string { return os.Getenv("GODWIT_E2E_TOP") }

// program gives the path of one of our programs.
func program(name string) string { return filepath.Join(os.Getenv("GODWIT_E2E_BIN"), name) }

// within waits for an event that nothing announces.
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

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// scale gives how much is done: less in short mode.
func scale(full, short int) int {
	if testing.Short() {
		return short
	}
	return full
}
