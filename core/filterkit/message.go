package filterkit

import "strings"

// Message is a whole message. A handler may change Bytes or put others in their place.
type Message struct {
	Bytes []byte // with LF line ends; net/mail and others read that
}

// AddHeader puts a field on top. Line feeds in value continue it on further lines.
func (m *Message) AddHeader(name, value string) {
	m.Bytes = append([]byte(Header(name, value)+"\n"), m.Bytes...)
}

// Header gives the lines of a field, for Output.Write: what follows a line feed in
// value is indented, so that it belongs to the field.
func Header(name, value string) string {
	lines := strings.Split(value, "\n")
	for i, l := range lines {
		l = strings.TrimSpace(oneLine(l))
		if i > 0 {
			l = "\t" + l
		}
		lines[i] = l
	}
	kept := lines[:1]
	for _, l := range lines[1:] {
		if l != "\t" { // a field has no empty lines
			kept = append(kept, l)
		}
	}
	return name + ": " + strings.Join(kept, "\n")
}
