package table

import (
	"bytes"
	"strings"
)

// Glob reports whether s matches pattern, in which an asterisk stands for any octets,
// dots included: *.example.org covers a.b.example.org but not example.org. Letters are
// compared as they are. The time is at most the product of the lengths.
func Glob(pattern, s string) bool { return glob(pattern, s) }

func glob[S string | []byte](pattern string, s S) bool {
	star, mark := -1, 0 // the last asterisk, and where its text ends for now
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// pattern is a key with an asterisk that is not just "*." at its beginning.
type pattern struct {
	text string
	ref  uint32
}

func tryAll(globs []pattern, s []byte) (uint32, bool, error) {
	for _, g := range globs {
		if glob(g.text, s) {
			return g.ref, true, nil
		}
	}
	return 0, false, nil
}

// domainIndex finds names in a table of patterns. Plain names and *.name cost a look-up
// for each label of the name, however many there are; only other patterns are tried one
// by one.
func (c *contents) domainIndex() (finder, error) {
	suffixes := false
	var globs []pattern
	err := c.each(func(ref uint32, key, _ string) error {
		switch {
		case !strings.Contains(key, "*"):
		case suffixPattern(key):
			suffixes = true
		default:
			globs = append(globs, pattern{lower(key), ref})
		}
		return nil
	})
	return func(key []byte) (uint32, bool, error) {
		if ref, found, err := c.find(key); err != nil || found {
			return ref, found, err
		}
		if suffixes {
			if ref, found, err := c.findSuffix(nil, key); err != nil || found {
				return ref, found, err
			}
		}
		return tryAll(globs, key)
	}, err
}

// suffixPattern reports whether a name is of the form *.name.
func suffixPattern(s string) bool {
	return strings.HasPrefix(s, "*.") && !strings.Contains(s[1:], "*")
}

// findSuffix looks for user*.x with each x that the domain ends in, the longest first.
func (c *contents) findSuffix(user, domain []byte) (uint32, bool, error) {
	buf := make([]byte, 0, len(user)+1+len(domain))
	for dot := bytes.IndexByte(domain, '.'); dot >= 0; dot = bytes.IndexByte(domain, '.') {
		k := append(append(append(buf, user...), '*'), domain[dot:]...)
		if ref, found, err := c.find(k); err != nil || found {
			return ref, found, err
		}
		domain = domain[dot+1:]
	}
	return 0, false, nil
}

// mailPatterns are what a table of addresses has besides plain ones.
type mailPatterns struct {
	suffixes bool                 // user@*.name or @*.name
	globs    map[string][]pattern // user, empty for any -> other patterns of the domain
}

func (c *contents) mailPatterns() (p mailPatterns, err error) {
	p.globs = make(map[string][]pattern)
	err = c.each(func(ref uint32, key, _ string) error {
		if !strings.Contains(key, "*") {
			return nil
		}
		user, domain := cutAddress(lower(key))
		switch {
		case suffixPattern(domain):
			p.suffixes = true
		case strings.Contains(domain, "*"):
			p.globs[user] = append(p.globs[user], pattern{domain, ref})
		}
		return nil
	})
	return p, err
}

// mailIndex finds addresses in a table of user, @domain, user@domain, @ and of addresses
// whose domain is a pattern. The detail of a sub-address counts only for entries that
// have one themselves. The null reverse-path is covered by @ and by <>.
func (c *contents) mailIndex() (finder, error) {
	patterns, err := c.mailPatterns()
	return func(key []byte) (uint32, bool, error) {
		user, domain := cutAddress(key)
		if len(user)+len(domain) == 0 {
			return c.findFirst("@", "<>")
		}
		base := user
		if i := bytes.Index(user, []byte(c.delim)); c.delim != "" && i >= 0 {
			base = user[:i]
		}
		at := append(append(append(make([]byte, 0, len(key)+1), user...), '@'), domain...)
		ref, found, err := c.findMail(at, len(user), len(base))
		if err != nil || found {
			return ref, found, err
		}
		for _, u := range [...][]byte{user, base, nil} {
			if patterns.suffixes {
				if ref, found, err = c.findSuffix(append(u[:len(u):len(u)], '@'), domain); err != nil || found {
					return ref, found, err
				}
			}
			if ref, found, err = tryAll(patterns.globs[string(u)], domain); found {
				return ref, found, err
			}
		}
		return c.findFirst("@")
	}, err
}

// findMail tries the plain forms of an address user@domain: with its detail and without,
// with its domain and without. Base is the length of user without the detail.
func (c *contents) findMail(addr []byte, user, base int) (uint32, bool, error) {
	short := addr
	if base != user {
		short = append(append(make([]byte, 0, len(addr)), addr[:base]...), addr[user:]...)
	}
	forms := [...][]byte{addr, short, addr[:user], short[:base], addr[:user+1], short[:base+1], addr[user:]}
	for i, k := range forms {
		if len(k) == 0 || len(k) == 1 && k[0] == '@' || i%2 == 1 && base == user {
			continue
		}
		if ref, found, err := c.find(k); err != nil || found {
			return ref, found, err
		}
	}
	return 0, false, nil
}

func (c *contents) findFirst(keys ...string) (uint32, bool, error) {
	for _, k := range keys {
		if ref, found, err := c.find([]byte(k)); err != nil || found {
			return ref, found, err
		}
	}
	return 0, false, nil
}

// cutAddress splits at the last at sign; without one all is the user.
func cutAddress[S string | []byte](s S) (user, domain S) {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == '@' {
			return s[:i], s[i+1:]
		}
	}
	return s, s[len(s):]
}
