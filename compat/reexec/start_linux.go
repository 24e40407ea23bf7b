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

// Start starts a command whose timers may be late by up to timerSlack and which does not take the
// processor from who wakes it.
func Start(cmd *exec.Cmd) error {
	// A process inherits both from the thread that starts it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err == nil && unix.Prctl(unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0) == nil {
		defer unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(before), 0, 0, 0)
	}
	if attr, err := unix.SchedGetAttr(0, 0); err == nil && attr.Policy == unix.SCHED_NORMAL {
		defer setPolicy(unix.SCHED_NORMAL, attr.Nice)
		setPolicy(unix.SCHED_BATCH, attr.Nice)
	}
	return cmd.Start()
}

// setPolicy says how the kernel schedules this thread. Under sched(7) SCHED_BATCH a role that a message
// wakes runs when a processor is free or its turn comes, and does not interrupt who sent
// it in the middle of its work: what else is sent meanwhile is read in the same go. It gets as much of
// the processors as before. That a kernel refuses is no harm.
func setPolicy(policy uint32, nice int32) {
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policy, Nice: nice}, 0)
}
