package mda

import (
	"context"
	"os"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/trace"
)

// WrappedCommand is the command that a wrapper runs for a method that has none of its own.
// It takes what the wrapper made of the message; the agent delivers that when the wrapper
// has ended well. So the delivery is the same as without a wrapper, and no path or address
// goes through the wrapper's shell.
const WrappedCommand = "/bin/cat >&3"

// wrapped runs the wrapper and delivers what it hands over. A wrapper that hands over
// nothing did the delivery itself.
func (a *Agent) wrapped(ctx context.Context, j *Job, t *trace.Trace) Outcome {
	taken, err := os.CreateTemp("", "smtpd.wrapper.")
	if err != nil {
		return j.failed(err)
	}
	defer taken.Close()
	if err := os.Remove(taken.Name()); err != nil {
		return j.failed(err)
	}
	run := *j
	run.Method, run.Path, run.Argv, run.handover = Command, j.Wrapper, j.WrapperArgv, taken
	if out := a.command(ctx, &run); out.Status != envelope.Delivered {
		return out
	}
	fi, err := taken.Stat()
	if err != nil {
		return j.failed(err)
	}
	if fi.Size() == 0 {
		return Outcome{Status: envelope.Delivered}
	}
	inner := *j
	inner.Wrapper, inner.WrapperArgv = "", nil
	inner.Body, inner.Size, inner.traced = taken, fi.Size(), true
	if a.scanned, err = a.scan(&inner); err != nil { // a filter may have marked it
		return j.failed(err)
	}
	return a.deliver(ctx, &inner, t)
}
