package daemon

import (
	"fmt"
	"os"
	"os/exec"

	"github.com/godwit-mta/godwit/compat/reexec"
	"github.com/godwit-mta/godwit/compat/signals"
	"github.com/godwit-mta/godwit/core/trace"
)

// process is a member, seen from outside.
type process struct {
	pid    int // 0 for a goroutine
	kill   func()
	exited <-chan string // one line that says how it ended, then closed
}

// spawner starts a role, and gives the parent's end of the socket to it.
type spawner func(role Role) (*os.File, *process, error)

// Processes gives a spawner that re-executes this program.
func Processes(log *trace.Logger, foreground bool) spawner {
	return func(role Role) (*os.File, *process, error) {
		ours, theirs, err := reexec.Socketpair()
		if err != nil {
			return nil, nil, err
		}
		defer theirs.Close()
		stderr, done, err := memberStderr(log, role, foreground)
		if err != nil {
			ours.Close()
			return nil, nil, err
		}
		cmd, err := reexec.Command(role.Title(), theirs, stderr)
		if err == nil {
			err = startRole(cmd, role)
		}
		done()
		if err != nil {
			ours.Close()
			return nil, nil, fmt.Errorf("cannot start %s: %w", role, err)
		}
		exited := make(chan string, 1)
		go func() {
			_ = cmd.Wait()
			exited <- describe(signals.ExitStatus(cmd.ProcessState))
			close(exited)
		}()
		return ours, &process{cmd.Process.Pid, func() { _ = cmd.Process.Kill() }, exited}, nil
	}
}

// startRole starts a role. Agents start programs of others, whose timers are their own affair.
func startRole(cmd *exec.Cmd, role Role) error {
	if role == Agent {
		return cmd.Start()
	}
	return reexec.Start(cmd)
}

// memberStderr gives the standard error of a member, and what closes our copy of it.
func memberStderr(log *trace.Logger, role Role, foreground bool) (*os.File, func(), error) {
	if foreground {
		return os.Stderr, func() {}, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	go logLines(log, role, r)
	return w, func() { w.Close() }, nil
}

// Goroutines gives a spawner that runs the roles inside this process, for tests.
func Goroutines(version string) spawner {
	return func(role Role) (*os.File, *process, error) {
		ours, theirs, err := reexec.Socketpair()
		if err != nil {
			return nil, nil, err
		}
		exited := make(chan string, 1)
		go func() {
			how := "exited"
			conn, err := reexec.Conn(theirs)
			if err == nil {
				err = RunMember(role, conn, version, nil)
			}
			if err != nil {
				how = err.Error()
			}
			exited <- how
			close(exited)
		}()
		return ours, &process{0, func() {}, exited}, nil
	}
}

// describe says how a process ended.
func describe(code int, signal string) string {
	if signal != "" {
		return "killed by " + signal
	}
	return fmt.Sprintf("exited with status %d", code)
}
