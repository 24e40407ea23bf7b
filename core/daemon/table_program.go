package daemon

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	children "github.com/godwit-mta/godwit/compat/child"
	"github.com/godwit-mta/godwit/compat/privdrop"
	"github.com/godwit-mta/godwit/compat/reexec"
	"github.com/godwit-mta/godwit/compat/signals"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/trace"
	"github.com/godwit-mta/godwit/platform"
)

// Limits of the programs that serve tables.
const (
	mostTablePrograms = 128             // of one set, those of earlier configurations and of those that end included
	programGrace      = 2 * time.Second // from the end of the input to SIGTERM, and from that to SIGKILL
	maxStderrLine     = 1000            // octets of a line that a program writes to standard error
	mostStderrLines   = 100             // that are logged in each stderrSpan
	stderrSpan        = 10 * time.Second
)

// tablePrograms are the running programs of one set.
type tablePrograms struct {
	mu      sync.Mutex
	running map[uint64]*tableProgram
	last    uint64
	ending  bool
	alive   sync.WaitGroup
}

// tableProgram is a program that serves a table.
type tableProgram struct {
	table  string
	cmd    *exec.Cmd
	exited chan struct{}
	once   sync.Once
	told   atomic.Bool // that it shall end: how it does is no news then
}

// startTable starts the program of a table and gives lookup the socket to it.
func (p *parent) startTable(s *set, r *ipc.Request) {
	var req tableRequest
	if err := r.Decode(&req); err != nil {
		r.Fail(err)
		return
	}
	t, ok := s.granted.table(req.Generation, req.Name)
	if !ok || !served(&t) {
		r.Fail(fmt.Errorf("table %q is not served by a program", req.Name))
		return
	}
	cmd, err := p.tableCommand(&t)
	if err != nil {
		r.Fail(err)
		return
	}
	id, sock, err := s.programs.start(t.Name, cmd, p.log)
	if err != nil {
		r.Fail(err)
		return
	}
	r.Reply(&tableReply{ID: id}, sock)
}

// stopTable ends a program that lookup does not need any more, or that does not do what
// it should. Its socket is closed already.
func (p *parent) stopTable(s *set, r *ipc.Request) {
	var req tableStop
	if r.Decode(&req) == nil {
		s.programs.stop(req.ID)
	}
}

// served reports whether a table is served by a program.
func served(t *config.Table) bool {
	return !slices.Contains([]string{"static", "file", "db", "getpwnam"}, t.Backend)
}

// tableCommand gives the command of a table as OpenSMTPD runs it: the name of the table in
// the place of the program's own, then the path that the configuration gives. It runs as
// the daemon's user, with next to no environment.
func (p *parent) tableCommand(t *config.Table) (*exec.Cmd, error) {
	path, err := tableProgramPath(p.opts.Facts, t.Backend)
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{Path: path, Args: []string{t.Name}, Dir: "/", Env: programEnv()}
	if t.Path != "" {
		cmd.Args = append(cmd.Args, t.Path)
	}
	children.Isolate(cmd)
	cmd.Cancel = nil // there is no context
	if p.root {
		u := p.users.daemon
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

// tableProgramPath finds the program that serves tables of a type.
func tableProgramPath(facts platform.Facts, backend string) (string, error) {
	name := "table-" + backend
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
func (t *tablePrograms) start(table string, cmd *exec.Cmd, log *trace.Logger) (uint64, *os.File, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ending {
		return 0, nil, errEnding
	}
	if len(t.running) >= mostTablePrograms {
		return 0, nil, fmt.Errorf("more than %d programs of tables run", mostTablePrograms)
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
	id, prog := t.last, &tableProgram{table: table, cmd: cmd, exited: make(chan struct{})}
	t.running[id] = prog
	go logStderr(log, table, stderr)
	t.alive.Go(func() { t.wait(id, prog, log) })
	return id, ours, nil
}

func (t *tablePrograms) wait(id uint64, prog *tableProgram, log *trace.Logger) {
	_ = prog.cmd.Wait()
	close(prog.exited)
	t.mu.Lock()
	delete(t.running, id)
	t.mu.Unlock()
	say := log.Warnf
	if prog.told.Load() || prog.cmd.ProcessState.Success() {
		say = log.Debugf
	}
	say("table %q: program %s", prog.table, describe(signals.ExitStatus(prog.cmd.ProcessState)))
}

// stop ends one program in the background.
func (t *tablePrograms) stop(id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if prog := t.running[id]; prog != nil {
		t.stopLocked(prog)
	}
}

func (t *tablePrograms) stopLocked(prog *tableProgram) {
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
func (prog *tableProgram) goes() bool {
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
func (t *tablePrograms) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ending = true
	for _, prog := range t.running {
		prog.told.Store(true)
		t.stopLocked(prog)
	}
}

// logStderr logs what the program of a table writes to standard error. Long lines are cut
// into several; a program that writes too many loses some.
func logStderr(log *trace.Logger, table string, r io.ReadCloser) {
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
			log.Infof("table %q: %s", table, line)
		case count == mostStderrLines:
			count++
			log.Warnf("table %q: its program writes too much to standard error", table)
		}
		if err != nil {
			return
		}
	}
}
