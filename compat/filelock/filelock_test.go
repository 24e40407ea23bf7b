package filelock

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestMain is also the other process of TestProcesses: it holds a lock until it is killed.
func TestMain(m *testing.M) {
	path := os.Getenv("FILELOCK_HOLD")
	if path == "" {
		os.Exit(m.Run())
	}
	l, err := Take(path, 0)
	fmt.Println(err == nil)
	time.Sleep(time.Hour)
	_ = l.Release()
}

func TestOneProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := Take(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	var held *HeldError
	if _, err := Take(path, 0); !errors.As(err, &held) || held.PID != os.Getpid() {
		t.Errorf("taken twice: %v", err)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	if l, err = Take(path, 0); err != nil {
		t.Fatal(err)
	}
	l.Release()
}

// TestProcesses waits for a process that is killed while it has the lock.
func TestProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FILELOCK_HOLD="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "true\n" {
		t.Fatalf("the other process: %q, %v", line, err)
	}
	var held *HeldError
	_, err = Take(path, 0)
	if !errors.As(err, &held) || held.PID != cmd.Process.Pid || held.Error() != fmt.Sprintf("in use by process %d", held.PID) {
		t.Errorf("%v, want process %d", err, cmd.Process.Pid)
	}
	taken := make(chan error, 1)
	go func() {
		_, err := Take(path, time.Minute)
		taken <- err
	}()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if err := <-taken; err != nil {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "fifo", "", "missing/lock"} {
		if _, err := Take(filepath.Join(dir, name), 0); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
	path := filepath.Join(dir, "garbage")
	if err := os.WriteFile(path, []byte("no process number, and a long line"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Take(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	if b, err := os.ReadFile(path); err != nil || string(b) != fmt.Sprintln(os.Getpid()) {
		t.Errorf("it says %q, %v", b, err)
	}
}
