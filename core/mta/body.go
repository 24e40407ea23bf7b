package mta

import (
	"bytes"
	"errors"
	"fmt"
)

// errBody is not to be mistaken for an end of the connection.
var errBody = errors.New("message cannot be read")

// chunkSize is how much of a body is read and written at once, in octets.
const chunkSize = 32 << 10

// chunks calls f with the body piece by piece. No piece but the last ends in CR, so that
// each can be looked at alone. A body shorter than it should be is an error.
func (b *Body) chunks(f func([]byte) error) error {
	var buf []byte
	for off, size := int64(0), b.size(); off < size; {
		n := min(size-off, chunkSize)
		var p []byte
		if b.File == nil {
			p = b.Bytes[off : off+n]
		} else {
			if buf == nil {
				buf = make([]byte, n)
			}
			p = buf[:n]
			if read, err := b.File.ReadAt(p, off); read < len(p) {
				return fmt.Errorf("%w: %v", errBody, err)
			}
		}
		if off+n < size && p[n-1] == '\r' {
			n--
		}
		if err := f(cleanCR(p[:n])); err != nil {
			return err
		}
		off += n
	}
	return nil
}

// cleanCR gives p without CR: one before LF is part of the line end, any other becomes a
// space. A bare CR must not be sent (RFC 5321 section 2.3.8): some servers take it for the
// end of a line, and then a message could contain commands.
func cleanCR(p []byte) []byte {
	i := bytes.IndexByte(p, '\r')
	if i < 0 {
		return p
	}
	out := make([]byte, 0, len(p))
	for ; i >= 0; i = bytes.IndexByte(p, '\r') {
		out = append(out, p[:i]...)
		if p = p[i+1:]; len(p) == 0 || p[0] != '\n' {
			out = append(out, ' ')
		}
	}
	return append(out, p...)
}

// encoder turns lines that end in LF into lines that end in CRLF, with the dots doubled
// that begin a line (RFC 5321 section 4.5.2).
type encoder struct{ inLine bool }

// append adds the encoded form of p, which has no CR, to dst.
func (e *encoder) append(dst, p []byte) []byte {
	for len(p) > 0 {
		if !e.inLine && p[0] == '.' {
			dst = append(dst, '.')
		}
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			e.inLine = true
			return append(dst, p...)
		}
		e.inLine = false
		dst = append(dst, p[:i]...)
		dst = append(dst, '\r', '\n')
		p = p[i+1:]
	}
	return dst
}

// end adds the line that ends a body.
func (e *encoder) end(dst []byte) []byte {
	if e.inLine {
		dst = append(dst, '\r', '\n')
	}
	return append(dst, ".\r\n"...)
}
