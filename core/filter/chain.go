package filter

import "github.com/godwit-mta/godwit/core/trace"

// Member is a filter of a chain: a builtin one or a process.
type Member struct {
	Name    string
	Filter  Filter   // or
	Process *Process // which may be a member of many chains
}

// kind is the word for the filter in FilterReport.
func (m *Member) kind() string {
	if m.Process != nil {
		return "proc"
	}
	return "builtin"
}

// Chain is the filters of a listener or of a relay, in the order in which they are asked.
type Chain struct {
	members []Member
}

// NewChain makes a chain. It may be used by many sessions at once.
func NewChain(members ...Member) *Chain { return &Chain{members: members} }

// Open begins a session. Its trace tells what goes wrong. A nil chain gives a nil Link.
func (c *Chain) Open(s *Session, t *trace.Trace) *Link {
	if c == nil {
		return nil
	}
	l := &Link{Session: s, chain: c, t: t, parts: make([]part, len(c.members))}
	for i := range c.members {
		m, p := &c.members[i], &l.parts[i]
		switch {
		case m.Process == nil && s.Subsystem == SMTPOut: // it is about clients
		case m.Process == nil:
			p.phases = m.Filter.Phases()
		default:
			var wants registration
			p.life, wants = m.Process.now()
			p.phases = wants.filters[s.Subsystem]
			l.listen(p.life, wants.reports[s.Subsystem])
		}
		l.phases |= p.phases
	}
	return l
}

// listen notes that a process wants to know what happens. One that is in the chain twice is told
// once.
func (l *Link) listen(to *life, e events) {
	if to == nil || e == 0 {
		return
	}
	for _, o := range l.told {
		if o == to {
			return
		}
	}
	l.told = append(l.told, to)
	l.events |= e
}
