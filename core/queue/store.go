package queue

import (
	"errors"
	"os"

	"github.com/godwit-mta/godwit/core/envelope"
)

// Store keeps messages. All methods may be called by several goroutines.
type Store interface {
	// Reserve gives n message ids that no message has. They stay taken until Commit used
	// them or Release gave them back.
	Reserve(n int) ([]envelope.MessageID, error)

	// Release gives ids back and removes what was streamed for them.
	Release(ids ...envelope.MessageID)

	// Create makes the file into which another process streams the body of a reserved id,
	// with LF line ends. It may be the write end of a pipe: who has it writes, and closes it
	// before Commit, which tells what went wrong behind the pipe.
	Create(id envelope.MessageID) (*os.File, error)

	// Commit makes a message durable. Concurrent callers share one sync.
	Commit(m *Message) error

	// Body gives the text of a message.
	Body(id envelope.MessageID) (Body, error)

	// Envelope gives an envelope as it was last committed or updated.
	Envelope(id envelope.ID) (*envelope.Envelope, error)

	// Apply makes changes durable. Changes of one message that follow each other are made
	// together or not at all. With the last envelope of a message the message goes. A
	// removal of what is gone already is no error; other changes of it are skipped and
	// reported as ErrNotFound after the rest was done. When a change cannot be written, it and
	// those that are made together with it are left out; the rest is done, and then the
	// error is that of the first one, names its envelope and is not Temporary. After a
	// Temporary error all has to be done again. Batches share one sync.
	Apply(changes []Change) error

	// Load calls f for every envelope that was queued when the store was opened and was not
	// removed since, in no order; to be called once. It ends with the first error of f,
	// or when the store is closed or nothing can be listed. A message that the disk does not
	// give is tried twice and logged, and left for FS.LoadAgain or the next start. Times in the future are set to now: a clock was wrong when they were written.
	Load(f func(*envelope.Envelope) error) error

	// Discover takes in what was put into the queue by hand for one message, and gives its
	// envelopes. Some of them may have been given before.
	Discover(id envelope.MessageID) ([]*envelope.Envelope, error)

	// Close writes everything out: without an error the journal is empty afterwards.
	Close() error
}

// Message is a message to be committed.
type Message struct {
	ID        envelope.MessageID
	Body      []byte // the whole message, or nil: the file of Create holds it
	Size      int64  // octets of the file of Create; not looked at when Body is given
	Envelopes []*envelope.Envelope
}

// Body is the text of a message: Bytes, or an open file of Size octets that the receiver
// only reads, from any offset, and closes.
type Body struct {
	Bytes []byte
	File  *os.File
	Size  int64
}

// Close closes the file, if there is one.
func (b Body) Close() error {
	if b.File == nil {
		return nil
	}
	return b.File.Close()
}

// Op says what a Change does.
type Op uint8

// The operations.
const (
	Update Op = iota + 1 // Envelope takes the place of the one with its ID
	Remove               // the envelope called ID goes
	Add                  // Envelope joins its message; with the low 32 bits zero its ID is assigned
)

// Change is one operation of Apply.
type Change struct {
	Op       Op
	ID       envelope.ID        // of Remove
	Envelope *envelope.Envelope // of Update and Add
}

// MaxEnvelopes is the largest number of envelopes that one message is committed with.
const MaxEnvelopes = 20000

// Errors of every Store. Those of the disk itself come as they are.
var (
	ErrNotFound = errors.New("no such message or envelope")
	ErrNoSpace  = errors.New("not enough free space in the spool")
	ErrExists   = errors.New("message id is in use")
	ErrSize     = errors.New("message file has not the announced size")
	ErrTooMany  = errors.New("too many envelopes")
	ErrClosed   = errors.New("queue is closed")
)

var errEmpty error = &invalidError{errors.New("a message needs an id and at least one")}

// Temporary reports whether an error of a Store may be gone at the next try. Errors of the
// disk are, as the lack of space is; asking for the impossible is not.
func Temporary(err error) bool {
	var bad *invalidError
	switch {
	case err == nil, errors.As(err, &bad):
		return false
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrExists), errors.Is(err, ErrSize), errors.Is(err, ErrTooMany):
		return false
	}
	return true
}

// invalidError is an envelope that cannot be written.
type invalidError struct{ err error }

func (e *invalidError) Error() string { return "invalid envelope: " + e.err.Error() }
func (e *invalidError) Unwrap() error { return e.err }
