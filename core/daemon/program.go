package daemon

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	children "github.com/godwit-mta/godwit/compat/child"
	"github.com/godwit-mta/godwit/compat/privdrop"
	"github.com/godwit-mta/godwit/compat/reexec"
	"github.com/godwit-mta/godwit/compat/signals"
	"github.com/godwit-mta/godwit/compat/user"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/trace"
	"github.com/godwit-mta/godwit/platform"
)

// Limits of the programs that serve tables and backends, and of filter processes.
const (
	mostPrograms    = 128             // of one set, those of earlier configurations and of those that end included
	programGrace    = 2 * time.Second // from the end of the input to SIGTERM, and from that to SIGKILL
	maxStderrLine   = 1000            // octets of a line that a program writes to standard error
	mostStderrLines = 100             // that are logged in each stderrSpan
	stderrSpan      = 10 * time.Second
)

// programs are the running programs of one set.
type programs struct {
	mu      sync.Mutex
	running map[uint64]*runningProgram
	last    uint64
	ending  bool
	alive   sync.WaitGroup
}

// runningProgram is a program that serves a table, is a backend or a filter.
type runningProgram struct {
	role   Role   // has the other end of its socket
	name   string // in the log
	cmd    *exec.Cmd
	exited chan struct{}
	once   sync.Once
	told   atomic.Bool // that it shall end: how it does is no news then
}

// programCommand gives a command that runs as a user, with next to no environment. Its first
// argument stands in the place of the program's own name.
func (p *parent) programCommand(path string, u *user.User, args ...string) (*exec.Cmd, error) {
	cmd := &exec.Cmd{Path: path, Args: args, Dir: "/", Env: programEnv()}
	children.Isolate(cmd)
	cmd.Cancel = nil // there is no context
	if p.root {
		id := privdrop.Identity{User: u.Name, UID: u.UID, GID: u.GID, Groups: []uint32{u.GID}}
		if err := reexec.As(cmd, "", id); err != nil {
			return nil, err
		}
	}
	return cmd, nil
}

// programEnv is the environment of programs that the daemon runs for itself.
func programEnv() []string {
	env := []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin:/usr/local/sbin"}
	if tz, ok := os.LookupEnv("TZ"); ok {
		env = append(env, "TZ="+tz)
	}
	return env
}

// programPath finds a program among those that come with the server.
func programPath(facts platform.Facts, name string) (string, error) {
	for _, dir := range append([]string{facts.Libexec}, facts.Helpers...) {
		path := filepath.Join(dir, name)
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no program %s", filepath.Join(facts.Libexec, name))
}

// start starts a program and gives our end of the socket that is its standard input and
// output.
func (t *programs) start(role Role, name string, cmd *exec.Cmd, log *trace.Logger) (uint64, *os.File, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ending {
		return 0, nil, errEnding
	}
	if len(t.running) >= mostPrograms {
		return 0, nil, fmt.Errorf("more than %d programs run", mostPrograms)
	}
	ours, theirs, err := reexec.Socketpair()
	if err != nil {
		return 0, nil, err
	}
	defer theirs.Close()
	stderr, w, err := os.Pipe()
	if err != nil {
		ours.Close()
		return 0, nil, err
	}
	defer w.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, w
	if err := cmd.Start(); err != nil {
		ours.Close()
		stderr.Close()
		return 0, nil, err
	}
	t.last++
	id, prog := t.last, &runningProgram{role: role, name: name, cmd: cmd, exited: make(chan struct{})}
	t.running[id] = prog
	go logStderr(log, name, stderr)
	t.alive.Go(func() { t.wait(id, prog, log) })
	return id, ours, nil
}

func (t *programs) wait(id uint64, prog *runningProgram, log *trace.Logger) {
	_ = prog.cmd.Wait()
	close(prog.exited)
	t.mu.Lock()
	delete(t.running, id)
	t.mu.Unlock()
	say := log.Warnf
	if prog.told.Load() || prog.cmd.ProcessState.Success() {
		say = log.Debugf
	}
	say("%s: program %s", prog.name, describe(signals.ExitStatus(prog.cmd.ProcessState)))
}

// stop ends one program of a role in the background.
func (t *programs) stop(role Role, id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if prog := t.running[id]; prog != nil && prog.role == role {
		t.stopLocked(prog)
	}
}

func (t *programs) stopLocked(prog *runningProgram) {
	prog.once.Do(func() {
		t.alive.Go(func() {
			if prog.goes() {
				return
			}
			prog.told.Store(true)
			_ = reexec.KillGroup(prog.cmd.Process.Pid, signals.Terminate)
			if prog.goes() {
				return
			}
			_ = children.KillGroup(prog.cmd.Process)
		})
	})
}

// goes waits a while for the end of the program.
func (prog *runningProgram) goes() bool {
	timer := time.NewTimer(programGrace)
	defer timer.Stop()
	select {
	case <-prog.exited:
		return true
	case <-timer.C:
		return false
	}
}

// end ends all programs; none is started any more.
func (t *programs) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ending = true
	for _, prog := range t.running {
		prog.told.Store(true)
		t.stopLocked(prog)
	}
}

// logStderr logs what a program writes to standard error. Long lines are cut
// into several; a program that writes too many loses some.
func logStderr(log *trace.Logger, name string, r io.ReadCloser) {
	defer r.Close()
	lines := bufio.NewReaderSize(r, maxStderrLine)
	var since time.Time
	count := 0
	for {
		line, _, err := lines.ReadLine()
		if now := time.Now(); now.Sub(since) > stderrSpan {
			since, count = now, 0
		}
		switch {
		case len(line) == 0:
		case count < mostStderrLines:
			count++
			log.Infof("%s: %s", name, line)
		case count == mostStderrLines:
			count++
			log.Warnf("%s: its program writes too much to standard error", name)
		}
		if err != nil {
			return
		}
	}
}

// stopProgram ends a program that a role does not need any more, or that does not do what
// it should. Its socket is closed already.
func stopProgram(s *set, from Role, r *ipc.Request) {
	var req programStop
	if r.Decode(&req) == nil {
		s.programs.stop(from, req.ID)
	}
}

// giveProgram starts a program and answers with the socket to it. err is why there is no cmd.
func (p *parent) giveProgram(s *set, r *ipc.Request, to Role, name string, cmd *exec.Cmd, err error) {
	if err != nil {
		r.Fail(err)
		return
	}
	id, sock, err := s.programs.start(to, name, cmd, p.log)
	if err != nil {
		r.Fail(err)
		return
	}
	r.Reply(&programReply{ID: id}, sock)
}
