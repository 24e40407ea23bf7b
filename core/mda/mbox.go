package mda

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/compat/mailbox"
	"github.com/godwit-mta/godwit/core/trace"
)

// mbox appends to the system mailbox or to a file that an alias names.
func (a *Agent) mbox(ctx context.Context, j *Job, t *trace.Trace) error {
	if j.Method == File && j.Path == os.DevNull {
		return nil // the usual alias for mail that nobody wants
	}
	m, err := a.openMailbox(ctx, j, t)
	if err != nil {
		return err
	}
	now := time.Now()
	err = m.Append(func(w io.Writer) error {
		if _, err := io.WriteString(w, fromLine(j.Sender.String(), now)+j.prefix()); err != nil {
			return err
		}
		a.reader.Reset(j.body())
		return copyQuoted(w, a.reader)
	})
	_ = m.Close() // after Append all is on the disk
	return err
}

func (a *Agent) openMailbox(ctx context.Context, j *Job, t *trace.Trace) (*mailbox.Mailbox, error) {
	opts := a.options(j, t)
	m, err := mailbox.Open(ctx, j.Path, j.UID, opts)
	if !errors.Is(err, fs.ErrNotExist) || opts.Create {
		return m, err
	}
	if err := a.host.CreateMailbox(ctx, j.User); err != nil {
		return nil, err
	}
	return mailbox.Open(ctx, j.Path, j.UID, opts)
}

func (a *Agent) options(j *Job, t *trace.Trace) mailbox.Options {
	return mailbox.Options{
		AnyOwner: j.Method == File,
		Create:   j.Method == File || a.host.CreateMailbox == nil,
		Skipped: func(reason error) {
			if !a.noDot { // once is enough: it is so for each message
				a.noDot = true
				t.Infof("mda no dotlock for mailbox of user=%s: %v", j.User, reason)
			}
		},
	}
}

// fromLine begins a message in an mbox file, RFC 4155 appendix A. The date is that of
// asctime(3); a sender with a blank in it would end early for those who read the line.
func fromLine(sender string, now time.Time) string {
	if sender == "" {
		sender = "MAILER-DAEMON"
	}
	return "From " + strings.ReplaceAll(sender, " ", "_") + " " + now.Format(time.ANSIC) + "\n"
}

// copyQuoted writes the rest of a message as it stands in an mbox file: lines that look
// like the beginning of another message are quoted, the last line ends, and a blank line
// stands after it. r needs a buffer of at least 5 octets.
func copyQuoted(w io.Writer, r *bufio.Reader) error {
	beginning := true
	for {
		line, err := r.ReadSlice('\n')
		if beginning && bytes.HasPrefix(line, []byte("From ")) {
			if _, err := w.Write([]byte{'>'}); err != nil {
				return err
			}
		}
		if len(line) > 0 {
			if _, err := w.Write(line); err != nil {
				return err
			}
			beginning = line[len(line)-1] == '\n'
		}
		switch {
		case errors.Is(err, io.EOF):
			end := "\n"
			if !beginning {
				end = "\n\n"
			}
			_, err := io.WriteString(w, end)
			return err
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}
