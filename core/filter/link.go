package filter

import (
	"context"
	"errors"
	"fmt"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/trace"
)

// Link is the part that the filters of a chain take in one session. Its methods are called
// from one goroutine at a time; those of a nil Link do nothing.
type Link struct {
	*Session
	chain  *Chain
	t      *trace.Trace
	parts  []part // of the members of the chain
	phases Phases // that any of them decides in
	told   []*life
	events events // that any of told wants to know
	past   scope
}

// part is what one member has to do with the session.
type part struct {
	phases Phases
	life   *life // the process that knows the session; nil when none did run
}

// Outcome is what the filters of a chain decided together.
type Outcome struct {
	Arg       string            // what goes on, as the last filter left it
	Rewritten bool              // it is not what was asked about
	Junk      bool              // the message, or all of the session, is marked
	Reply     *gosmtp.SMTPError // nil when the command goes on
	Close     bool              // the session ends after the reply
}

// Decides reports whether any filter is asked in a phase.
func (l *Link) Decides(p Phase) bool {
	return l != nil && l.phases.Has(p) && (l.past == nothing || l.past == thisMessage && p == MailFrom)
}

// Deciding reports whether any filter is asked in any phase.
func (l *Link) Deciding() bool { return l != nil && l.phases != 0 }

// Ask has one filter after the other decide. arg is what the phase is about; more of it, which
// cannot be rewritten, is only for processes.
func (l *Link) Ask(ctx context.Context, p Phase, arg string, more ...string) Outcome {
	out := Outcome{Arg: arg}
	if l == nil || p == Help && !l.phases.Has(p) { // OpenSMTPD does not tell of it
		return out
	}
	if p == MailFrom && l.past == thisMessage {
		l.past = nothing
	}
	for i := range l.chain.members {
		if l.past != nothing {
			break
		}
		m, part := &l.chain.members[i], &l.parts[i]
		if p == Connect && part.phases != 0 && m.down(part) && !m.Process.FailOpen {
			out.Reply = l.broken(m.Name, p, errGone)
			break
		}
		if !part.phases.Has(p) {
			continue
		}
		d, err := l.decide(ctx, m, part, p, append([]string{out.Arg}, more...))
		if err != nil && p == Quit {
			break // there is nothing to lose any more
		}
		if err != nil && m.Process != nil && m.Process.FailOpen {
			l.broken(m.Name, p, err)
			continue
		}
		if err != nil {
			out.Reply = l.broken(m.Name, p, err)
			break
		}
		if l.apply(m, p, &d, &out) {
			break
		}
	}
	out.Close = out.Close || out.Reply != nil && out.Reply.Code == 421
	l.respond(p, &out)
	return out
}

// down reports whether a process does not run that the session would need.
func (m *Member) down(p *part) bool {
	return m.Process != nil && (p.life == nil || p.life.over())
}

func (l *Link) decide(ctx context.Context, m *Member, part *part, p Phase, args []string) (Decision, error) {
	switch {
	case m.Process == nil:
		return m.Filter.Decide(ctx, l.Session, p, args[0])
	case part.life == nil:
		return Decision{}, errGone
	}
	return part.life.decide(ctx, l.Session, p, args...)
}

// broken logs that a filter does not answer and gives the reply. A process that was started
// again knows nothing of the session: that cannot go on.
func (l *Link) broken(name string, p Phase, err error) *gosmtp.SMTPError {
	if !errors.Is(err, context.Canceled) { // the client has gone
		l.t.Warnf("%s filter %s: %s: %v", l.t.SID(), name, p, err)
	}
	if errors.Is(err, errGone) {
		return gone()
	}
	return failure()
}

// apply carries a decision out. It reports whether no further filter is to be asked.
func (l *Link) apply(m *Member, p Phase, d *Decision, out *Outcome) (last bool) {
	l.t.Tracef(trace.Filters, "filters: %s: %s %s: %s %q", l.t.SID(), m.Name, p, d.Verdict, d.Text)
	switch d.Verdict {
	case Junk:
		out.Junk = true
	case Bypass:
		l.bypass(p)
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
		out.Close = d.Verdict == Disconnect
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
	if l.t.Traces(trace.Filters) {
		l.t.Tracef(trace.Filters, "filters: %s: %s %s %q", l.t.SID(), l.Subsystem, e, params)
	}
	if !l.events.has(e) {
		return
	}
	now := time.Now()
	for _, to := range l.told {
		if to.reports[l.Subsystem].has(e) {
			to.report(l.Session, e, now, params)
		}
	}
}

// Close reports that the session has ended.
func (l *Link) Close() { l.Report(LinkDisconnect) }

// abbreviate keeps what is foreign from filling the log.
func abbreviate(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
