package table

import (
	"fmt"
	"regexp"
	"strings"
)

// Limits of regular expressions. A pattern is compiled once and matches in time linear
// in the text, so these bound memory.
const (
	maxPatterns   = 10000 // a table
	maxPatternLen = 1023  // octets
)

// regexIndex compiles the keys as extended regular expressions. Letters match in either
// case, as they do in OpenSMTPD, which gets there by folding the pattern, \S and all.
func (c *contents) regexIndex() (finder, error) {
	var patterns []*regexp.Regexp
	var refs []uint32
	err := c.each(func(ref uint32, key, _ string) error {
		if len(patterns) == maxPatterns {
			return fmt.Errorf("%s: more than %d regular expressions", c.source, maxPatterns)
		}
		re, err := compile(key)
		if err != nil {
			return fmt.Errorf("%s: invalid regular expression %q: %w", c.where(ref), key, err)
		}
		patterns, refs = append(patterns, re), append(refs, ref)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return func(key []byte) (uint32, bool, error) {
		for i, re := range patterns {
			if re.Match(key) {
				return refs[i], true, nil
			}
		}
		return 0, false, nil
	}, nil
}

func compile(s string) (*regexp.Regexp, error) {
	if len(s) > maxPatternLen {
		return nil, fmt.Errorf("longer than %d octets", maxPatternLen)
	}
	return regexp.Compile("(?is)" + translate(strings.TrimPrefix(s, "(?i)")))
}

// translate turns what POSIX systems understand and RE2 does not into RE2: the word
// boundaries \< and \>, [[:<:]] and [[:>:]], repetitions of repetitions, {,n}, backslashes
// before ordinary letters, and the backslash that is an ordinary character in brackets.
func translate(s string) string {
	var b []byte
	repeated := false // the last octet is a repetition
	for i := 0; i < len(s); i++ {
		again := repeated
		repeated = false
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
			b = appendEscape(b, s[i])
		case strings.HasPrefix(s[i:], "[[:<:]]"), strings.HasPrefix(s[i:], "[[:>:]]"):
			b = append(b, `\b`...)
			i += len("[[:<:]]") - 1
		case c == '[':
			end := bracketEnd(s, i)
			b = append(b, bracket(s[i:end])...)
			i = end - 1
		case strings.HasPrefix(s[i:], "{,") && i+2 < len(s) && '0' <= s[i+2] && s[i+2] <= '9':
			b = append(b, "{0"...)
		case (c == '*' || c == '+') && again:
			if last := &b[len(b)-1]; c != *last {
				*last = '*'
			}
			repeated = true
		default:
			b = append(b, c)
			repeated = c == '*' || c == '+' || c == '?'
		}
	}
	return string(b)
}

// appendEscape appends a character after a backslash.
func appendEscape(b []byte, c byte) []byte {
	switch {
	case c == '<' || c == '>':
		return append(b, `\b`...)
	case c == '`':
		return append(b, `\A`...)
	case c == '\'':
		return append(b, `\z`...)
	case c == '_' || ('a' <= c|0x20 && c|0x20 <= 'z') && strings.IndexByte("bBdDfnrsStvwWxAz", c) < 0:
		return append(b, c) // RE2 would refuse it
	}
	return append(b, '\\', c)
}

// bracket keeps \w and its like, which people write although POSIX does not have them.
func bracket(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c, n := collating(s[i:]); n > 0 {
			if strings.IndexByte(`-]^[\`, c) >= 0 {
				b.WriteByte('\\')
			}
			b.WriteByte(c)
			i += n - 1
			continue
		}
		b.WriteByte(s[i])
		if s[i] == '\\' && (i+1 == len(s) || strings.IndexByte(`dDsSwW\.-^$/+*?|(){}@`, s[i+1]) < 0) {
			b.WriteByte('\\')
		} else if s[i] == '\\' {
			i++
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// collating reads the names that an ordinary character has in brackets, [.-.] and [=e=],
// and gives the length of the name.
func collating(s string) (c byte, n int) {
	if len(s) >= 5 && s[0] == '[' && (s[1] == '.' || s[1] == '=') && s[3] == s[1] && s[4] == ']' && s[2] < 0x80 {
		return s[2], 5
	}
	return 0, 0
}

// bracketEnd gives the index after the bracket expression that begins at i. A bracket
// that comes first in the set is a member, and [:class:] is skipped.
func bracketEnd(s string, i int) int {
	i++
	if i < len(s) && s[i] == '^' {
		i++
	}
	if i < len(s) && s[i] == ']' {
		i++
	}
	for i < len(s) {
		if _, n := collating(s[i:]); n > 0 {
			i += n
			continue
		}
		if strings.HasPrefix(s[i:], "[:") {
			if n := strings.Index(s[i+2:], ":]"); n >= 0 {
				i += n + 4
				continue
			}
		}
		i++
		if s[i-1] == ']' {
			break
		}
	}
	return i
}
