package reexec

import (
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// timerSlack is by how much timers of a role may be late, in nanoseconds. While there is work
// Go looks for calls that take long every 20 microseconds, with a thread of its own. In
// processes that work in short pieces and wait in between, as ours do, this costs more than it
// gains: a look every few milliseconds is enough.
const timerSlack = 4e6

// Start starts a command whose timers may be late by up to timerSlack.
func Start(cmd *exec.Cmd) error {
	// A process inherits the slack of the thread that starts it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err == nil && unix.Prctl(unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0) == nil {
		defer unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(before), 0, 0, 0)
	}
	return cmd.Start()
}
