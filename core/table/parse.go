package table

import (
	"errors"
	"fmt"
	"strings"

	"github.com/godwit-mta/godwit/core/config"
)

// Limits of a table file, in octets.
const (
	MaxFile = 256 << 20
	MaxLine = 64 << 10 // of an entry, with the lines that continue it
)

// parser reads the format of table(5). The first line that is not a comment decides: a
// key alone makes a list, a key and a value a mapping. A comment "@list" before it makes
// a list of lines in which blanks and colons are ordinary characters.
//
// The text stays as it is: an entry that goes on in further lines is joined when it is
// asked for.
type parser struct {
	text string
	kind config.TableKind
	line int // the number of the line that is read
}

// parse gives the entries of a text, which is of a kind, or of the one that it decides for.
func parse(name, text string, kind config.TableKind) (config.TableKind, []item, error) {
	if len(text) > MaxFile {
		return 0, nil, fmt.Errorf("%s: larger than %d octets", name, MaxFile)
	}
	p := parser{text: text, kind: kind}
	items := make([]item, 0, strings.Count(text, "\n")+1)
	for at := 0; at < len(text); {
		start, end := trimRange(text, at, lineEnd(text, at))
		at = lineEnd(text, at) + 1
		p.line++
		if p.comment(text[start:end]) {
			continue
		}
		first := p.line
		e, err := p.entry(start, end)
		if err == nil && p.kind == config.MapKind {
			at, err = p.extend(&e, at)
		}
		if err != nil {
			return 0, nil, fmt.Errorf("%s:%d: %w", name, first, err)
		}
		items = append(items, e)
	}
	if p.kind == config.UnknownKind {
		p.kind = config.MapKind
	}
	return p.kind, items, nil
}

// lineEnd gives the end of the line that begins at at.
func lineEnd(text string, at int) int {
	if i := strings.IndexByte(text[at:], '\n'); i >= 0 {
		return at + i
	}
	return len(text)
}

// trimRange leaves out blanks at both ends.
func trimRange(text string, start, end int) (int, int) {
	for start < end && blank(text[start]) {
		start++
	}
	for start < end && blank(text[end-1]) {
		end--
	}
	return start, end
}

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

// comment reports whether a line is one, or empty.
func (p *parser) comment(line string) bool {
	if line == "" {
		return true
	}
	if line[0] == '#' && p.kind == config.UnknownKind && strings.TrimLeft(line[1:], " \t") == "@list" {
		p.kind = config.ListKind
	}
	return line[0] == '#'
}

// entry reads a line that is more than a comment.
func (p *parser) entry(start, end int) (e item, err error) {
	line := p.text[start:end]
	if err := checkLine(line); err != nil {
		return e, err
	}
	key, value, cut := line, "", false
	if p.kind == config.ListKind {
		key = dropComment(line)
	} else if key, value, cut = cutEntry(line); value == "" {
		cut = strings.HasSuffix(line, ":")
	} else if p.kind == config.UnknownKind && p.text[start+len(key)] != ':' && dropComment(value) == "" {
		end -= len(value)
		value, cut = "", false
	}
	switch {
	case key == "":
		return e, errors.New("invalid entry without a key")
	case len(key) > MaxKey:
		return e, fmt.Errorf("key longer than %d octets", MaxKey)
	case p.kind == config.UnknownKind && !cut:
		p.kind = config.ListKind
	case p.kind == config.UnknownKind:
		p.kind = config.MapKind
	}
	if value == "" && p.kind == config.MapKind && !cut {
		return e, errNoValue
	}
	return item{key: uint32(start), keyLen: uint16(len(key)), value: uint32(end - len(value)), end: uint32(end)}, nil
}

var errNoValue = errors.New("invalid map entry")

