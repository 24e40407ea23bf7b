// Package mda delivers a message to a local user: into a maildir or an mbox file, to an
// LMTP server or to a command. It runs in a process that already is the user; it knows
// nothing of the queue, and what it returns is recorded there.
//
// A delivery that is Delivered is durable. After any other outcome nothing is left of it,
// with two exceptions that nobody can close: an LMTP server whose reply got lost, and a
// command that did its work before it failed.
package mda

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/compat/mailbox"
	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/trace"
)

// DefaultLimit is how long a delivery may take.
const DefaultLimit = 300 * time.Second

// Method is how a message is delivered.
type Method uint8

// The methods, with what Job.Path means for each.
const (
	Maildir Method = iota + 1 // Path is the directory
	Mbox                      // Path is the user's system mailbox
	LMTP                      // Path is host, host:port, [v6]:port or /socket
	Command                   // Path is a command of the configuration
	File                      // Path is an mbox file named by an alias or a .forward
	Pipe                      // Path is a command of an alias or a .forward
)

// names are what errors begin with; log readers know them from OpenSMTPD's helpers.
var names = [...]string{Maildir: "mail.maildir", Mbox: "mail.local", LMTP: "mail.lmtp",
	Command: "mail.mda", File: "mail.mboxfile", Pipe: "mail.mda"}

func (m Method) String() string {
	if int(m) < len(names) {
		return names[m]
	}
	return ""
}

// Job is one delivery of one message to one user.
type Job struct {
	Method     Method
	Path       string   // see Method; every specifier is expanded
	Argv       []string // Command, Pipe: what to execute without a shell, instead of Path
	Junk       bool     // maildir: what a filter marked as spam goes to the folder Junk
	RcptTo     bool     // lmtp: the recipient is Dest instead of User
	User       string   // system user who gets the delivery
	UID        uint32   // of User; never 0
	Home       string
	Sender     address.Address
	Rcpt       address.Address // as the client gave it
	Dest       address.Address // after expansion
	Subaddress string          // "detail" of user+detail
	Body       io.ReaderAt     // the message, LF line ends
	Size       int64           // of Body, octets
	// Wrapper, or without a shell WrapperArgv, is a command that is run around a method
	// other than Command and Pipe. It runs WrappedCommand in its turn.
	Wrapper     string
	WrapperArgv []string

	traced   bool     // the trace fields are in the body already
	handover *os.File // what becomes descriptor 3 of a command, or nil
}

// Outcome is what became of a Job. It has no pointers: it is made to be sent to the queue.
type Outcome struct {
	Status   envelope.Status
	Text     string // printable, at most envelope.MaxErrorLine octets; "" when delivered
	Exit     int    // code of sysexits.h that says more about Text, or 0
	EscClass uint8  // enhanced status that an LMTP server gave or an error stands for, or 0
	EscCode  uint16 // subject*100 + detail
}

// Host is what deliveries need to know of the system.
type Host struct {
	Hostname string
	Limit    time.Duration // for one delivery; 0 is DefaultLimit
	// CreateMailbox makes the missing system mailbox of a user, which needs more rights
	// than the user has. When it is nil the user makes it.
	CreateMailbox func(ctx context.Context, user string) error
}

// Agent makes the deliveries of one user, one at a time. It keeps buffers and the count
// that makes file names unique.
type Agent struct {
	host    Host
	count   uint64
	noDot   bool // the reason for a missing dotlock was logged
	reader  *bufio.Reader
	writer  *bufio.Writer
	scanned facts
}

// NewAgent gives an Agent for the user that the process is.
func NewAgent(h Host) *Agent {
	if h.Limit == 0 {
		h.Limit = DefaultLimit
	}
	return &Agent{host: h, reader: bufio.NewReaderSize(nil, 16<<10), writer: bufio.NewWriterSize(nil, 32<<10)}
}

// Deliver makes one delivery with a fresh Agent.
func Deliver(ctx context.Context, j *Job, h Host, t *trace.Trace) Outcome {
	return NewAgent(h).Deliver(ctx, j, t)
}

// Deliver makes one delivery. It logs only what an administrator should mend; the
// outcome is logged by who records it, with Log.
func (a *Agent) Deliver(ctx context.Context, j *Job, t *trace.Trace) Outcome {
	if out := j.check(); out.Status != 0 {
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, a.host.Limit)
	defer cancel()
	defer a.forget()
	var err error
	if a.scanned, err = a.scan(j); err != nil {
		return j.failed(err)
	}
	if a.scanned.loop {
		return Outcome{Status: envelope.Loop, Text: "Loop detected", EscClass: 5, EscCode: 406}
	}
	if j.Wrapper != "" || len(j.WrapperArgv) > 0 {
		return a.wrapped(ctx, j, t)
	}
	return a.deliver(ctx, j, t)
}

func (a *Agent) deliver(ctx context.Context, j *Job, t *trace.Trace) Outcome {
	var err error
	switch j.Method {
	case Maildir:
		err = a.maildir(j)
	case Mbox, File:
		err = a.mbox(ctx, j, t)
	case LMTP:
		return a.lmtp(ctx, j)
	default:
		return a.command(ctx, j)
	}
	if err != nil {
		return j.failed(err)
	}
	return Outcome{Status: envelope.Delivered}
}

// forget lets go of the message: an agent may wait long for the next one.
func (a *Agent) forget() {
	a.reader.Reset(nil)
	a.writer.Reset(nil)
}

// check refuses jobs that must not be carried out, whoever asks.
func (j *Job) check() Outcome {
	if j.UID == 0 {
		return refusal("MDA not allowed to deliver to: " + j.User)
	}
	if j.Method == 0 || int(j.Method) >= len(names) || j.Path == "" && len(j.Argv) == 0 || j.User == "" || j.Body == nil || j.Size < 0 {
		return refusal("incomplete delivery request")
	}
	for _, s := range [...]string{j.Path, j.Wrapper, j.User, j.Home, j.Subaddress, j.Sender.Local, j.Sender.Domain,
		j.Rcpt.Local, j.Rcpt.Domain, j.Dest.Local, j.Dest.Domain} {
		// Each stands in a header line, a protocol line or the environment.
		if strings.ContainsAny(s, "\x00\r\n") {
			return refusal("control character in delivery request")
		}
	}
	return Outcome{}
}

func refusal(text string) Outcome {
	return Outcome{Status: envelope.PermFail, Text: clean(text)}
}

// failed makes the outcome of an error of this host: whatever it is, the message can wait
// until it is mended.
func (j *Job) failed(err error) Outcome {
	exit := exTempFail
	if errors.Is(err, mailbox.ErrUnsafe) || errors.Is(err, mailbox.ErrOwner) {
		exit = exOSErr
	}
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	return Outcome{Status: envelope.TempFail, Text: quoted(j.Method.String() + ": " + text), Exit: exit, EscClass: 4, EscCode: errorCode(err)}
}

// Result is the outcome as the queue keeps it for an envelope.
func (o Outcome) Result(id envelope.ID) envelope.Result {
	class, code := o.enhanced()
	return envelope.Result{ID: id, Status: o.Status, Text: o.said(), EscClass: class, EscCode: code}
}
