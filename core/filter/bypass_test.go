package filter

import (
	"testing"

	"github.com/godwit-mta/godwit/core/trace"
)

// TestBypass: what was bypassed at one phase is not asked about at later ones.
func TestBypass(t *testing.T) {
	const all = 1<<phaseCount - 1
	for _, c := range []struct {
		at   Phase
		want map[Phase]bool // asked later, in this message and the next one
	}{
		{Connect, map[Phase]bool{}},
		{Ehlo, map[Phase]bool{}},
		{MailFrom, map[Phase]bool{}},
		{RcptTo, map[Phase]bool{RcptTo: true, Data: true, DataLine: true, Commit: true}},
		{Data, map[Phase]bool{}},
	} {
		first := &fixed{phases: Phases(0).With(c.at), d: Decision{Verdict: Bypass}}
		second := &fixed{phases: all}
		l := NewChain(Member{Name: "first", Filter: first}, Member{Name: "second", Filter: second}).Open(new(Session), trace.New(silent{}).NewTrace())
		if out := l.Ask(t.Context(), c.at, ""); out.Reply != nil || len(second.asked) != 0 {
			t.Errorf("%s: %v, asked %v", c.at, out, second.asked)
		}
		for _, p := range []Phase{RcptTo, Data, DataLine, Commit} {
			if l.Decides(p) != c.want[p] {
				t.Errorf("%s bypassed: decides %s: %t", c.at, p, !c.want[p])
			}
		}
		first.d = Decision{}
		second.asked = nil
		if l.Ask(t.Context(), Commit, ""); (len(second.asked) == 1) != c.want[Commit] {
			t.Errorf("%s bypassed: asked %v", c.at, second.asked)
		}
		l.Ask(t.Context(), MailFrom, "")
		if next := c.at >= MailFrom; l.Decides(Commit) != next {
			t.Errorf("%s bypassed: the next message: %t", c.at, !next)
		}
	}
}