// extend takes the lines that continue the value of an entry of a mapping: the next one
// after a backslash, and those that begin with a blank after a comma, or after the colon
// that ends the first line. It gives where the line after them begins.
func (p *parser) extend(e *item, at int) (int, error) {
	for at < len(p.text) {
		value := p.text[e.value:e.end]
		start, end := trimRange(p.text, at, lineEnd(p.text, at))
		joined := continued(value)
		if !joined && !unfinished(value) {
			break
		}
		if !joined && (start == end || p.text[start] != '#' && p.text[at] != ' ' && p.text[at] != '\t') {
			break
		}
		if err := checkLine(p.text[start:end]); err != nil {
			return 0, err
		}
		at = lineEnd(p.text, at) + 1
		p.line++
		if joined || p.text[start] != '#' {
			e.end = uint32(end)
		}
		if int(e.end-e.key) > MaxLine {
			return 0, fmt.Errorf("entry longer than %d octets", MaxLine)
		}
	}
	if joinLines(p.text[e.value:e.end]) == "" {
		return 0, errNoValue
	}
	return at, nil
}

// unfinished reports whether a value is empty or ends with a comma, comments aside.
func unfinished(value string) bool {
	last := dropComment(strings.TrimLeft(value[strings.LastIndexByte(value, '\n')+1:], " \t"))
	return last == "" || last[len(last)-1] == ','
}

// continued reports whether a line ends in a backslash that stands for itself alone.
func continued(s string) bool {
	n := 0
	for n < len(s) && s[len(s)-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

// joinLines makes one line of a value that goes on in further lines.
func joinLines(s string) string {
	if strings.IndexByte(s, '\n') < 0 && !continued(s) {
		return s
	}
	var b strings.Builder
	joined, more := false, true
	for n := 0; more; n++ {
		var line string
		line, s, more = strings.Cut(s, "\n")
		start, end := trimRange(line, 0, len(line))
		line = line[start:end]
		if !joined && n > 0 {
			if strings.HasPrefix(line, "#") {
				continue
			}
			start = 1
		}
		if n > 0 && start > 0 {
			b.WriteByte(' ')
		}
		if joined = continued(line); joined {
			line = line[:len(line)-1]
		} else if more {
			line = dropComment(line)
		}
		b.WriteString(line)
	}
	return strings.Trim(b.String(), " \t")
}

// checkLine refuses what no entry can hold.
func checkLine(line string) error {
	if len(line) > MaxLine {
		return fmt.Errorf("line longer than %d octets", MaxLine)
	}
	for i := 0; i < len(line); i++ {
		if c := line[i]; c < ' ' && c != '\t' || c == 0x7f {
			return errors.New("control character in line")
		}
	}
	return nil
}

// dropComment drops a comment: a # between blanks, or at one of the ends.
func dropComment(line string) string {
	for i := range len(line) {
		if line[i] == '#' && (i == 0 || blank(line[i-1])) && (i+1 == len(line) || blank(line[i+1])) {
			return strings.TrimRight(line[:i], " \t")
		}
	}
	return line
}

// cutEntry splits at the first blank or colon that is not inside leading brackets, which
// hold an IPv6 address, or leading quotes, or of a URL. "key : value" is taken for what it is
// meant to be; "key :include:/path" keeps its colons. Cut is false when there is nothing but
// a key.
func cutEntry(line string) (key, value string, cut bool) {
	start := 0
	if line[0] == '[' {
		start = max(strings.IndexByte(line, ']'), 0)
	} else if line[0] == '"' {
		start = 1 + max(strings.IndexByte(line[1:], '"'), -1)
	} else if i := strings.IndexAny(line, " \t:"); i > 0 && strings.HasPrefix(line[i:], "://") {
		if start = strings.IndexAny(line, " \t"); start < 0 {
			return line, "", false
		}
	}
	i := strings.IndexAny(line[start:], " \t:")
	if i < 0 {
		return line, "", false
	}
	i += start
	value = strings.TrimLeft(line[i+1:], " \t")
	if line[i] != ':' && (value == ":" || len(value) > 1 && value[0] == ':' && blank(value[1])) {
		value = strings.TrimLeft(value[1:], " \t")
	}
	return line[:i], value, true
}
