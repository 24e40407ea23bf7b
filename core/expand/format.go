package expand

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/godwit-mta/godwit/core/address"
)

// Limits of format specifiers, in octets.
const (
	maxSpecifier = 128  // what stands between the braces
	maxFormat    = 1024 // a path after expansion
	maxCommand   = 8192 // a command after expansion
)

// Vars are the values of the format specifiers. What comes from envelopes was chosen by
// strangers; Directory and MDA come from the administrator.
type Vars struct {
	Sender, Rcpt, Dest address.Address
	User               string // user.username
	Directory          string // user.directory
	MDA                string // the command inside a wrapper
	Delim              string // of sub-addresses, for strip
}

// Format expands the specifiers of a path, such as that of a maildir action:
// %{user.directory}/%{dest.domain:lowercase}. A leading ~/ is the home directory, %% is
// a per cent sign. After the name may follow, in any order and number, parts [n], [a:],
// [:b] and [a:b], counted in octets from 0, b included, negative from the end and then b
// excluded; and modifiers :lowercase, :uppercase, :strip (drops the detail of a
// sub-address) and :raw, joined by a vertical bar or colons.
//
// Values from envelopes are reduced to letters, digits and ^+-=_.@,:[] with a colon for
// everything else; raw keeps the other printable characters, but no value ever has a
// slash or begins with a dot, so it is one part of the path or less. The result is not
// for a shell: Command is for that.
func Format(pattern string, v Vars) (string, error) {
	if strings.HasPrefix(pattern, "~/") {
		pattern = "%{user.directory}" + pattern[1:]
	}
	var b strings.Builder
	err := scan(pattern, func(text string, s *specifier) error {
		if s == nil {
			b.WriteString(text)
		} else {
			b.WriteString(s.path(v))
		}
		if b.Len() > maxFormat {
			return fmt.Errorf("longer than %d octets after expansion", maxFormat)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return b.String(), nil
}

// CheckFormat reports what Format or Command would not understand.
func CheckFormat(pattern string) error {
	return scan(pattern, func(string, *specifier) error { return nil })
}

// specifier is %{name...}.
type specifier struct {
	name string
	ops  []op
	raw  bool
}

// op is a part or a modifier; they are applied as written.
type op struct {
	modifier string // empty for a part
	from, to int
	open     bool // [a:]
}

// scan calls f for each stretch of text and each specifier of a pattern.
func scan(pattern string, f func(text string, s *specifier) error) error {
	for pattern != "" {
		i := strings.IndexByte(pattern, '%')
		if i < 0 || i+1 == len(pattern) {
			return f(pattern, nil)
		}
		text := pattern[:i]
		switch pattern[i+1] {
		case '%':
			text, pattern = pattern[:i+1], pattern[i+2:]
		case '{':
			end := strings.IndexByte(pattern[i:], '}')
			if end < 0 {
				return fmt.Errorf("format specifier without an end: %q", pattern[i:])
			}
			s, err := parseSpecifier(pattern[i+2 : i+end])
			if err != nil {
				return fmt.Errorf("format specifier %q: %w", pattern[i:i+end+1], err)
			}
			if err := f(text, nil); err != nil {
				return err
			}
			text, pattern = "", pattern[i+end+1:]
			if err := f("", s); err != nil {
				return err
			}
		default: // as in date +%s
			text, pattern = pattern[:i+1], pattern[i+1:]
		}
		if err := f(text, nil); err != nil {
			return err
		}
	}
	return nil
}

func parseSpecifier(s string) (*specifier, error) {
	if len(s) > maxSpecifier {
		return nil, fmt.Errorf("longer than %d octets", maxSpecifier)
	}
	end := strings.IndexAny(s, "[:")
	if end < 0 {
		end = len(s)
	}
	sp := &specifier{name: s[:end]}
	if _, _, ok := sp.value(Vars{}); !ok {
		return nil, fmt.Errorf("%q is not known", sp.name)
	}
	for s = s[end:]; s != ""; {
		var o op
		var err error
		if s[0] == '[' {
			o, s, err = parsePart(s)
		} else {
			o, s, err = parseModifier(s)
		}
		if err != nil {
			return nil, err
		}
		if o.modifier == "raw" {
			sp.raw = true
			continue
		}
		sp.ops = append(sp.ops, o)
	}
	return sp, nil
}

func parseModifier(s string) (o op, rest string, err error) {
	if s[0] != ':' && s[0] != '|' {
		return o, "", fmt.Errorf("unexpected %q", s)
	}
	s = s[1:]
	end := strings.IndexAny(s, "[:|")
	if end < 0 {
		end = len(s)
	}
	switch o.modifier = s[:end]; o.modifier {
	case "lowercase", "uppercase", "strip", "raw":
		return o, s[end:], nil
	}
	return o, "", fmt.Errorf("modifier %q is not known", o.modifier)
}

func parsePart(s string) (o op, rest string, err error) {
	inside, rest, ok := strings.Cut(s[1:], "]")
	from, to, isRange := strings.Cut(inside, ":")
	if !ok || inside == "" {
		return o, "", errors.New("invalid part")
	}
	if from != "" {
		if o.from, err = parseOffset(from); err != nil {
			return o, "", err
		}
	}
	switch {
	case !isRange:
		o.to, o.open = o.from+1, o.from == -1
		if o.from >= 0 {
			o.to = o.from
		}
	case to == "":
		o.open = true
	default:
		o.to, err = parseOffset(to)
	}
	return o, rest, err
}

func parseOffset(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < -maxFormat || n > maxFormat {
		return 0, fmt.Errorf("invalid offset %q", s)
	}
	return n, nil
}

// value gives the value of a specifier and whether it came from an envelope.
func (s *specifier) value(v Vars) (value string, wire, ok bool) {
	switch s.name {
	case "sender":
		return v.Sender.String(), true, true
	case "sender.user":
		return v.Sender.Local, true, true
	case "sender.domain":
		return v.Sender.Domain, true, true
	case "rcpt":
		return v.Rcpt.String(), true, true
	case "rcpt.user":
		return v.Rcpt.Local, true, true
	case "rcpt.domain":
		return v.Rcpt.Domain, true, true
	case "dest":
		return v.Dest.String(), true, true
	case "dest.user":
		return v.Dest.Local, true, true
	case "dest.domain":
		return v.Dest.Domain, true, true
	case "user.username":
		return v.User, true, true
	case "user.directory":
		return v.Directory, false, true
	case "mbox.from":
		if v.Sender.Null() {
			return "MAILER-DAEMON", true, true
		}
		return v.Sender.String(), true, true
	case "mda":
		return v.MDA, false, true
	}
	return "", false, false
}

// eval applies the parts and modifiers.
func (s *specifier) eval(v Vars) (value string, wire bool) {
	value, wire, _ = s.value(v)
	for _, o := range s.ops {
		switch o.modifier {
		case "lowercase":
			value = strings.ToLower(value)
		case "uppercase":
			value = strings.ToUpper(value)
		case "strip":
			value = strip(value, v.Delim)
		default:
			value = o.part(value)
		}
	}
	return value, wire
}

// strip drops the detail of the local part, of a whole address or alone.
func strip(value, delim string) string {
	local, domain := value, ""
	if i := strings.LastIndexByte(value, '@'); i >= 0 {
		local, domain = value[:i], value[i:]
	}
	if i := strings.Index(local, delim); i >= 0 && delim != "" {
		local = local[:i]
	}
	return local + domain
}

// part cuts; what lies outside the value is empty.
func (o op) part(value string) string {
	n := len(value)
	from, to := o.from, o.to
	if from < 0 {
		from += n
	}
	switch {
	case o.open:
		to = n
	case to < 0:
		to += n
	default:
		to++
	}
	from, to = max(from, 0), min(to, n)
	if from >= to {
		return ""
	}
	return value[from:to]
}

// path gives the value for a path.
func (s *specifier) path(v Vars) string {
	value, wire := s.eval(v)
	if !wire {
		return value
	}
	keep := safe
	if s.raw {
		keep = printable
	}
	return clean(value, func(c byte) bool { return keep(c) && c != '/' }, ".")
}

// clean puts a colon for each octet that is not kept, and for those of lead with which
// the value begins.
func clean(value string, keep func(byte) bool, lead string) string {
	b := []byte(value)
	leading := true
	for i, c := range b {
		leading = leading && strings.IndexByte(lead, c) >= 0
		if leading || !keep(c) {
			b[i] = ':'
		}
	}
	return string(b)
}

// safe characters mean nothing to a shell, at most to its file name patterns.
func safe(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || digit(c) || strings.IndexByte("^+-=_.@,:[]", c) >= 0
}

func printable(c byte) bool { return c >= ' ' && c <= '~' }
