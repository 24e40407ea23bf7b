package filter

import "github.com/godwit-mta/godwit/core/trace"

// Member is a filter of a chain: a builtin one.
type Member struct {
	Name   string
	Filter Filter
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
	return &Link{Session: s, chain: c, t: t}
}
