// Package sendmail is what the program sendmail does apart from opening files: it reads the
// command line that programs have been using since the 1980s, finds the recipients, completes
// the header, and speaks SMTP with the server.
//
// It deviates from sendmail(8) where OpenSMTPD does: without -f the sender is taken from the
// From field, a line with only a dot never ends the input, and -bs is refused.
package sendmail

import "fmt"

// Exit codes of sysexits.h that the program ends with.
const (
	ExitOK          = 0
	ExitUsage       = 64 // the command line is wrong
	ExitUnavailable = 69 // nobody answers and the message cannot be kept
	ExitSoftware    = 70 // the message was refused
	ExitTempFail    = 75 // it may work later
)

// Error is a reason to end with an exit code.
type Error struct {
	Code int
	Text string
}

func (e *Error) Error() string { return e.Text }

func fail(code int, format string, args ...any) *Error {
	return &Error{code, fmt.Sprintf(format, args...)}
}
