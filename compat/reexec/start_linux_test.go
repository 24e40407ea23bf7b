package reexec

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPolicy(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := unix.SchedGetAttr(0, 0)
	if err != nil || before.Policy != unix.SCHED_NORMAL {
		t.Skipf("these tests run under a policy of their own (%v)", err)
	}
	cmd, _ := start(t, "smtpd: test", nil)
	child, err := unix.SchedGetAttr(cmd.Process.Pid, 0)
	if err != nil || child.Policy != unix.SCHED_BATCH || child.Nice != before.Nice {
		t.Errorf("the role: %+v, %v", child, err)
	}
	after, err := unix.SchedGetAttr(0, 0)
	if err != nil || after.Policy != before.Policy || after.Nice != before.Nice {
		t.Errorf("who started it: %+v, %v, before %+v", after, err, before)
	}
}
