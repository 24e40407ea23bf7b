package filter

import (
	"context"
	"fmt"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/trace"
)

// Link is the part that the filters of a chain take in one session. Its methods are called
// from one goroutine at a time; those of a nil Link do nothing.
type Link struct {
	*Session
	chain *Chain
	t     *trace.Trace
}

// Outcome is what the filters of a chain decided together.
type Outcome struct {
	Arg       string            // what goes on, as the last filter left it
	Rewritten bool              // it is not what was asked about
	Junk      bool              // the message, or all of the session, is marked
	Reply     *gosmtp.SMTPError // nil when the command goes on
	Close     bool              // the session ends after the reply
}

// Ask has one filter after the other decide.
func (l *Link) Ask(ctx context.Context, p Phase, arg string) Outcome {
	out := Outcome{Arg: arg}
	if l == nil {
		return out
	}
	d := Decision{}
	for i := range l.chain.members {
		m := &l.chain.members[i]
		if !m.Filter.Phases().Has(p) {
			continue
		}
		var err error
		if d, err = m.Filter.Decide(ctx, l.Session, p, out.Arg); err != nil {
			l.t.Warnf("%s filter %s: %s: %v", l.t.SID(), m.Name, p, err)
			out.Reply = failure()
			return out
		}
		if l.apply(m, p, &d, &out) {
			break
		}
	}
	l.respond(p, &out)
	return out
}

// apply carries a decision out. It reports whether no further filter is to be asked.
func (l *Link) apply(m *Member, p Phase, d *Decision, out *Outcome) (last bool) {
	l.t.Tracef(trace.Filters, "filters: %s: %s %s: %s %s", l.t.SID(), m.Name, p, d.Verdict, d.Text)
	switch d.Verdict {
	case Junk:
		out.Junk = true
		return true
	case Bypass:
		return true
	case Report:
		l.Report(FilterReport, m.kind(), m.Name, d.Text)
	case Rewrite:
		out.Arg, out.Rewritten = d.Text, true
	case Reject, Disconnect:
		var ok bool
		if out.Reply, ok = ParseReply(d.Text); !ok {
			l.t.Warnf("%s filter %s: %s: %q is no reply", l.t.SID(), m.Name, p, abbreviate(d.Text))
			out.Reply = gone()
		}
		out.Close = d.Verdict == Disconnect || out.Reply.Code == 421
		return true
	}
	return false
}

// respond reports what came out of a phase.
func (l *Link) respond(p Phase, out *Outcome) {
	name := p.String()
	switch p { // the names that OpenSMTPD uses here
	case Connect:
		name = "connected"
	case StartTLS:
		name = "tls"
	}
	switch {
	case out.Reply != nil:
		verdict := Reject
		if out.Close {
			verdict = Disconnect
		}
		l.Report(FilterResponse, name, verdict.String(), fmt.Sprintf("%d %s", out.Reply.Code, out.Reply.Message))
	case out.Junk:
		l.Report(FilterResponse, name, Junk.String())
	case out.Rewritten:
		l.Report(FilterResponse, name, Rewrite.String(), out.Arg)
	default:
		l.Report(FilterResponse, name, Proceed.String())
	}
}

// Report tells those filters of an event that want to know it.
func (l *Link) Report(e Event, params ...string) {
	if l == nil {
		return
	}
	l.t.Tracef(trace.Filters, "filters: %s: %s %s %q", l.t.SID(), l.Subsystem, e, params)
}

// Close ends the part of the filters.
func (l *Link) Close() {}

// kind is the word for the filter in FilterReport.
func (m *Member) kind() string { return "builtin" }

// abbreviate keeps what is foreign from filling the log.
func abbreviate(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
