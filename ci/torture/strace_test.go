package torture

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// changing are the system calls that change something outside of the process.
const changing = "openat,write,writev,pwrite64,pwritev,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat," +
	"mkdir,mkdirat,rmdir,ftruncate,sendmsg,sendto,clone,clone3,execve"

// heldUp is how long a call waits before it is carried out, so that the harness can do something
// before it.
const heldUp = 10 * time.Millisecond

// tracer is strace on a running process.
type tracer struct {
	cmd    *exec.Cmd
	step   func(n int, call string) // at the n-th call, which has not been carried out
	mu     sync.Mutex
	n      int
	ended  chan struct{}
	joined chan struct{} // it has the process
	once   sync.Once
}

// trace attaches to all threads of a process. With arguments it injects what they say;
// otherwise it holds up calls that change something and tells step of each.
func trace(t *testing.T, pid int, step func(n int, call string), args ...string) *tracer {
	t.Helper()
	if len(args) == 0 {
		args = []string{"-e", "trace=" + changing, "-e", "inject=" + changing + ":delay_enter=" + strconv.Itoa(int(heldUp.Microseconds()))}
	}
	s := &tracer{step: step, ended: make(chan struct{}), joined: make(chan struct{})}
	s.cmd = exec.Command("strace", append([]string{"-f", "-s", "16", "-e", "signal=none", "-p", strconv.Itoa(pid)}, args...)...)
	out, err := s.cmd.StderrPipe()
	must(t, err)
	must(t, s.cmd.Start())
	go func() {
		s.read(bufio.NewReader(out))
		_ = s.cmd.Wait()
		close(s.ended)
	}()
	select {
	case <-s.joined:
	case <-s.ended: // the process ended first
	case <-time.After(10 * time.Second):
		t.Error("strace does not attach")
	}
	return s
}

// call is the beginning of a line about a call.
var call = regexp.MustCompile(`^(?:\[pid +\d+\] )?([a-z0-9]+)\(`)

// read takes what strace writes: a call is written when it begins, the end of its line when
// it is over or another thread comes in between.
func (s *tracer) read(r *bufio.Reader) {
	line, counted := "", false
	for {
		c, err := r.ReadByte()
		if err != nil {
			return
		}
		if c != '\n' {
			line += string(c)
		}
		if strings.HasSuffix(line, " attached") {
			s.once.Do(func() { close(s.joined) })
		}
		if (c == '\n' || r.Buffered() == 0) && !counted && call.MatchString(line) {
			counted = true
			s.count(line)
		}
		if c == '\n' {
			line, counted = "", false
		}
	}
}

// count counts a call, unless it changes nothing: files that are only read, the log,
// and what Go's runtime wakes itself with.
func (s *tracer) count(line string) {
	name := call.FindStringSubmatch(line)[1]
	switch {
	case name == "openat" && !strings.Contains(line, "O_CREAT"), strings.Contains(line, "write(2,"), strings.Contains(line, `"\1\0\0\0\0\0\0\0", 8`):
		return
	}
	s.mu.Lock()
	s.n++
	n := s.n
	s.mu.Unlock()
	if s.step != nil {
		s.step(n, line)
	}
}

func (s *tracer) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

// detach leaves the process to itself.
func (s *tracer) detach() {
	if err := s.cmd.Process.Signal(os.Interrupt); errors.Is(err, os.ErrProcessDone) {
		return
	}
	select {
	case <-s.ended:
	case <-time.After(10 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
}
