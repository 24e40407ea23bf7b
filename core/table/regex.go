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
// boundaries \< and \>, and the backslash that is an ordinary character in brackets.
func translate(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			if s[i] == '<' || s[i] == '>' {
				b.WriteString(`\b`)
				continue
			}
			b.WriteByte('\\')
			b.WriteByte(s[i])
		case s[i] == '[':
			end := bracketEnd(s, i)
			b.WriteString(bracket(s[i:end]))
			i = end - 1
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// bracket keeps \w and its like, which people write although POSIX does not have them.
func bracket(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
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
