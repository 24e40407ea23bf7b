package privdrop

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// checkProcess looks at every thread of a process from outside.
func checkProcess(t *testing.T, pid int, root string) {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil || len(threads) < 8 {
		t.Fatalf("threads: %v, %v", threads, err)
	}
	u, g := dropped.UID, dropped.GID
	want := map[string]string{
		"Uid":        fmt.Sprintf("%d %d %d %d", u, u, u, u),
		"Gid":        fmt.Sprintf("%d %d %d %d", g, g, g, g),
		"Groups":     "65502 65503 65504",
		"CapEff":     "0000000000000000",
		"CapPrm":     "0000000000000000",
		"NoNewPrivs": "1",
	}
	// The helper is the same binary; this process loses nothing by it.
	if err := NoNewPrivs(); errors.Is(err, errors.ErrUnsupported) {
		t.Logf("NoNewPrivs is not checked: %v", err)
		delete(want, "NoNewPrivs")
	}
	wantRoot := root
	if wantRoot == "" {
		wantRoot = "/"
	}
	for _, thread := range threads {
		status := statusOf(t, thread)
		for key, w := range want {
			if status[key] != w {
				t.Errorf("%s: %s is %q, want %q", thread, key, status[key], w)
			}
		}
		if got, err := os.Readlink(thread + "/root"); err != nil || got != wantRoot {
			t.Errorf("%s: root is %q, %v, want %q", thread, got, err, wantRoot)
		}
	}
}

// statusOf reads the status file of a thread.
func statusOf(t *testing.T, thread string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(thread + "/status")
	if err != nil {
		t.Fatal(err)
	}
	fields := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		fields[key] = strings.Join(strings.Fields(value), " ")
	}
	return fields
}
