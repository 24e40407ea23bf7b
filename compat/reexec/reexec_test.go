package reexec

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/godwit-mta/godwit/compat/privdrop"
)

const helperEnv = "REEXEC_TEST_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		helper()
		return
	}
	os.Exit(m.Run())
}

// helper tells over its socket what it was started with, and waits for the end.
func helper() {
	c, err := Socket()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	pgrp := syscall.Getpgrp()
	wd, _ := os.Getwd()
	fmt.Fprintf(c, "%q\n%q\n%d %d\n%s\n", os.Args, os.Environ(), os.Getpid(), pgrp, wd)
	for fd := range 3 {
		var st, null syscall.Stat_t
		err := syscall.Fstat(fd, &st)
		syscall.Stat("/dev/null", &null)
		fmt.Fprintf(c, "%d null %v %v\n", fd, st.Rdev == null.Rdev && st.Ino == null.Ino, err)
	}
	io.Copy(io.Discard, c)
}

// start runs the helper and gives our end of its socket.
func start(t *testing.T, title string, stderr *os.File) (*exec.Cmd, *net.UnixConn) {
	t.Helper()
	ours, theirs, err := Socketpair()
	if err != nil {
		t.Fatal(err)
	}
	cmd, err := Command(title, theirs, stderr, helperEnv+"=1")
	if err != nil {
		t.Fatal(err)
	}
	err = Start(cmd)
	theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Conn(ours)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		cmd.Wait()
	})
	return cmd, c
}

func TestCommand(t *testing.T) {
	t.Setenv("PATH", "/some/where")
	t.Setenv("TZ", "UTC")
	t.Setenv("LD_PRELOAD_OF_OURS", "must not be seen")
	cmd, c := start(t, "smtpd: queue", nil)
	pid := cmd.Process.Pid
	want := []string{
		`["smtpd: queue"]`,
		fmt.Sprintf("%q", []string{"PATH=/some/where", "GODEBUG=containermaxprocs=0,updatemaxprocs=0",
			fmt.Sprint("GOMAXPROCS=", runtime.GOMAXPROCS(0)), "TZ=UTC", helperEnv + "=1"}),
		fmt.Sprintf("%d %d", pid, pid),
		"/",
		"0 null true <nil>",
		"1 null true <nil>",
		"2 null true <nil>",
	}
	r := bufio.NewScanner(c)
	for _, w := range want {
		if !r.Scan() || r.Text() != w {
			t.Errorf("got %q, want %q (%v)", r.Text(), w, r.Err())
		}
	}
}

func TestStderr(t *testing.T) {
	pr, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pr.Close()
	cmd := func() *exec.Cmd {
		defer pw.Close()
		// A file that is no socket, so the helper complains.
		file, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		cmd, err := Command("smtpd: test", file, pw, helperEnv+"=1")
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}()
	said, err := io.ReadAll(pr)
	if err != nil || !strings.Contains(string(said), "not started by the daemon") {
		t.Errorf("standard error: %q, %v", said, err)
	}
	if cmd.Wait() == nil {
		t.Error("the helper took a file for its socket")
	}
}

func TestKillGroup(t *testing.T) {
	cmd, c := start(t, "smtpd: test", nil)
	if err := KillGroup(cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, c)
	cmd.Wait()
	if got := cmd.ProcessState.Sys().(syscall.WaitStatus).Signal(); got != syscall.SIGKILL {
		t.Errorf("ended by %v", got)
	}
	if err := KillGroup(cmd.Process.Pid, syscall.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("second time: %v", err)
	}
	for _, pid := range []int{1, 0, -1, -2} {
		if KillGroup(pid, syscall.Signal(0)) == nil {
			t.Errorf("%d was taken for a process group", pid)
		}
	}
}

func TestSocketpair(t *testing.T) {
	a, b, err := Socketpair()
	if err != nil {
		t.Fatal(err)
	}
	ca, err := Conn(a)
	if err != nil {
		t.Fatal(err)
	}
	defer ca.Close()
	cb, err := Conn(b)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		ca.Write([]byte("through"))
		ca.CloseWrite()
	}()
	if got, err := io.ReadAll(cb); err != nil || string(got) != "through" {
		t.Errorf("got %q, %v", got, err)
	}
	cb.Close()
	// The pair must not reach programs that are started without naming it.
	a, b, err = Socketpair()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	for _, f := range []*os.File{a, b} {
		name := strconv.Itoa(int(f.Fd()))
		out, err := exec.Command("/bin/sh", "-c", ": 2>/dev/null <&"+name+" && echo open").CombinedOutput()
		if err == nil || strings.Contains(string(out), "open") {
			t.Errorf("descriptor %s was inherited: %q", name, out)
		}
	}
}

func TestAs(t *testing.T) {
	if err := As(exec.Command("/bin/true"), "", privdrop.Identity{}); !errors.Is(err, privdrop.ErrRoot) {
		t.Errorf("root: %v", err)
	}
	if !privdrop.IsRoot() {
		t.Skip("only root can run programs as somebody else")
	}
	cmd := exec.Command("/bin/sh", "-c", "id -u; id -g; id -G")
	id := privdrop.Identity{User: "t", UID: 65501, GID: 65502, Groups: []uint32{65504}}
	if err := As(cmd, "/", id); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(string(out)); !slices.Equal(got, []string{"65501", "65502", "65502", "65504"}) {
		t.Errorf("got %q", got)
	}
	cmd = exec.Command("/bin/sh", "-c", "exit 0")
	if err := As(cmd, t.TempDir(), id); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Run(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in an empty root: %v", err)
	}
}
