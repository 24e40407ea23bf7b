package child

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestStatus(t *testing.T) {
	tests := []struct {
		script       string
		code, signal int
	}{
		{"exit 0", 0, 0},
		{"exit 75", 75, 0},
		{"kill -9 $$", -1, 9},
		{"kill -15 $$", -1, 15},
	}
	for _, tt := range tests {
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", tt.script)
		Isolate(cmd)
		_ = cmd.Run()
		if code, signal := Status(cmd.ProcessState); code != tt.code || signal != tt.signal {
			t.Errorf("%s: code %d signal %d, want %d %d", tt.script, code, signal, tt.code, tt.signal)
		}
	}
}

// The grandchild holds the pipe: only when it is dead too does the pipe end.
func TestCancelKillsTheGroup(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", "sleep 1000 & echo ready; wait")
	Isolate(cmd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	if line, err := r.ReadString('\n'); err != nil || strings.TrimSpace(line) != "ready" {
		t.Fatalf("first line %q, %v", line, err)
	}
	if sid, err := syscall.Getpgid(cmd.Process.Pid); err != nil || sid != cmd.Process.Pid {
		t.Errorf("process group %d of process %d, %v", sid, cmd.Process.Pid, err)
	}
	cancel()
	if _, err := r.ReadByte(); err == nil {
		t.Error("output after the kill")
	}
	_ = cmd.Wait()
	if _, signal := Status(cmd.ProcessState); signal != int(syscall.SIGKILL) {
		t.Errorf("signal %d, want SIGKILL", signal)
	}
}

func TestKillGroupWithoutProcess(t *testing.T) {
	for _, p := range []*os.Process{nil, {Pid: 0}, {Pid: 1}, {Pid: -1}} {
		if err := KillGroup(p); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("%v: %v", p, err)
		}
	}
}

// A descriptor without the mark stands for one that was inherited.
func TestIsolateClosesFiles(t *testing.T) {
	for name, mark := range map[string]func(){"all": closeOnExec, "each": closeOnExecEach} {
		var fds [2]int
		if err := syscall.Pipe(fds[:]); err != nil {
			t.Fatal(err)
		}
		mark()
		for _, fd := range fds {
			if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("%s: descriptor %d has flags %#x, %v", name, fd, flags, err)
			}
			_ = syscall.Close(fd)
		}
	}
}
