// Package signals names the signals of the system, so that no other package has to
// import syscall, and says how a process ended.
package signals

import (
	"os"
	"os/signal"
	"syscall"
)

// The signals that a mail server sends or takes. They are the same on every system.
const (
	Terminate = syscall.SIGTERM
	Interrupt = syscall.SIGINT
	Hangup    = syscall.SIGHUP
	Kill      = syscall.SIGKILL
	Child     = syscall.SIGCHLD
	Pipe      = syscall.SIGPIPE
	User1     = syscall.SIGUSR1
	User2     = syscall.SIGUSR2
)

// Notify gives a channel on which the signals arrive. It holds a few, so that none is
// lost while the reader is busy; of several of one kind one is enough. stop gives the
// signals back their default meaning and must be called once.
func Notify(sigs ...os.Signal) (c <-chan os.Signal, stop func()) {
	ch := make(chan os.Signal, 2*len(sigs)+1)
	signal.Notify(ch, sigs...)
	return ch, func() { signal.Stop(ch) }
}

// Ignore makes the process deaf to the signals.
func Ignore(sigs ...os.Signal) { signal.Ignore(sigs...) }

// ExitStatus says how a process ended. After an exit, code is its status (0 to 255) and
// name is empty; after a signal, code is -1 and name is the signal's, "SIGTERM" or
// "signal 77" when it has none. A nil state, which belongs to a process that never
// started, is -1 and empty.
func ExitStatus(state *os.ProcessState) (code int, name string) {
	if state == nil {
		return -1, ""
	}
	w, ok := state.Sys().(syscall.WaitStatus)
	if ok && w.Signaled() {
		return -1, Name(w.Signal())
	}
	return state.ExitCode(), ""
}
