package format

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// specifier is %{name...}.
type specifier struct {
	at   int    // offset in the pattern
	text string // as written
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
	for at := 0; at < len(pattern); {
		rest := pattern[at:]
		i := strings.IndexByte(rest, '%')
		if i < 0 || i+1 == len(rest) {
			return f(rest, nil)
		}
		if rest[i+1] != '{' { // %% is a per cent sign, others stand as in date +%s
			if err := f(rest[:i+1], nil); err != nil {
				return err
			}
			if at += i + 1; rest[i+1] == '%' {
				at++
			}
			continue
		}
		s, err := cutSpecifier(rest[i:])
		if err != nil {
			return &Error{Offset: at + i, Specifier: s.text, Problem: err.Error()}
		}
		s.at = at + i
		if err := f(rest[:i], nil); err != nil {
			return err
		}
		if err := f("", s); err != nil {
			return err
		}
		at += i + len(s.text)
	}
	return nil
}

// cutSpecifier reads the specifier with which s begins. Its text is set even when it is
// wrong.
func cutSpecifier(s string) (*specifier, error) {
	end := strings.IndexByte(s, '}')
	if end < 0 {
		return &specifier{text: s[:min(len(s), maxSpecifier)]}, errors.New("the closing brace is missing")
	}
	sp, err := parseSpecifier(s[len("%{"):end])
	if err != nil {
		sp = new(specifier)
	}
	sp.text = s[:min(end+1, maxSpecifier)]
	return sp, err
}

func parseSpecifier(s string) (*specifier, error) {
	if len(s) > maxSpecifier-len("%{}") {
		return nil, fmt.Errorf("longer than %d octets", maxSpecifier)
	}
	end := strings.IndexAny(s, "[:")
	if end < 0 {
		end = len(s)
	}
	sp := &specifier{name: strings.ToLower(s[:end])}
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
	switch o.modifier = strings.ToLower(s[:end]); o.modifier {
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
	if err != nil || n < -maxPath || n > maxPath {
		return 0, fmt.Errorf("invalid offset %q", s)
	}
	return n, nil
}
