package mda

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
)

func TestCommandOutcome(t *testing.T) {
	tests := []struct {
		command string
		status  envelope.Status
		stat    string
	}{
		{"true", envelope.Delivered, "Delivered"},
		{"exit 0", envelope.Delivered, "Delivered"},
		{"cat", envelope.Delivered, "Delivered"},
		{"echo oops; exit 1", envelope.PermFail, `Error ("oops")`},
		{"echo oops >&2; exit 1", envelope.PermFail, `Error ("oops")`},
		{"echo first; echo last; echo; echo ' '; exit 69", envelope.PermFail, `Error (service unavailable: "last")`},
		{"printf 'no line end'; exit 2", envelope.PermFail, `Error ("no line end")`},
		{`printf 'a\tb\033[0m"\n'; exit 1`, envelope.PermFail, `Error ("a\tb\x1b[0m"")`},
		{"exit 1", envelope.PermFail, "Error (exited abnormally)"},
		{"exit 70", envelope.PermFail, "Error (internal software error: exited abnormally)"},
		{"exit 71", envelope.TempFail, "Error (system resource problem: exited abnormally)"},
		{"exit 75", envelope.TempFail, "Error (temporary failure: exited abnormally)"},
		{"echo later; exit 75", envelope.TempFail, `Error (temporary failure: "later")`},
		{"exit 77", envelope.PermFail, "Error (permission denied: exited abnormally)"},
		{"exit 255", envelope.PermFail, "Error (exited abnormally)"},
		{"kill -9 $$", envelope.TempFail, "Error (terminated; signal 9)"},
		{"echo x; kill -15 $$", envelope.TempFail, "Error (terminated; signal 15)"},
		{"head -c 3000 /dev/zero | tr '\\0' x; exit 1", envelope.PermFail, `Error ("` + strings.Repeat("x", 510) + `")`},
	}
	for _, method := range []Method{Command, Pipe} {
		for _, tt := range tests {
			out := deliver(t, job(method, tt.command, body))
			if out.Status != tt.status || out.Stat() != tt.stat {
				t.Errorf("%s: status %d, %.200s; want %d, %.200s", tt.command, out.Status, out.Stat(), tt.status, tt.stat)
			}
		}
	}
	out := deliver(t, job(Command, "/nowhere/at-all", body))
	wantOutcome(t, "missing command", out, envelope.PermFail, "not found")
	if out.Exit != 127 {
		t.Errorf("exit %d, want 127", out.Exit)
	}
}

