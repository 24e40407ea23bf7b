package daemon

import (
	"os"
	"testing"

	"github.com/godwit-mta/godwit/core/control"
)

func TestWhoMayAsk(t *testing.T) {
	me := uint32(os.Getuid())
	other := me + 1
	for _, c := range []struct {
		op      control.Op
		uid     uint32
		dropped bool
		want    bool
	}{
		{control.Enqueue, other, true, true},
		{control.Enqueue, other, false, true},
		{control.Stop, 0, true, true},
		{control.Stop, other, true, false},
		{control.Stop, other, false, false},
		{control.ShowMessage, me, false, true},
		{control.ShowMessage, me, true, me == 0}, // the daemon's own user is not root
	} {
		r := newControl(&member{}, c.dropped)
		if got := r.permitted(c.op, c.uid); got != c.want {
			t.Errorf("operation %d of user %d, root given up %v: %v", c.op, c.uid, c.dropped, got)
		}
	}
}
