package table

import "strings"

// Glob reports whether s matches pattern, in which an asterisk stands for any octets,
// dots included: *.example.org covers a.b.example.org but not example.org. Letters are
// compared as they are. The time is at most the product of the lengths.
func Glob(pattern, s string) bool {
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

// domainIndex finds names in a table of patterns: plain names and *.name cost a few map
// accesses however many there are, only other patterns are tried one by one.
func (c *contents) domainIndex() func(string) (int32, bool) {
	suffixes := make(map[string]int32) // ".example.org" of "*.example.org"
	var globs []pattern
	for i, e := range c.entries {
		key := strings.ToLower(e.key)
		switch {
		case !strings.Contains(key, "*"):
		case strings.HasPrefix(key, "*.") && !strings.Contains(key[1:], "*"):
			suffixes[key[1:]] = int32(i)
		default:
			globs = append(globs, pattern{key, int32(i)})
		}
	}
	return func(key string) (int32, bool) {
		key = strings.ToLower(key)
		if i, ok := c.exact[key]; ok {
			return i, true
		}
		for rest := key; len(suffixes) > 0; rest = rest[1:] {
			dot := strings.IndexByte(rest, '.')
			if dot < 0 {
				break
			}
			rest = rest[dot:]
			if i, ok := suffixes[rest]; ok {
				return i, true
			}
		}
		return tryAll(globs, key)
	}
}

type pattern struct {
	text  string
	index int32
}

func tryAll(globs []pattern, s string) (int32, bool) {
	for _, g := range globs {
		if Glob(g.text, s) {
			return g.index, true
		}
	}
	return 0, false
}

// mailIndex finds addresses in a table of user, @domain, user@domain, @ and of addresses
// whose domain is a pattern. The detail of a sub-address counts only for entries that
// have one themselves. The null reverse-path is covered by @ and by <>.
func (c *contents) mailIndex() func(string) (int32, bool) {
	globs := make(map[string][]pattern) // user, empty for any -> patterns of the domain
	for i, e := range c.entries {
		user, domain := cutAddress(strings.ToLower(e.key))
		if strings.Contains(domain, "*") {
			globs[user] = append(globs[user], pattern{domain, int32(i)})
		}
	}
	return func(key string) (int32, bool) {
		user, domain := cutAddress(strings.ToLower(key))
		users := [3]string{user, user, ""}
		if c.delim != "" {
			users[1], _, _ = strings.Cut(user, c.delim)
		}
		for _, k := range [...]string{user + "@" + domain, users[1] + "@" + domain, user, users[1],
			user + "@", users[1] + "@", "@" + domain, "@"} {
			if i, ok := c.exact[k]; ok && k != "" {
				return i, true
			}
		}
		if user == "" && domain == "" {
			i, ok := c.exact["<>"]
			return i, ok
		}
		for _, u := range users {
			if i, ok := tryAll(globs[u], domain); ok {
				return i, true
			}
		}
		return 0, false
	}
}

// cutAddress splits at the last at sign; without one all is the user.
func cutAddress(s string) (user, domain string) {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, ""
}
