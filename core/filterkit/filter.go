package filterkit

import (
	"log"
	"time"
)

// Filter is a filter process: what it wants to hear of, what it decides, and its limits. All of it is
// set before Run. The zero value lets everything pass.
type Filter struct {
	In  Side // sessions of clients with the server
	Out Side // sessions of the server with others

	// Configured is called once with what the server says of itself. An error ends Run.
	Configured func(Config) error

	// Oversize is the answer at Commit for a message longer than MaxMessage, which goes on unseen
	// by Message. The zero value refuses it.
	Oversize *Answer

	MaxMessage  int // octets of a message that Message sees; 0 is 64 MiB
	MaxSessions int // sessions known at once; 0 is 65536. Further ones are refused with 421
	MaxActive   int // sessions in a handler at once; 0 is 1024
	MaxPending  int // octets read and not handled; 0 is 64 MiB

	Log *log.Logger // for what goes wrong in a session; nil is the default one
}

// Config is what the server says at the start.
type Config struct {
	Version        string // of the server
	Protocol       string
	ADMD           string        // the name for Authentication-Results (RFC 8601)
	SessionTimeout time.Duration // of a session in which nothing comes
	In, Out        bool          // whether there will be such sessions
	DecideIn       bool          // the server is Godwit, and asks for decisions about sessions of clients
	DecideOut      bool          // the same about outgoing ones
}

// Side is what a filter does with the sessions of one direction.
type Side struct {
	reports map[Event]func(*Session, []string)
	decides map[Phase]func(*Session, string) Answer
	lines   func(*Session, string, *Output)
	message func(*Session, *Message) Answer
}

// Report has h called for an event, with the arguments that are listed there. A server
// may leave some of them out.
func (d *Side) Report(e Event, h func(s *Session, args []string)) {
	if d.reports == nil {
		d.reports = make(map[Event]func(*Session, []string))
	}
	d.reports[e] = h
}

// Decide has h called to decide about a command with the value that is listed there. The
// client waits for the answer.
func (d *Side) Decide(p Phase, h func(s *Session, value string) Answer) {
	if d.decides == nil {
		d.decides = make(map[Phase]func(*Session, string) Answer)
	}
	d.decides[p] = h
}

// Lines has h called for each line of a message. What it writes to out takes the line's place; one that it does not
// write is gone. After the last line h is called once more if it wants to: see Output.AtEnd.
func (d *Side) Lines(h func(s *Session, line string, out *Output)) { d.lines, d.message = h, nil }

// Message has h called with each whole message. Its answer is given at Commit, before what Decide
// has for that phase is asked.
func (d *Side) Message(h func(s *Session, m *Message) Answer) { d.message, d.lines = h, nil }

// decisions says whether anything is decided on this side.
func (d *Side) decisions() bool { return len(d.decides) > 0 || d.lines != nil || d.message != nil }

func (d *Side) used() bool { return d.decisions() || len(d.reports) > 0 }

func (f *Filter) side(out bool) *Side {
	if out {
		return &f.Out
	}
	return &f.In
}

func or(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}
