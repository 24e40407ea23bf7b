package mda

import (
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/trace"
)

// Exit codes of sysexits.h that have a meaning here.
const (
	exUnavailable = 69
	exOSErr       = 71
	exTempFail    = 75
)

// sysexit gives the words for an exit code of sysexits.h, "" for another one. Log readers
// know them.
func sysexit(code int) string {
	switch code {
	case 64:
		return "command line usage error"
	case 65:
		return "data format error"
	case 66:
		return "cannot open input"
	case 67:
		return "user unknown"
	case 68:
		return "host name unknown"
	case exUnavailable:
		return "service unavailable"
	case 70:
		return "internal software error"
	case exOSErr:
		return "system resource problem"
	case 72:
		return "critical OS file missing"
	case 73:
		return "can't create user output file"
	case 74:
		return "input/output error"
	case exTempFail:
		return "temporary failure"
	case 76:
		return "remote error in protocol"
	case 77:
		return "permission denied"
	case 78:
		return "local configuration error"
	}
	return ""
}

// Stat is the outcome in the words of the log.
func (o Outcome) Stat() string {
	switch {
	case o.Status == envelope.Delivered:
		return "Delivered"
	case o.Status == envelope.Loop:
		return o.Text
	}
	return "Error (" + o.said() + ")"
}

// said is the text with the words of the exit code, which say more than many commands do.
func (o Outcome) said() string {
	if words := sysexit(o.Exit); words != "" {
		return words + ": " + o.Text
	}
	return o.Text
}

// Log writes the line about a delivery that the queue owes the administrator.
func Log(t *trace.Trace, e *envelope.Envelope, o Outcome, now time.Time) {
	result := "PermFail"
	switch o.Status {
	case envelope.Delivered:
		result = "Ok"
	case envelope.TempFail:
		result = "TempFail"
	}
	t.Infof("mda delivery evpid=%s from=<%s> to=<%s> rcpt=<%s> user=%s delay=%s result=%s stat=%s",
		e.ID, e.Sender, e.Dest, e.Rcpt, e.MDAUser, trace.Delay(now.Sub(e.Created)), result, o.Stat())
}

// clean makes text fit for the queue and the log.
func clean(s string) string {
	return envelope.CleanErrorLine(trace.Escape(s))
}

// quoted is clean with quotes around it, which keep what a program said apart from what
// we say.
func quoted(s string) string {
	s = trace.Escape(s)
	if len(s) > envelope.MaxErrorLine-2 {
		s = s[:envelope.MaxErrorLine-2]
	}
	return `"` + envelope.CleanErrorLine(s) + `"`
}
