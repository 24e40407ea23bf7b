package sendmail

import (
	"bufio"
	"bytes"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/godwit-mta/godwit/core/address"
)

// longLine is the length, in octets, from which on a line is encoded.
const longLine = 990

// Identity is who submits.
type Identity struct {
	User string // login name
	Name string // full name, or empty
	Host string // this host's mail name: the domain of addresses without one
	Now  time.Time
}

// Message is a message that is ready to be sent.
type Message struct {
	Sender     address.Address
	Recipients []address.Address
	EightBit   bool // what Send writes is not 7 bit

	header []byte // complete, LF line ends
	encode bool   // the body is sent as quoted-printable
	input  io.ReadSeeker
	body   int64 // where the body begins in input
}

// Read reads a message from its present position to the end, finds sender and recipients,
// and completes the header. Its errors are *Error or those of r.
func Read(r io.ReadSeeker, o *Options, who Identity) (*Message, error) {
	start, err := r.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReader(r)
	h, err := readHeader(in)
	if err != nil {
		return nil, err
	}
	// The header looked one line ahead: begin again where the body does.
	m := &Message{input: r, body: start + h.size}
	if _, err = r.Seek(m.body, io.SeekStart); err != nil {
		return nil, err
	}
	in.Reset(r)
	shape, err := readShape(in)
	if err != nil {
		return nil, err
	}
	if err := m.setAddresses(h, o, who); err != nil {
		return nil, err
	}
	m.encode = shape.odd && h.mayEncode()
	m.header = h.complete(m, o, who, shape)
	m.EightBit = has8bit(m.header) || shape.eightBit && !m.encode
	return m, nil
}

// shape is what has to be known of a body before it is sent.
type shape struct {
	odd      bool // a long line, CR or NUL
	eightBit bool
	utf8     bool
}

// readShape reads the body to its end.
func readShape(in *bufio.Reader) (s shape, err error) {
	s.utf8 = true
	length := 0
	for {
		part, err := in.ReadSlice('\n')
		length += len(part)
		end := bytes.TrimSuffix(part, []byte{'\n'})
		end = bytes.TrimSuffix(end, []byte{'\r'})
		s.odd = s.odd || length > longLine || bytes.IndexByte(end, '\r') >= 0 || bytes.IndexByte(end, 0) >= 0
		if has8bit(part) {
			s.eightBit = true
			// A character may be split where the buffer ends; such lines are long anyway.
			s.utf8 = s.utf8 && (err == bufio.ErrBufferFull || length > len(part) || utf8.Valid(part))
		}
		switch err {
		case nil:
			length = 0
		case bufio.ErrBufferFull:
		case io.EOF:
			return s, nil
		default:
			return s, err
		}
	}
}

func has8bit(b []byte) bool {
	return slices.ContainsFunc(b, func(c byte) bool { return c >= 0x80 })
}

// setAddresses finds the sender and the recipients.
func (m *Message) setAddresses(h *header, o *Options, who Identity) error {
	m.Sender = address.Address{Local: who.User, Domain: who.Host}
	if o.HasSender {
		m.Sender = o.Sender
	} else if from, ok := h.value("from"); ok {
		if list, err := ParseRecipients(from); err == nil && len(list) > 0 {
			m.Sender = list[0]
		}
	}
	if !m.Sender.Null() {
		m.Sender = qualify(m.Sender, who.Host)
	}
	list := o.Recipients
	if o.Scan {
		for _, f := range h.fields {
			if f.name != "to" && f.name != "cc" && f.name != "bcc" {
				continue
			}
			_, value, _ := strings.Cut(string(f.text), ":")
			found, err := ParseRecipients(value)
			if err != nil {
				return fail(ExitSoftware, "%s: %v", f.name, err)
			}
			list = append(slices.Clip(list), found...)
		}
	}
	seen := make(map[address.Address]bool, len(list))
	for _, a := range list {
		if a = qualify(a, who.Host); !seen[a] {
			seen[a] = true
			m.Recipients = append(m.Recipients, a)
		}
	}
	switch {
	case len(m.Recipients) == 0:
		return fail(ExitSoftware, "no recipients")
	case len(m.Recipients) > MaxRecipients:
		return fail(ExitSoftware, "%v", errTooMany)
	}
	return nil
}

func qualify(a address.Address, host string) address.Address {
	if a.Domain == "" {
		a.Domain = host
	}
	return a
}
