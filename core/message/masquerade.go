package message

import "bytes"

// maxMailboxes is how many addresses a From field may have and be kept as it is otherwise.
const maxMailboxes = 100

// Masquerade appends the header section b to dst with addr in place of every address in
// From. The names stay. A From field that is not understood, that has a group in it or
// more than 100 addresses becomes addr alone: nothing else is to be read there. A second
// From, which no message may have, is left out.
func Masquerade(dst, b []byte, addr string) []byte {
	for first := true; len(b) > 0; {
		n := fieldLen(b)
		switch from := is(fieldName(b[:n]), "From"); {
		case !from:
			dst = append(dst, b[:n]...)
		case first:
			dst, first = appendFrom(dst, b[:n], addr), false
		}
		b = b[n:]
	}
	return dst
}

// fieldLen gives the octets of the first field with its continuation lines.
func fieldLen(b []byte) int {
	n := 0
	for n < len(b) {
		end := bytes.IndexByte(b[n:], '\n')
		if end < 0 {
			return len(b)
		}
		if n += end + 1; n < len(b) && b[n] != ' ' && b[n] != '\t' {
			break
		}
	}
	return n
}

func appendFrom(dst, field []byte, addr string) []byte {
	colon := bytes.IndexByte(field, ':') + 1
	value := field[colon:]
	dst = append(dst, field[:colon]...)
	spans := mailboxes(value)
	if spans == nil {
		dst = append(dst, " <"...)
		dst = append(dst, addr...)
		return append(dst, ">\n"...)
	}
	last := 0
	for _, s := range spans {
		dst = append(dst, value[last:s.start]...)
		dst = append(dst, addr...)
		last = s.end
	}
	return append(dst, value[last:]...)
}

// span is a part of a text.
type span struct{ start, end int }

// mailboxes finds the addresses in the value of a From field (RFC 5322 section 3.4), nil
// when it is not a list of mailboxes.
func mailboxes(value []byte) []span {
	p := mailboxParser{value: value}
	p.begin()
	for i := range value {
		if !p.octet(i) || len(p.spans) > maxMailboxes {
			return nil
		}
	}
	if !p.finish() || len(p.spans) > maxMailboxes {
		return nil
	}
	return p.spans
}

// mailboxParser reads a list of mailboxes octet by octet.
type mailboxParser struct {
	value   []byte
	spans   []span
	escaped bool
	quoted  bool
	literal bool // inside the brackets of a domain
	comment int  // how deep in comments
	angle   span // of the address in angle brackets; -1 where there is none yet
	bare    span // of all that is no comment and no blank
}

func (p *mailboxParser) begin() { p.angle, p.bare = span{-1, -1}, span{-1, -1} }

func (p *mailboxParser) octet(i int) bool {
	c := p.value[i]
	inside := p.angle.start >= 0 && p.angle.end < 0
	switch {
	case p.escaped:
		p.escaped = false
	case c == '\\':
		p.escaped = true
		return p.quoted || p.literal || p.comment > 0
	case p.comment > 0:
		switch c {
		case '(':
			p.comment++
		case ')':
			p.comment--
		}
		return true
	case c == '"' && !p.literal:
		p.quoted = !p.quoted
	case p.quoted:
	case p.literal:
		p.literal = c != ']'
	case c == '(':
		p.comment++
		return true
	case c == '[':
		p.literal = true
	case c == ')' || c == ']':
		return false
	case c == '<':
		if p.angle.start >= 0 {
			return false
		}
		p.angle.start = i + 1
	case c == '>':
		if !inside {
			return false
		}
		p.angle.end = i
	case inside:
	case c == ',':
		return p.finish()
	case c == ':' || c == ';':
		return false // a group
	}
	if c != ' ' && c != '\t' && c != '\n' && c != '\r' && p.comment == 0 {
		if p.bare.start < 0 {
			p.bare.start = i
		}
		p.bare.end = i + 1
	}
	return true
}

// finish ends one mailbox.
func (p *mailboxParser) finish() bool {
	switch {
	case p.escaped || p.quoted || p.literal || p.comment > 0:
		return false
	case p.angle.start >= 0 && p.angle.end < 0:
		return false
	case p.angle.start >= 0:
		p.spans = append(p.spans, p.angle)
	case p.bare.start >= 0:
		p.spans = append(p.spans, p.bare)
	}
	p.begin()
	return true
}
