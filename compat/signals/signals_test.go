package signals

import (
	"os"
	"os/exec"
	"testing"
)

func TestExitStatus(t *testing.T) {
	tests := []struct {
		script string
		code   int
		name   string
	}{
		{"exit 0", 0, ""},
		{"exit 75", 75, ""},
		{"kill -TERM $$", -1, "SIGTERM"},
		{"kill -KILL $$", -1, "SIGKILL"},
		{"kill -URG $$; exit 3", 3, ""},
	}
	for _, tt := range tests {
		cmd := exec.Command("/bin/sh", "-c", tt.script)
		// The error only repeats what the state says.
		_ = cmd.Run()
		code, name := ExitStatus(cmd.ProcessState)
		if code != tt.code || name != tt.name {
			t.Errorf("%q: got %d %q, want %d %q", tt.script, code, name, tt.code, tt.name)
		}
	}
	if code, name := ExitStatus(nil); code != -1 || name != "" {
		t.Errorf("nil: got %d %q", code, name)
	}
}

func TestNotify(t *testing.T) {
	c, stop := Notify(Hangup, User1)
	defer stop()
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, sig := range []os.Signal{Hangup, User1} {
		if err := self.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if got := <-c; got != sig {
			t.Errorf("got %v, want %v", got, sig)
		}
	}
}
