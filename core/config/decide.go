package config

// decide settles the language of the file. It tells whether there is one: a file that is
// half of an older language is wrong as a whole.
func (p *parser) decide(s *signs) bool {
	p.lang = s.language()
	p.tree.lang = p.lang
	if p.lang == May2018 {
		p.tell(s.set)
	}
	if !p.lang.old() {
		return true
	}
	if s.today.Line > 0 {
		p.rep.errorf(s.old, "", "this line is in %s, but line %d of %s is in today's: write both in one language",
			p.lang, s.today.Line, s.today.File)
		// That the file has rules is known, if not which.
		p.tree.directives = []*directive{{pos: s.old, name: "match", broken: true}}
		return false
	}
	p.tell(s.old)
	p.lex.words = oldReserved
	return true
}

// tell says that the file is translated, at the first line that shows it.
func (p *parser) tell(pos Pos) {
	p.rep.warnf(pos, "this is %s, translated to today's; \"smtpctl config convert %s\" prints the result",
		p.lang, p.rep.names[0])
}

// setWords are what "set" stood before in May 2018.
var setWords = []string{"bounce", "mta", "queue", "smtp"}

// set parses "set" and what follows as today's line without it.
func (p *parser) set() {
	p.tree.set = append(p.tree.set, cut{p.tok.pos, len("set"), ""})
	p.advance()
	if p.tok.kind != tKeyword || !contains(setWords, p.tok.text) {
		p.unexpected("", setWords...)
		return
	}
	p.directive()
}

// limitFirst parses limit smtp, limit mda, limit mta and limit scheduler of May 2018, which
// are the other way round today.
func (p *parser) limitFirst(d *directive) {
	p.tree.set = append(p.tree.set, cut{d.pos, len("limit"), ""})
	at := p.tok.pos
	word := p.oneOf("mda", "mta", "scheduler", "smtp")
	d.name = word + " limit"
	p.tree.set = append(p.tree.set, cut{at, len(word), d.name})
	switch word {
	case "mda":
		p.limits(d, mdaLimits)
	case "mta":
		if p.keyword("for") {
			p.oneOf("domain")
			d.args = append(d.args, p.str("a domain"))
		}
		p.mtaLimits(d)
	case "scheduler":
		p.limits(d, schedulerLimits)
	case "smtp":
		p.smtpLimits(d)
	}
}
