package privdrop

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const helperEnv = "PRIVDROP_TEST_HELPER"

func TestMain(m *testing.M) {
	if task := os.Getenv(helperEnv); task != "" {
		helper(task)
		return
	}
	os.Exit(m.Run())
}

func TestCheck(t *testing.T) {
	tests := []struct {
		name string
		id   Identity
		ok   bool
	}{
		{"ordinary", Identity{UID: 1000, GID: 1000, Groups: []uint32{8}}, true},
		{"root's group", Identity{UID: 1000}, true},
		{"root", Identity{GID: 1000}, false},
		{"no user", Identity{UID: 1<<32 - 1, GID: 1}, false},
		{"no group", Identity{UID: 1, GID: 1<<32 - 1}, false},
		{"no supplementary group", Identity{UID: 1, GID: 1, Groups: []uint32{1<<32 - 1}}, false},
	}
	for _, tt := range tests {
		if err := tt.id.Check(); (err == nil) != tt.ok {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
	if err := (Identity{}).Check(); !errors.Is(err, ErrRoot) {
		t.Errorf("root: got %v", err)
	}
}

func TestGroupList(t *testing.T) {
	tests := []struct {
		id   Identity
		want []uint32
	}{
		{Identity{GID: 5}, []uint32{5}},
		{Identity{GID: 5, Groups: []uint32{7, 5, 7, 6}}, []uint32{5, 7, 6}},
	}
	for _, tt := range tests {
		if got := tt.id.GroupList(); !slices.Equal(got, tt.want) {
			t.Errorf("%+v: got %v, want %v", tt.id, got, tt.want)
		}
	}
	many := make([]uint32, maxGroups+10)
	for i := range many {
		many[i] = uint32(i + 100)
	}
	if got := len((Identity{GID: 5, Groups: many}).GroupList()); got != maxGroups {
		t.Errorf("%d groups, want %d", got, maxGroups)
	}
}

func TestDropRefused(t *testing.T) {
	if err := Drop("", Identity{User: "root"}); !errors.Is(err, ErrRoot) {
		t.Errorf("root: got %v", err)
	}
	if err := Drop("relative", Identity{User: "u", UID: 1, GID: 1}); err == nil {
		t.Error("a relative root directory was taken")
	}
	missing := filepath.Join(t.TempDir(), "missing")
	if err := Drop(missing, Identity{User: "u", UID: 1, GID: 1}); err == nil {
		t.Error("a missing root directory was taken")
	}
}

// dropped is who the helper becomes.
var dropped = Identity{User: "test", UID: 65501, GID: 65502, Groups: []uint32{65503, 65502, 65504}}

// helper is what the test binary does when it is started by a test. It says "ready" or
// what went wrong, and waits for the end of its input.
func helper(task string) {
	say := func(err error) {
		if err != nil {
			fmt.Println(strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("ready")
		}
		var b [1]byte
		os.Stdin.Read(b[:])
	}
	what, root, _ := strings.Cut(task, ":")
	switch what {
	case "drop":
		holdThreads(8)
		say(dropAndLook(root))
	case "closefrom":
		say(closeAndLook())
	case "orphan":
		say(startOrphan())
	case "watch":
		if IsRoot() {
			if err := Drop("", dropped); err != nil {
				say(err)
				return
			}
		}
		say(DieWithParent())
	}
}

// holdThreads makes sure that the process has threads that are in the middle of
// something.
func holdThreads(n int) {
	ready := make(chan struct{})
	for range n {
		go func() {
			runtime.LockOSThread()
			ready <- struct{}{}
			select {}
		}()
	}
	for range n {
		<-ready
	}
}

func dropAndLook(root string) error {
	if err := Drop(root, dropped); err != nil {
		return err
	}
	if err := NoNewPrivs(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if err := DieWithParent(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if syscall.Setuid(0) == nil {
		return errors.New("setuid(0) works")
	}
	if IsRoot() || os.Getuid() != int(dropped.UID) || os.Getegid() != int(dropped.GID) {
		return fmt.Errorf("user %d group %d", os.Getuid(), os.Getegid())
	}
	if wd, err := os.Getwd(); err != nil || wd != "/" {
		return fmt.Errorf("working directory %q, %v", wd, err)
	}
	_, err := os.Stat("/etc/passwd")
	if inside := root != ""; inside == (err == nil) {
		return fmt.Errorf("root %q: /etc/passwd: %v", root, err)
	}
	return nil
}

func TestDrop(t *testing.T) {
	if !IsRoot() {
		t.Skip("only root can give up being root")
	}
	for _, root := range []string{"", t.TempDir()} {
		name := "in place"
		if root != "" {
			name = "chroot"
			if err := os.Chmod(root, 0o711); err != nil {
				t.Fatal(err)
			}
		}
		t.Run(name, func(t *testing.T) {
			cmd, done := startHelper(t, "drop:"+root)
			defer done()
			checkProcess(t, cmd.Process.Pid, root)
		})
	}
}

// startHelper starts the test binary as a helper and returns when it is ready.
func startHelper(t *testing.T, task string, files ...*os.File) (*exec.Cmd, func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = []string{helperEnv + "=" + task}
	cmd.ExtraFiles = files
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := func() {
		in.Close()
		cmd.Wait()
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "ready\n" {
		done()
		t.Fatalf("helper said %q, %v", line, err)
	}
	return cmd, done
}

// closeAndLook runs with descriptors 3 to 5 inherited and keeps 3.
func closeAndLook() error {
	r, w, err := os.Pipe() // wakes the poller, whose descriptors must live on
	if err != nil {
		return err
	}
	if err := CloseFrom(4); err != nil {
		return err
	}
	for fd, open := range map[int]bool{3: true, 4: false, 5: false} {
		var st syscall.Stat_t
		if err := syscall.Fstat(fd, &st); (err == nil) != open {
			return fmt.Errorf("descriptor %d: %v", fd, err)
		}
	}
	go w.Write([]byte("x"))
	var b [1]byte
	if _, err := r.Read(b[:]); err != nil {
		return fmt.Errorf("a pipe of ours: %w", err)
	}
	return nil
}

func TestCloseFrom(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	_, done := startHelper(t, "closefrom", r, w, r)
	done()
}

// startOrphan starts a process that outlives its parent's input and shares its output.
func startOrphan() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.Command(self)
	cmd.Env = []string{helperEnv + "=watch"}
	cmd.ExtraFiles = []*os.File{w} // so that its input never ends
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r, os.Stdout, os.Stderr
	return cmd.Start()
}

// A process whose parent is killed must not be left behind.
func TestDieWithParent(t *testing.T) {
	if err := DieWithParent(); errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = []string{helperEnv + "=orphan"}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout = w
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	// Parent and child say that they are ready.
	out := bufio.NewReader(r)
	for range 2 {
		if line, err := out.ReadString('\n'); line != "ready\n" {
			t.Fatalf("helper said %q, %v", line, err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	// The output ends when the last of them is gone.
	if rest, err := io.ReadAll(out); err != nil || len(rest) > 0 {
		t.Errorf("got %q, %v", rest, err)
	}
}

func TestRaiseFileLimit(t *testing.T) {
	n, err := RaiseFileLimit()
	if err != nil {
		t.Fatal(err)
	}
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	if uint64(lim.Cur) != n || n == 0 {
		t.Errorf("got %d, the system says %d", n, lim.Cur)
	}
}

func TestUmask(t *testing.T) {
	before := Umask(0o027)
	if got := Umask(before); got != 0o027 {
		t.Errorf("got %o, want 027", got)
	}
}
