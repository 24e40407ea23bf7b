package control

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/godwit-mta/godwit/core/envelope"
)

// Import is what QueueImport was answered: what became of the envelopes of one message.
type Import struct {
	Message string // its id in this queue
	Taken   uint64 // envelopes
	Known   uint64 // envelopes that were taken before
}

// A message that is imported comes through a pipe as
//
//	message MSGID SIZE ENVELOPES
//	EVPID LEN                     and LEN octets of the envelope's text, for each of them
//	SIZE octets of the message
//	end

// maxImportSize is the largest message that can be imported, in octets.
const maxImportSize = 1 << 40

const maxImportEnvelopes = 20000

var errImport = errors.New("the message to be imported came incomplete")

// WriteImport writes a message of size octets.
func WriteImport(w io.Writer, id envelope.MessageID, envs []*envelope.Envelope, size int64, body io.Reader) error {
	head := fmt.Appendf(nil, "message %s %d %d\n", id, size, len(envs))
	for _, e := range envs {
		text, err := e.AppendText(nil)
		if err != nil {
			return err
		}
		head = append(fmt.Appendf(head, "%s %d\n", e.ID, len(text)), text...)
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	if _, err := io.CopyN(w, body, size); err != nil {
		return err
	}
	_, err := io.WriteString(w, "end\n")
	return err
}

// ReadImport reads what comes before the message's text.
func ReadImport(r *bufio.Reader) (id envelope.MessageID, size int64, envs []*envelope.Envelope, err error) {
	var name string
	var n int
	if err := scanLine(r, "message %8s %d %d", &name, &size, &n); err != nil {
		return 0, 0, nil, err
	}
	id, err = envelope.ParseMessageID(name)
	if err != nil || size < 0 || size > maxImportSize || n < 1 || n > maxImportEnvelopes {
		return 0, 0, nil, errImport
	}
	for range n {
		e, err := readEnvelope(r)
		if err != nil {
			return 0, 0, nil, err
		}
		if e.ID.Message() != id {
			return 0, 0, nil, errImport
		}
		envs = append(envs, e)
	}
	return id, size, envs, nil
}

func readEnvelope(r *bufio.Reader) (*envelope.Envelope, error) {
	var name string
	var size int
	if err := scanLine(r, "%16s %d", &name, &size); err != nil {
		return nil, err
	}
	id, err := envelope.ParseID(name)
	if err != nil || size < 0 || size > envelope.MaxText {
		return nil, errImport
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, errImport
	}
	return envelope.Parse(id, text)
}

// scanLine reads a line, which fits into the reader's buffer.
func scanLine(r *bufio.Reader, format string, into ...any) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return errImport
	}
	if n, err := fmt.Sscanf(string(line), format+"\n", into...); err != nil || n != len(into) {
		return errImport
	}
	return nil
}

// EndImport makes sure that the message came whole.
func EndImport(r io.Reader) error {
	end := make([]byte, 4)
	if _, err := io.ReadFull(r, end); err != nil || string(end) != "end\n" {
		return errImport
	}
	return nil
}
