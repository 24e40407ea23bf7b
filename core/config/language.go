package config

// Language is the grammar that a file is written in. All are translated into today's
// tree before anything is checked.
type Language uint8

// The languages. A file and those that it includes are in one of them.
const (
	Today   Language = iota
	May2018          // today's, with "set" before what is set for the whole server
	Rules            // accept and reject with tables: OpenSMTPD 5.3 to 6.0
	Maps             // accept and reject with maps: OpenSMTPD until November 2012
)

func (l Language) String() string {
	switch l {
	case May2018:
		return "the language of OpenSMTPD in May 2018"
	case Rules:
		return "the language of OpenSMTPD 5.3 to 6.0"
	case Maps:
		return "the language of OpenSMTPD before 5.3"
	}
	return "today's language"
}

// old tells whether the rules of the language are accept and reject.
func (l Language) old() bool { return l == Rules || l == Maps }

// signs are the first lines that give a language away.
type signs struct {
	today, set, old, maps, tables Pos // no line: none was seen
}

func (s *signs) language() Language {
	switch {
	case s.old.Line > 0 && s.maps.Line > 0 && s.tables.Line == 0:
		return Maps
	case s.old.Line > 0:
		return Rules
	case s.set.Line > 0:
		return May2018
	}
	return Today
}

// sniffer reads the beginnings of lines. It reports nothing: what is wrong is found later.
type sniffer struct {
	lex     lexer
	include func(string) ([]byte, error)
	signs
	line  []token // of the line so far
	depth int     // open braces
}

// maxSniffed is how many tokens of a line are looked at.
const maxSniffed = 64

// sniff finds the language of a file and of those that it includes.
func sniff(name string, text []byte, macros map[string]string, include func(string) ([]byte, error)) *signs {
	s := &sniffer{include: include}
	s.lex.macros = map[string]*macro{}
	for k, v := range macros {
		s.lex.macros[k] = &macro{value: v, command: true}
	}
	s.lex.open(name, text)
	for t := s.lex.next(); t.kind != tEOF; t = s.lex.next() {
		switch {
		case t.kind == tNewline:
			if s.depth <= 0 || len(s.line) == 0 {
				s.endLine()
			}
			continue
		case t.kind == tChar && t.text == "{":
			s.depth++
		case t.kind == tChar && t.text == "}":
			s.depth--
		}
		if s.depth > 0 && s.unmistakable(t) {
			s.endLine()
		}
		if len(s.line) < maxSniffed {
			s.line = append(s.line, t)
		}
	}
	s.endLine()
	return &s.signs
}

// unmistakable tells whether a line begins although braces are open, which can be missing
// in the oldest files.
func (s *sniffer) unmistakable(t token) bool {
	if len(s.line) == 0 {
		return false
	}
	last := s.line[len(s.line)-1]
	if t.quoted || last.pos.File == t.pos.File && last.pos.Line == t.pos.Line {
		return false
	}
	switch t.text {
	case "accept", "action", "listen", "match":
		return true
	}
	return false
}

func (s *sniffer) endLine() {
	line := s.line
	s.line, s.depth = nil, 0
	if len(line) == 0 || line[0].quoted || line[0].kind != tString && line[0].kind != tKeyword {
		return
	}
	first, pos := line[0].text, line[0].pos
	if len(line) == 3 && line[1].kind == tChar && line[1].text == "=" {
		if m := s.lex.macros[first]; m == nil || !m.command {
			s.lex.macros[first] = &macro{value: line[2].text}
		}
		return
	}
	if first == "include" && len(line) == 2 {
		s.open(line[1].text)
		return
	}
	note := func(place *Pos, yes bool) {
		if yes && place.Line == 0 {
			*place = pos
		}
	}
	note(&s.today, isToday(line))
	note(&s.set, first == "set" || first == "limit")
	note(&s.old, isOld(line))
	note(&s.maps, isMaps(line))
	note(&s.tables, first == "table" || first == "pki")
}

func (s *sniffer) open(path string) {
	if s.include == nil || s.lex.isOpen(path) || len(s.lex.files) >= maxDepth || s.lex.opened >= maxFiles {
		return
	}
	if text, err := s.include(path); err == nil {
		s.lex.open(path, text)
	}
}

// has tells whether one of the words stands bare in the line.
func has(line []token, words ...string) bool {
	for _, t := range line[1:] {
		for _, w := range words {
			if t.text == w && !t.quoted {
				return true
			}
		}
	}
	return false
}

// withoutValues gives a line of a listener without the strings of its options: "secure" is
// a word of today's protocols as well.
func withoutValues(line []token) []token {
	kept := line[:1:1]
	for i := 1; i < len(line); i++ {
		switch before := line[i-1]; before.text {
		case "ciphers", "hostname", "on", "pki", "protocols", "tag":
			if !before.quoted {
				continue
			}
		}
		kept = append(kept, line[i])
	}
	return kept
}

// isToday tells whether a line can only be of today's language.
func isToday(line []token) bool {
	switch line[0].text {
	case "action", "admd", "bounce", "match", "mda", "mta", "proc", "scheduler", "set", "smtp", "srs":
		return true
	case "filter":
		return has(line[min(1, len(line)-1):], "proc", "proc-exec", "phase") || has(line, "chain") && has(line, "{")
	case "pki", "ca":
		return has(line, "cert")
	case "queue":
		return has(line, "ttl")
	case "listen":
		return has(line, "mask-src", "proxy-v2", "protocols")
	}
	return false
}

// isOld tells whether a line can only be of a language before OpenSMTPD 6.4.
func isOld(line []token) bool {
	switch line[0].text {
	case "accept", "bounce-warn", "ciphers", "curve", "enqueuer", "expire", "map", "max-message-size",
		"max-mta-deferred", "reject", "size", "ssmtp", "subaddressing-delimiter":
		return true
	case "pki", "ca":
		return has(line, "certificate", "dhparams")
	case "queue":
		return has(line, "interval")
	case "limit":
		return has(line, "session")
	case "listen":
		return has(withoutValues(line), "certificate", "dsn-notify", "dsn-ret", "enable", "mask-source", "secure", "ssl")
	}
	return false
}

// isMaps tells whether a line belongs to the time of maps, if the file is old at all.
func isMaps(line []token) bool {
	switch line[0].text {
	case "map", "hostname", "size", "ssmtp":
		return true
	case "queue":
		return has(line, "interval")
	case "listen":
		return has(line, "enable")
	case "accept", "reject":
		return has(line, "all", "map", "on", "(", "network")
	}
	return false
}