// What a command gets, as transcripts of OpenSMTPD show it.
func TestCommandSees(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	text := "#!/bin/sh\ncd '" + dir + "' && env >env && cat >input && ls -l /proc/self/fd >fds 2>/dev/null\n" +
		"for a in \"$0\" \"$@\"; do echo \"$a\"; done >args\n"
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	large := "Subject: x\n\n" + strings.Repeat("0123456789abcde\n", 1<<16)
	wantOutcome(t, "script", deliver(t, job(Command, script+"  one\ttwo ", large)), envelope.Delivered, "")
	if got := readFile(t, filepath.Join(dir, "input")); got != traceFields+large {
		t.Errorf("input of %d octets differs", len(got))
	}
	if got, want := readFile(t, filepath.Join(dir, "args")), script+"\none\ntwo\n"; got != want {
		t.Errorf("arguments %q, want %q", got, want)
	}
	want := []string{"DOMAIN=env.example.org", "EXTENSION=tag", "HOME=/home/alice", "LOCAL=alice+tag",
		"LOGNAME=alice", "ORIGINAL_RECIPIENT=alice+tag@env.example.org", "PATH=/usr/bin:/bin",
		"RECIPIENT=alice+tag@example.org", "SENDER=s@example.com", "SHELL=/bin/sh", "USER=alice"}
	var got []string
	for line := range strings.Lines(readFile(t, filepath.Join(dir, "env"))) {
		line = strings.TrimSuffix(line, "\n")
		// These are the shell's own.
		if name, _, _ := strings.Cut(line, "="); name != "PWD" && name != "OLDPWD" && name != "SHLVL" && name != "_" {
			got = append(got, line)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("environment %q\nwant %q", got, want)
	}
	// ls has the directory open too.
	if fds, err := os.ReadFile(filepath.Join(dir, "fds")); err == nil && len(fds) > 0 {
		if n := strings.Count(string(fds), " -> "); n > 4 {
			t.Errorf("descriptors:\n%s", fds)
		}
	}
}

func TestEnvironmentNullSender(t *testing.T) {
	j := job(Command, "x", "")
	j.Sender, j.Subaddress = address.Address{}, ""
	env := j.environment()
	if !slices.Contains(env, "SENDER=") || len(env) != 10 {
		t.Errorf("environment %q", env)
	}
}

// A script without a first line is for the shell.
func TestCommandWithoutFirstLine(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("echo shell; exit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	wantOutcome(t, "script", deliver(t, job(Command, script, body)), envelope.PermFail, "shell")
}

// Nothing that a stranger chose is ever read by a shell.
func TestCommandInjection(t *testing.T) {
	dir := t.TempDir()
	evil := "`touch${IFS}" + dir + "/back`$(touch${IFS}" + dir + "/paren);touch " + dir + "/semi"
	for _, command := range []string{"cat", "echo $SENDER $RECIPIENT $EXTENSION", `echo "$SENDER"; cat`} {
		j := job(Command, command, "Subject: "+evil+"\n\n"+evil+"\n")
		j.Sender.Local, j.Dest.Local, j.Rcpt.Local, j.Subaddress = evil, evil, evil, evil
		wantOutcome(t, command, deliver(t, j), envelope.Delivered, "")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("made %v, %v", entries, err)
	}
}

func TestPlainWords(t *testing.T) {
	for command, want := range map[string][]string{
		"/usr/lib/dovecot/deliver -d a+b@example.org": {"/usr/lib/dovecot/deliver", "-d", "a+b@example.org"},
		" procmail\t-a  x ":                           {"procmail", "-a", "x"},
		"":                                            nil,
		"  ":                                          nil,
		"a=b c":                                       nil,
		"a; b":                                        nil,
		"a 'b'":                                       nil,
		"a $b":                                        nil,
		"a `b`":                                       nil,
		"a\nb":                                        nil,
		"~/bin/x":                                     nil,
		"a *":                                         nil,
		"# x":                                         nil,
		"caf\u00e9":                                   nil,
	} {
		if got := plainWords(command); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", command, got, want)
		}
	}
}

// A command that does not end is killed with everything it started.
func TestCommandTimeout(t *testing.T) {
	h := host
	h.Limit = 50 * time.Millisecond
	out := Deliver(t.Context(), job(Command, "sleep 1000 & sleep 1000; exit 0", body), h, nil)
	if out.Status != envelope.TempFail || out.Stat() != "Error (terminated; timeout)" {
		t.Errorf("%d %s", out.Status, out.Stat())
	}
}

// The end of the daemon comes while the command reads.
func TestCommandShutdown(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	j := job(Command, "cat >/dev/null; sleep 1000; exit 0", "")
	j.Body, j.Size = cancelingBody(cancel), 1<<20
	if got := Deliver(ctx, j, host, nil); got.Status != envelope.TempFail || got.Text != "terminated; shutdown" {
		t.Errorf("%+v", got)
	}
}

// cancelingBody is called when somebody reads behind its header.
type cancelingBody func()

func (c cancelingBody) ReadAt(p []byte, off int64) (int, error) {
	if off >= 128<<10 {
		c()
	}
	for i := range p {
		p[i] = '\n'
	}
	return len(p), nil
}

// A process that is left behind with the output in its hands does not hold up the mail.
func TestCommandLeavesProcess(t *testing.T) {
	j := job(Command, "echo now; sleep 5 & exit 75", body)
	wantOutcome(t, "background", deliver(t, j), envelope.TempFail, "now")
}
