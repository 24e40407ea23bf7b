package sendmail

import (
	"errors"
	"fmt"
	"strings"

	"github.com/godwit-mta/godwit/core/address"
)

// MaxRecipients is the largest number of recipients of one message.
const MaxRecipients = 10000

var errTooMany = errors.New("too many recipients")

// ParseRecipients reads a list of addresses as it stands in To, Cc and Bcc: display names,
// comments, groups and obsolete white space are understood (RFC 5322 section 3.4). An
// address may lack its domain. Control characters count as white space.
func ParseRecipients(s string) ([]address.Address, error) {
	p := listParser{rest: s}
	for p.rest != "" {
		if err := p.step(); err != nil {
			return nil, err
		}
	}
	if err := p.flush(); err != nil {
		return nil, err
	}
	return p.list, nil
}

// listParser collects one address at a time.
type listParser struct {
	rest  string
	list  []address.Address
	plain []byte // outside angle brackets
	angle string // inside of them
	named bool   // there were angle brackets
	space bool   // white space since the last octet of plain
	words bool   // plain is more than one word
}

// step takes the next token.
func (p *listParser) step() error {
	c := p.rest[0]
	n := 1
	switch {
	case c == ',' || c == ';':
		p.rest = p.rest[1:]
		return p.flush()
	case c == ':': // what was before is the name of a group
		p.plain, p.words = nil, false
	case c == '(':
		n = endOfComment(p.rest)
		p.space = true
	case c == '"':
		n = endOf(p.rest, '"')
		p.add(p.rest[:max(n, 0)])
	case c == '[':
		n = endOf(p.rest, ']')
		p.add(p.rest[:max(n, 0)])
	case c == '<':
		n = endOf(p.rest, '>')
		if n > 0 && p.named {
			return errors.New("two addresses without a comma")
		}
		p.named = true
		p.angle = p.rest[1:max(n-1, 1)]
	case c <= ' ' || c == 0x7f:
		p.space = true
	default:
		p.add(p.rest[:1])
	}
	if n <= 0 {
		return fmt.Errorf("no end of %q", p.rest[:min(len(p.rest), 40)])
	}
	p.rest = p.rest[n:]
	return nil
}

// add appends to plain. White space beside a dot or an at sign belongs to the address.
func (p *listParser) add(s string) {
	if p.space && len(p.plain) > 0 && s != "" {
		last := p.plain[len(p.plain)-1]
		if last != '@' && last != '.' && s[0] != '@' && s[0] != '.' {
			p.words = true
		}
	}
	p.space = false
	p.plain = append(p.plain, s...)
}

// flush ends an address. Nothing between two commas is no address.
func (p *listParser) flush() error {
	text := string(p.plain)
	words := p.words
	if p.named {
		text, words = strings.TrimSpace(p.angle), false
	}
	empty := text == "" && !p.named
	p.plain, p.angle, p.named, p.space, p.words = nil, "", false, false, false
	if empty {
		return nil
	}
	a, err := address.ParsePath(text)
	if err != nil || words || a.Null() {
		return fmt.Errorf("%.80q is not an address", text)
	}
	if len(p.list) == MaxRecipients {
		return errTooMany
	}
	p.list = append(p.list, a)
	return nil
}

// endOf gives the length of a token that begins with any octet and ends with end; a
// backslash takes the meaning of the next octet. It is 0 when there is no end. Quoted
// strings hide the end of the others.
func endOf(s string, end byte) int {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case s[i] == end:
			return i + 1
		case s[i] == '"':
			n := endOf(s[i:], '"')
			if n == 0 {
				return 0
			}
			i += n - 1
		}
	}
	return 0
}

// endOfComment gives the length of a comment, in which others may be nested.
func endOfComment(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}
