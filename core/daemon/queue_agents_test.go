package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Deliveries of a user that take long are made side by side, as many as are allowed, and
// those of others do not wait for them.
func TestSlowUser(t *testing.T) {
	const most, total = 3, 6
	l := newLab(t, nil, `listen on 127.0.0.1 port PORT
mda limit max-session-per-user `+fmt.Sprint(most)+`
action "slow" mda "DIR/slow" userbase <people>
match from any for any action "slow"
`)
	script := "#!/bin/sh\ncat >/dev/null\ncd DIR\n[ \"$USER\" = ann ] && exit 0\n: >run.$$\nls run.* | wc -l >>counts\n" +
		"while [ ! -e go ]; do sleep 0.05; done\nrm run.$$\n"
	path := filepath.Join(l.dir, "slow")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(script, "DIR", l.dir)), 0o755); err != nil {
		t.Fatal(err)
	}
	l.begin()
	for range total {
		l.mustSend("a@example.net", []string{"joe@example.org"}, "Subject: x\r\n\r\n")
	}
	counts := func() []string {
		text, _ := os.ReadFile(filepath.Join(l.dir, "counts"))
		return strings.Fields(string(text))
	}
	for deadline := time.Now().Add(patience); len(counts()) < most; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d deliveries at a time, want %d", len(counts()), most)
		}
	}
	l.mustSend("a@example.net", []string{"ann@example.org"}, "Subject: x\r\n\r\n")
	l.log.wait(t, 0, `mda delivery .* to=<ann@example.org> .* result=Ok`)
	if err := os.WriteFile(filepath.Join(l.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l.states()
	if got := counts(); len(got) != total || strings.Contains(strings.Join(got, " "), fmt.Sprint(most+1)) {
		t.Errorf("running at the start of each delivery: %v", got)
	}
}
