// Package child runs programs that are stopped together with everything they started.
package child

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// Isolate makes cmd start in a session of its own, without a controlling terminal, and
// lets the end of the command's context kill its whole process group. It gets no open files
// but those of cmd. cmd must come from exec.CommandContext and not have been started.
func Isolate(cmd *exec.Cmd) {
	closeOnExec()
	cmd.SysProcAttr = attributes()
	cmd.Cancel = func() error { return KillGroup(cmd.Process) }
}

// KillGroup kills the group that p leads, at once. It gives os.ErrProcessDone when
// nobody is left in it.
func KillGroup(p *os.Process) error {
	if p == nil || p.Pid <= 1 {
		return os.ErrProcessDone
	}
	err := syscall.Kill(-p.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// Status tells how a process ended: by exit with a code, signal being 0, or by a signal,
// code being -1.
func Status(s *os.ProcessState) (code, signal int) {
	if ws, ok := s.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return -1, int(ws.Signal())
	}
	return s.ExitCode(), 0
}
