package expand

import (
	"errors"
	"fmt"
	"strings"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/format"
)

// Limits of lists of destinations.
const (
	maxItem = 1024     // octets of one destination
	maxLine = 64 << 10 // octets of a list
)

// kind says what a destination is.
type kind uint8

const (
	addressKind kind = iota + 1
	userKind
	fileKind
	pipeKind
	errorKind
	includeKind
)

// target is one destination of a list: an alias, a line of a .forward.
type target struct {
	kind kind
	text string          // user, path, command or the text of an error
	addr address.Address // of addressKind
	code int             // of errorKind: 400 to 599
}

// parseList reads destinations separated by commas, as aliases(5) has them. Nothing is
// taken from a list with an error in it.
func parseList(line string) ([]target, error) {
	if len(line) > maxLine {
		return nil, fmt.Errorf("list longer than %d octets", maxLine)
	}
	var list []target
	line = cutComment(line)
	for line = trim(line); line != ""; line = trim(line) {
		if line[0] == ',' {
			line = line[1:]
			continue
		}
		item, rest, err := cutItem(line)
		if err != nil {
			return nil, err
		}
		t, err := parseTarget(item)
		if err != nil {
			return nil, err
		}
		list = append(list, t)
		line = rest
	}
	return list, nil
}

func trim(s string) string { return strings.Trim(s, " \t\r") }

// cutComment drops what follows a hash that begins a word outside of quotes. The text of an
// error may have one.
func cutComment(line string) string {
	start, quote := 0, byte(0) // start of the item
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'' && (trim(line[start:i]) == "" || strings.HasPrefix(trim(line[start:i]), "|")):
			quote = c
		case c == ',':
			start = i + 1
		case c == '#' && (i == 0 || strings.IndexByte(" \t,", line[i-1]) >= 0):
			if _, isError := cutWord(trim(line[start:i]), "error:"); !isError {
				return line[:i]
			}
		}
	}
	return line
}

// cutItem takes one destination. An item in quotes loses them; quotes inside an item
// only keep commas from ending it, because a command needs its own quotes. Outside of
// commands an apostrophe is a letter: o'neil@example.org.
func cutItem(s string) (item, rest string, err error) {
	if s[0] == '"' || s[0] == '\'' {
		item, rest, ok := cutQuoted(s)
		if !ok {
			return "", "", errors.New("quote without an end")
		}
		if r := trim(rest); r == "" || r[0] == ',' {
			return item, r, nil
		}
	}
	quote := byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'' && s[0] == '|':
			quote = c
		case c == ',':
			return unescape(trim(s[:i])), s[i:], nil
		}
	}
	if quote != 0 {
		return "", "", errors.New("quote without an end")
	}
	return unescape(s), "", nil
}

// cutQuoted takes a quoted item. A backslash before the quote or a backslash is dropped,
// others are kept for the shell.
func cutQuoted(s string) (item, rest string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == s[0]:
			return trim(b.String()), s[i+1:], true
		case c == '\\' && i+1 < len(s) && (s[i+1] == s[0] || s[i+1] == '\\'):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// unescape drops backslashes: \user is user. Commands keep them except before a comma,
// quoted local parts except where they belong to the quoting.
func unescape(s string) string {
	if s != "" && s[0] == '|' {
		return strings.ReplaceAll(s, `\,`, ",")
	}
	if !strings.Contains(s, `\`) || s[0] == '"' {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// parseTarget says what an item is. The tests stand in the order of smtpd: what looks
// like an error text is one even if it holds an at sign.
func parseTarget(s string) (target, error) {
	// Envelopes are lines of text, and a tab means no more than a blank to a shell.
	s = strings.ReplaceAll(s, "\t", " ")
	switch {
	case len(s) > maxItem:
		return target{}, fmt.Errorf("destination longer than %d octets", maxItem)
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return target{}, errors.New("control character in destination")
	}
	if text, ok := cutWord(s, "error:"); ok {
		return parseError(text)
	}
	if path, ok := cutWord(s, "include:"); ok {
		if path == "" || path[0] != '/' {
			return target{}, fmt.Errorf("include path %q is not absolute", path)
		}
		return target{kind: includeKind, text: path}, nil
	}
	switch {
	case s != "" && s[0] == '|':
		return parsePipe(s[1:])
	case s != "" && s[0] == '/':
		return target{kind: fileKind, text: s}, nil
	case strings.Contains(s, "@"):
		a, err := address.Parse(s)
		if err != nil || a.Domain == "" {
			return target{}, fmt.Errorf("invalid address %q", s)
		}
		return target{kind: addressKind, addr: a}, nil
	case !validUser(s):
		return target{}, fmt.Errorf("invalid destination %q", s)
	}
	return target{kind: userKind, text: strings.ToLower(s)}, nil
}

// cutWord takes a word such as error: from the front, with or without a leading colon.
func cutWord(s, word string) (string, bool) {
	s = strings.TrimPrefix(s, ":")
	if len(s) < len(word) || !strings.EqualFold(s[:len(word)], word) {
		return "", false
	}
	return trim(s[len(word):]), true
}

// parsePipe reads a command. `|"command"` is written as often as `"|command"`.
func parsePipe(s string) (target, error) {
	s = trim(s)
	if len(s) > 1 && s[0] == '"' {
		if inner, rest, ok := cutQuoted(s); ok && rest == "" && strings.Contains(inner, " ") {
			s = inner
		}
	}
	if s == "" {
		return target{}, errors.New("empty command")
	}
	if err := format.Check(s); err != nil {
		return target{}, err
	}
	return target{kind: pipeKind, text: "|" + s}, nil
}

// parseError reads "550 text". The text is for a reply, so it is printable ASCII.
func parseError(s string) (target, error) {
	if len(s) < 5 || (s[0] != '4' && s[0] != '5') || !digit(s[1]) || !digit(s[2]) || s[3] != ' ' {
		return target{}, fmt.Errorf("invalid error text %q", s)
	}
	code := int(s[0]-'0')*100 + int(s[1]-'0')*10 + int(s[2]-'0')
	text := trim(s[4:])
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return target{}, fmt.Errorf("invalid error text %q", s)
	}
	return target{kind: errorKind, text: text, code: code}, nil
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// validUser limits the names that lists may give; what users are called is otherwise
// the business of the table that is asked.
func validUser(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !digit(c) && (c|0x20 < 'a' || c|0x20 > 'z') && strings.IndexByte("_.-+", c) < 0 {
			return false
		}
	}
	return s != ""
}

// continued says whether a line ends in a backslash that no other one escapes.
func continued(line string) bool {
	n := len(line) - len(strings.TrimRight(line, `\`))
	return n%2 == 1
}

// parseLines reads a .forward or an included file: lists on lines with comments. A
// backslash at the end of a line joins it with the next.
func parseLines(content []byte, most int) ([]target, error) {
	var list []target
	number, joined := 0, ""
	for line := range strings.SplitSeq(string(content), "\n") {
		number++
		line = cutComment(strings.TrimSuffix(line, "\r"))
		if continued(line) {
			if joined += line[:len(line)-1]; len(joined) > maxLine {
				return nil, fmt.Errorf("line %d: longer than %d octets", number, maxLine)
			}
			continue
		}
		targets, err := parseList(joined + line)
		joined = ""
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if list = append(list, targets...); len(list) > most {
			return nil, fmt.Errorf("more than %d destinations", most)
		}
	}
	if joined != "" {
		return nil, fmt.Errorf("line %d: a backslash at the end of the file", number)
	}
	return list, nil
}
