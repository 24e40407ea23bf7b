package bounce

import (
	"bytes"
	"io"
)

// MaxHeader is the most that is returned of a header, in octets. A message that is longer
// than Notice.MaxFull is returned by its header, even if the sender asked for all of it.
const MaxHeader = 32 << 10

// returned is what the third part holds.
type returned struct {
	data     []byte // nil: nothing is returned
	full     bool
	asked    bool // the whole message was asked for
	eightBit bool
}

// readOriginal reads as much of the message as can be returned: all if that is at most
// maxFull octets, which are negative when it is not asked for.
func readOriginal(r io.Reader, maxFull int64) (returned, error) {
	full := maxFull >= 0
	data, err := io.ReadAll(io.LimitReader(r, max(MaxHeader, maxFull)+1))
	if err != nil {
		return returned{}, err
	}
	if full && int64(len(data)) <= maxFull && transportable(data) {
		return returned{data: data, full: true, asked: true, eightBit: has8bit(data)}, nil
	}
	if len(data) > MaxHeader {
		data = data[:MaxHeader]
		if end := bytes.LastIndexByte(data, '\n'); end >= 0 {
			data = data[:end+1]
		}
	}
	header := headerOf(data)
	return returned{data: header, asked: full, eightBit: has8bit(header)}, nil
}

// contentType names the part; utf8 says that the message came with SMTPUTF8
// (https://www.rfc-editor.org/rfc/rfc6533#section-6).
func (r *returned) contentType(utf8 bool) string {
	utf8 = utf8 && has8bit(headerOf(r.data))
	switch {
	case r.full && utf8:
		return "message/global"
	case r.full:
		return "message/rfc822"
	case utf8:
		return "message/global-headers"
	}
	return "text/rfc822-headers"
}

func (r *returned) description() string {
	if r.full {
		return "Message"
	}
	return "Message headers"
}

// note is the last paragraph of the text.
func (r *returned) note() string {
	switch {
	case r.data == nil:
		return "The message itself could not be read and is not returned."
	case r.full:
		return "Your message follows."
	case r.asked:
		return "The header of your message follows; the message is too large or not\nfit to be returned."
	}
	return "The header of your message follows."
}

// transportable reports whether the message can stand in a part as it is: 8bit allows
// neither NUL nor bare CR nor long lines (RFC 2045 section 2.8).
func transportable(data []byte) bool {
	if bytes.IndexByte(data, 0) >= 0 || bytes.IndexByte(data, '\r') >= 0 {
		return false
	}
	for line := range bytes.SplitSeq(data, []byte{'\n'}) {
		if len(line) > maxLine {
			return false
		}
	}
	return true
}

// headerOf gives the header of a message that may have none, cleaned: lines are cut at
// maxLine and control characters become question marks.
func headerOf(data []byte) []byte {
	header := []byte{}
	for len(data) > 0 {
		line, rest, _ := bytes.Cut(data, []byte{'\n'})
		line = bytes.TrimSuffix(line, []byte{'\r'})
		folded := len(header) > 0 && len(line) > 0 && (line[0] == ' ' || line[0] == '\t')
		if !folded && !isField(line) {
			break
		}
		for _, c := range line[:min(len(line), maxLine)] {
			if c < ' ' && c != '\t' || c == 0x7f {
				c = '?'
			}
			header = append(header, c)
		}
		header = append(header, '\n')
		data = rest
	}
	return header
}

// isField reports whether a line begins with a field name and a colon, RFC 5322 section 2.2.
func isField(line []byte) bool {
	name, _, ok := bytes.Cut(line, []byte{':'})
	name = bytes.TrimRight(name, " \t")
	if !ok || len(name) == 0 {
		return false
	}
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}
