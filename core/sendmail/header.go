package sendmail

import (
	"bufio"
	"bytes"
	"io"
	"mime"
	"slices"
	"strings"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/message"
)

// maxHeader is the longest header section that is read, in octets.
const maxHeader = 1 << 20

// header is the header section as it was read.
type header struct {
	fields []field
	size   int64 // octets until the body
}

// field is one field, its lines with LF line ends.
type field struct {
	name string // in lower case
	text []byte
}

// readHeader reads up to the body. The separating line belongs to the header; a line that
// cannot stand in a header begins the body.
func readHeader(in *bufio.Reader) (*header, error) {
	h := new(header)
	for {
		line, err := readLine(in)
		if err != nil {
			return nil, err
		}
		text := clean(line)
		name, kind := classify(text, h)
		if kind == bodyLine || len(line) == 0 {
			return h, nil
		}
		if h.size += int64(len(line)); h.size > maxHeader {
			return nil, fail(ExitSoftware, "header too large")
		}
		switch kind {
		case separator:
			return h, nil
		case newField:
			h.fields = append(h.fields, field{name, append(text, '\n')})
		case continued:
			f := &h.fields[len(h.fields)-1]
			f.text = append(append(f.text, text...), '\n')
		}
	}
}

// readLine reads a line with its end, or as much of it as exceeds maxHeader. It is empty
// at the end of the input.
func readLine(in *bufio.Reader) (line []byte, err error) {
	for len(line) <= maxHeader {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch err {
		case bufio.ErrBufferFull:
		case nil, io.EOF:
			return line, nil
		default:
			return nil, err
		}
	}
	return line, nil
}

// lineKind is what a line is to the header.
type lineKind uint8

const (
	separator lineKind = iota
	newField
	continued
	mboxLine // "From " at the very beginning
	bodyLine
)

func classify(text []byte, h *header) (name string, kind lineKind) {
	switch {
	case len(text) == 0:
		return "", separator
	case h.size == 0 && bytes.HasPrefix(text, []byte("From ")):
		return "", mboxLine
	case text[0] == ' ' || text[0] == '\t':
		if len(h.fields) == 0 {
			return "", bodyLine
		}
		return "", continued
	}
	before, _, ok := bytes.Cut(text, []byte{':'})
	before = bytes.TrimRight(before, " \t")
	if !ok || len(before) == 0 || bytes.ContainsFunc(before, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", bodyLine
	}
	return strings.ToLower(string(before)), newField
}

// clean gives a line without its end. CR and NUL, which no line of a message may hold,
// become blanks, so that nothing in it can be taken for a line end.
func clean(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte{'\n'})
	line = bytes.TrimSuffix(line, []byte{'\r'})
	line = slices.Clone(line)
	for i, c := range line {
		if c == '\r' || c == 0 {
			line[i] = ' '
		}
	}
	return line
}

// value gives the body of the first field of that name, and whether there is one.
func (h *header) value(name string) (string, bool) {
	for _, f := range h.fields {
		if f.name == name {
			_, value, _ := strings.Cut(string(f.text), ":")
			return strings.TrimSpace(value), true
		}
	}
	return "", false
}

// mayEncode reports whether the body may be sent as quoted-printable: nobody said how it
// is encoded, and it is not a composite, which must not be (RFC 2045 section 6.4).
func (h *header) mayEncode() bool {
	if _, ok := h.value("content-transfer-encoding"); ok {
		return false
	}
	kind, _ := h.value("content-type")
	kind = strings.ToLower(kind)
	return !strings.HasPrefix(kind, "multipart/") && !strings.HasPrefix(kind, "message/")
}

// complete gives the header as it is sent.
func (h *header) complete(m *Message, o *Options, who Identity, s shape) []byte {
	var b []byte
	add := func(name, value string) {
		if _, ok := h.value(strings.ToLower(name)); !ok {
			b = append(b, name+": "+value+"\n"...)
		}
	}
	add("From", fromField(m, o, who))
	add("Date", who.Now.Format(message.DateFormat))
	for _, f := range h.fields {
		if f.name != "bcc" && f.name != "return-path" {
			b = append(b, f.text...)
		}
	}
	if m.encode {
		charset := "us-ascii"
		switch {
		case s.eightBit && s.utf8:
			charset = "utf-8"
		case s.eightBit:
			charset = "unknown-8bit" // RFC 1428 section 3
		}
		add("MIME-Version", "1.0")
		add("Content-Type", "text/plain; charset="+charset)
		add("Content-Transfer-Encoding", "quoted-printable")
	}
	return append(b, '\n')
}

// fromField makes the From field: full name and sender, or the user for the null sender.
func fromField(m *Message, o *Options, who Identity) string {
	a := m.Sender
	if a.Null() {
		a = address.Address{Local: who.User, Domain: who.Host}
	}
	name := o.Name
	if name == "" && !o.HasSender {
		name = who.Name
	}
	if name == "" {
		return a.String()
	}
	return phrase(name) + " <" + a.String() + ">"
}

// phrase writes a display name, RFC 5322 section 3.2.5, encoded when it is not ASCII.
func phrase(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, name[:min(len(name), 200)])
	if has8bit([]byte(name)) {
		return mime.QEncoding.Encode("utf-8", strings.ToValidUTF8(name, "?"))
	}
	if strings.ContainsAny(name, "()<>[]:;@\\,.\"") {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
	}
	return name
}
