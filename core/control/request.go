// Package control is what may be asked over the control socket: the requests and replies
// as plain data, who may ask, the command line grammar of smtpctl(8), and the lines that
// smtpctl prints. It opens no socket and touches no queue.
package control

import (
	"errors"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/stats"
)

// Op is what is asked for.
type Op uint8

// The operations, with the reply that each gets: see the types below. An operation that
// cannot be carried out is answered with an error instead.
const (
	Discover        Op = iota + 1 // Count
	PauseEnvelope                 // Count
	PauseMDA                      // nothing
	PauseMTA                      // nothing
	PauseSMTP                     // nothing
	ResumeEnvelope                // Count
	ResumeMDA                     // nothing
	ResumeMTA                     // nothing
	ResumeSMTP                    // nothing
	ResumeRoute                   // nothing; Route
	ShowEnvelope                  // Text
	ShowHosts                     // Text
	ShowHostStats                 // Text
	ShowMessage                   // Text, or nothing and a descriptor of the message
	ShowQueue                     // QueuePage; ask again with Next for First
	ShowRelays                    // Text
	ShowRoutes                    // Text
	ShowStats                     // Stats
	ShowStatus                    // Status
	LogBrief                      // nothing
	LogVerbose                    // nothing
	Monitor                       // Stats
	QueueAction                   // Count; Name of the action
	QueueImport                   // Import; a pipe comes with it, see importing.go
	QueueActionHeld               // Count; the same for those of the range that are held
	Remove                        // Count
	Schedule                      // Count
	Trace                         // nothing; Name
	Untrace                       // nothing; Name
	UpdateTable                   // nothing; Name
	Reload                        // nothing
	Stop                          // nothing
	BlockMTA                      // nothing; Source and Domain, at least one
	UnblockMTA                    // the same
	ShowBlocks                    // Text
	Enqueue                       // a descriptor on which the server speaks SMTP
	Encrypt                       // asked of nobody: smtpctl does it itself; Name, may be empty
	EncryptScram                  // the same
	SPFWalk                       // asked of nobody; Name, a file or empty for standard input
	ConvertConfig                 // asked of nobody; Name, a file
	ops
)

// Request is what smtpctl and sendmail ask. The envelopes that it is about are those from
// First to Last, both included.
type Request struct {
	Op    Op
	First envelope.ID
	Last  envelope.ID
	Name  string // of a table, an action or a trace subsystem, at most MaxName octets
	Route uint64
	// Client is whose sessions are traced: a session, an address, a network, or "local"; at most
	// MaxName octets.
	Client string

	Source string // an address
	Domain string
}

// ErrTraceClient is said of a client that cannot be traced.
var ErrTraceClient = errors.New("only smtp and mta can be traced for a session (its 16 digits in the log), an address or a network, and smtp for \"local\"")

// MaxName is the longest Name that the daemon takes, in octets.
const MaxName = 1024

// Check refuses a request that no smtpctl sends.
func (r *Request) Check() bool {
	return r.Op > 0 && r.Op < ops && !r.Op.Alone() && r.First <= r.Last && len(r.Name) <= MaxName && len(r.Client) <= MaxName &&
		len(r.Source) <= MaxName && len(r.Domain) <= MaxName
}

// Alone reports whether smtpctl carries the operation out without the daemon.
func (op Op) Alone() bool {
	return op == Encrypt || op == EncryptScram || op == SPFWalk || op == ConvertConfig
}

// Changes reports whether the operation changes the envelopes of a range; all of these are answered with a Count.
func (op Op) Changes() bool {
	switch op {
	case PauseEnvelope, ResumeEnvelope, QueueAction, QueueActionHeld, Remove, Schedule:
		return true
	}
	return false
}

// Allowed reports whether a user may ask for the operation. Everybody may submit mail;
// all that shows or changes the mail of others is for root.
func (op Op) Allowed(uid uint32) bool { return uid == 0 || op == Enqueue }

// Count says how many envelopes an operation changed. A large range is worked at in parts.
type Count struct {
	N     uint64
	Next  envelope.ID // where the rest of the range begins: ask again with it for First; 0: all was done
	Error string      // why the first that was left out was, which is an error when none is changed
}

// Text is text that is printed as it is.
type Text struct{ Text string }

// Stats are the counters of all processes.
type Stats struct {
	Values []stats.Value // in the order of their names
	Uptime int64         // seconds
}

// Status says what is paused.
type Status struct{ MDA, MTA, SMTP bool }

// QueuePage is a part of the queue, in the order of the ids.
type QueuePage struct {
	Lines   []byte      // as smtpctl prints them
	Next    envelope.ID // where the next page begins; 0: this was the last
	Loading bool        // there may be envelopes that were not read yet since the start
}
