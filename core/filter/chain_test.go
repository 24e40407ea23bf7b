package filter

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/godwit-mta/godwit/core/trace"
)

func sprint(v any) string { return fmt.Sprint(v) }

// fixed decides the same each time, and keeps what it was asked.
type fixed struct {
	phases Phases
	d      Decision
	err    error
	asked  []string
}

func (f *fixed) Phases() Phases { return f.phases }

func (f *fixed) Decide(_ context.Context, _ *Session, p Phase, arg string) (Decision, error) {
	f.asked = append(f.asked, p.String()+" "+arg)
	return f.d, f.err
}

type silent struct{}

func (silent) Log(trace.Level, string) {}

func TestChain(t *testing.T) {
	mail := Phases(0).With(MailFrom)
	first := func(d Decision, err error) *fixed { return &fixed{phases: mail, d: d, err: err} }
	for name, c := range map[string]struct {
		first  *fixed
		want   Outcome
		code   int
		second string // what the next filter is asked
	}{
		"proceed":    {first(Decision{}, nil), Outcome{Arg: "a@b"}, 0, "[mail-from a@b]"},
		"rewrite":    {first(Decision{Rewrite, "c@d"}, nil), Outcome{Arg: "c@d", Rewritten: true}, 0, "[mail-from c@d]"},
		"report":     {first(Decision{Report, "hm"}, nil), Outcome{Arg: "a@b"}, 0, "[mail-from a@b]"},
		"junk":       {first(Decision{Verdict: Junk}, nil), Outcome{Arg: "a@b", Junk: true}, 0, "[mail-from a@b]"},
		"bypass":     {first(Decision{Verdict: Bypass}, nil), Outcome{Arg: "a@b"}, 0, "[]"},
		"reject":     {first(Decision{Reject, "550 no"}, nil), Outcome{Arg: "a@b"}, 550, "[]"},
		"reject 421": {first(Decision{Reject, "421 no"}, nil), Outcome{Arg: "a@b", Close: true}, 421, "[]"},
		"disconnect": {first(Decision{Disconnect, "550 no"}, nil), Outcome{Arg: "a@b", Close: true}, 550, "[]"},
		"no reply":   {first(Decision{Reject, "no"}, nil), Outcome{Arg: "a@b", Close: true}, 421, "[]"},
		"error":      {first(Decision{}, errors.New("no answer")), Outcome{Arg: "a@b"}, 451, "[]"},
		"other":      {&fixed{d: Decision{Reject, "550 no"}}, Outcome{Arg: "a@b"}, 0, "[mail-from a@b]"},
	} {
		second := &fixed{phases: mail}
		l := NewChain(Member{Name: "first", Filter: c.first}, Member{Name: "second", Filter: second}).Open(new(Session), trace.New(silent{}).NewTrace())
		out := l.Ask(context.Background(), MailFrom, "a@b")
		code := 0
		if out.Reply != nil {
			code = out.Reply.Code
		}
		if out.Reply = nil; out != c.want || code != c.code || sprint(second.asked) != c.second {
			t.Errorf("%s: %+v code %d, then %s", name, out, code, second.asked)
		}
	}
	var none *Chain
	l := none.Open(nil, nil)
	l.Report(LinkConnect)
	if out := l.Ask(context.Background(), Connect, "x"); out != (Outcome{Arg: "x"}) {
		t.Errorf("without a chain: %+v", out)
	}
	l.Close()
}

func TestNames(t *testing.T) {
	for p := range phaseCount {
		if q, ok := ParsePhase(p.String()); !ok || p != q {
			t.Errorf("phase %d is %q", p, p)
		}
	}
	for e := range eventCount {
		if f, ok := ParseEvent(e.String()); !ok || e != f {
			t.Errorf("event %d is %q", e, e)
		}
	}
	for v := range verdictCount {
		if w, ok := ParseVerdict(v.String()); !ok || v != w {
			t.Errorf("verdict %d is %q", v, v)
		}
	}
}
