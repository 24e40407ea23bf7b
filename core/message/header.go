// Package message looks at the header section of a message and writes the fields that a
// mail server adds. It works on octets with LF line ends and knows nothing of sessions.
package message

import (
	"bytes"
	"errors"
)

// MaxReceived is the number of Received fields from which on a message is taken to be
// in a loop (RFC 5321 section 6.3).
const MaxReceived = 100

// Errors about headers; all of them are permanent. ErrTooLarge is for those who need the
// whole section, to change it, and did not find its end in what they are willing to hold.
var (
	ErrFormat   = errors.New("message is not RFC 2822 compliant")
	ErrLoop     = errors.New("loop detected")
	ErrTooLarge = errors.New("header section too large")
)

// Header is what Scan found out about a header section.
type Header struct {
	Len          int  // octets of the fields, without the empty line after them
	Complete     bool // the end of the section was seen
	HasDate      bool
	HasMessageID bool
	HasFrom      bool
	TLSOptional  bool // TLS-Required: No (RFC 8689 section 3)
	Received     int  // number of Received fields
}

// Scan reads the header section at the beginning of b; whole says that b is the whole
// message and not only its first part. A section that is longer than b is reported as
// not complete: Header then covers the fields that b has in full.
//
// As in OpenSMTPD the section ends with an empty line or with the message; a line in it
// that is neither a field nor the continuation of one is ErrFormat.
func Scan(b []byte, whole bool) (Header, error) {
	var h Header
	for h.Len < len(b) {
		line := b[h.Len:]
		end := bytes.IndexByte(line, '\n')
		switch {
		case end >= 0:
			line = line[:end]
		case !whole:
			return h, nil
		}
		if len(line) == 0 {
			h.Complete = true
			return h, nil
		}
		if err := h.line(line); err != nil {
			return h, err
		}
		h.Len = min(h.Len+len(line)+1, len(b))
	}
	h.Complete = whole
	return h, nil
}

func (h *Header) line(line []byte) error {
	if line[0] == ' ' || line[0] == '\t' {
		if h.Len == 0 {
			return ErrFormat // it continues nothing
		}
		return nil
	}
	name := fieldName(line)
	switch {
	case name == nil:
		return ErrFormat
	case is(name, "Received"):
		if h.Received++; h.Received >= MaxReceived {
			return ErrLoop
		}
	case is(name, "Date"):
		h.HasDate = true
	case is(name, "Message-ID"):
		h.HasMessageID = true
	case is(name, "From"):
		h.HasFrom = true
	case is(name, "TLS-Required"):
		_, value, _ := bytes.Cut(line, []byte{':'})
		h.TLSOptional = is(bytes.TrimSpace(value), "No")
	}
	return nil
}

// fieldName gives what stands before the colon, nil when that is no name. Blanks before
// the colon are obsolete syntax that is still met (RFC 5322 section 4.5).
func fieldName(line []byte) []byte {
	i := bytes.IndexByte(line, ':')
	if i <= 0 {
		return nil
	}
	name := bytes.TrimRight(line[:i], " \t")
	for _, c := range name {
		if c <= ' ' || c == 0x7f {
			return nil
		}
	}
	return name
}

func is(name []byte, want string) bool {
	return len(name) == len(want) && bytes.EqualFold(name, []byte(want))
}
