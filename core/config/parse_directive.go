package config

import "strings"

// directive parses a line that begins with a keyword.
func (p *parser) directive() {
	d := &directive{pos: p.tok.pos}
	if p.tok.kind != tKeyword || !contains(directives, p.tok.text) {
		p.unexpected("a directive or the definition of a macro", directives...)
		return
	}
	d.name = p.oneOf(directives...)
	switch d.name {
	case "include":
		p.parseInclude()
		return
	case "admd":
		d.args = append(d.args, p.str("a domain"))
	case "bounce":
		p.parseBounce(d)
	case "ca":
		p.parseCA(d)
	case "filter":
		p.parseFilter(d)
	case "listen":
		p.parseListen(d)
	case "match":
		p.parseMatch(d)
	case "mda":
		p.parseMDA(d)
	case "mta":
		p.parseMTA(d)
	case "pki":
		p.parsePKI(d)
	case "proc":
		p.parseProc(d)
	case "queue":
		p.parseQueue(d)
	case "scheduler":
		p.parseScheduler(d)
	case "hostname":
		d.args = append(d.args, p.str("the name of the server"))
	case "limit":
		p.limitFirst(d)
	case "smtp":
		p.parseSMTP(d)
	case "srs":
		p.parseSRS(d)
	case "table":
		p.parseTable(d)
	case "action":
		p.parseAction(d)
	}
	if !p.failed && p.tok.kind != tNewline {
		p.unexpected("the end of the line")
	}
	d.broken = p.failed
	p.tree.directives = append(p.tree.directives, d)
}

// macro parses NAME = VALUE.
func (p *parser) macro() {
	t := p.tok
	p.advance()
	if !p.is("=") {
		hint := suggest(t.text, p.directives())
		p.fail(t.pos, hint, "unexpected %q: expected a directive or the definition of a macro", t.text)
		return
	}
	p.define(t.pos, t.text)
}

func (p *parser) define(pos Pos, name string) {
	p.eat("=")
	value := p.str("the value of the macro")
	if strings.ContainsAny(name, " \t") {
		p.fail(pos, "", "the name of a macro has no blanks: write a word")
	}
	if p.failed {
		return
	}
	if p.lang.old() {
		p.tree.units = append(p.tree.units, &unit{pos: pos, last: p.tok.pos.Line,
			note: "a macro, replaced where it is used"})
	}
	m := p.lex.macros[name]
	if m != nil && m.command {
		return
	}
	used := m != nil && m.used
	p.lex.macros[name] = &macro{pos: pos, value: value.text, used: used}
}

// parseInclude puts another file in the place of the next line, and gives its name.
func (p *parser) parseInclude() string {
	path := p.str("the path of a file")
	switch {
	case p.failed:
		return ""
	case p.tok.kind != tNewline:
		p.unexpected("the end of the line")
		return ""
	case p.lex.isOpen(path.text):
		p.fail(path.pos, "", "file %q includes itself: remove the line", path.text)
	case len(p.lex.files) >= maxDepth:
		p.fail(path.pos, "", "more than %d files include each other: write them as fewer", maxDepth)
	case p.lex.opened >= maxFiles:
		p.fail(path.pos, "", "more than %d files: write them as fewer", maxFiles)
	case p.include == nil:
		p.fail(path.pos, "", "no other file can be included here: write its lines")
	}
	if p.failed {
		return ""
	}
	content, err := p.include(path.text)
	if err != nil {
		p.fail(path.pos, "", "cannot include %q: %v: write the path of a file", path.text, err)
		return ""
	}
	p.rep.addFile(path.text, content)
	p.lex.open(path.text, content)
	return path.text
}

func (p *parser) parseBounce(d *directive) {
	switch word := p.oneWord("limit", "max-return-size", "return-full", "warn-interval"); word {
	case "limit":
		d.name = "bounce limit"
		p.limits(d, bounceLimits)
	case "max-return-size":
		d.name = "bounce max-return-size"
		d.args = append(d.args, p.size())
	case "return-full":
		d.name = "bounce return-full"
		pos := p.tok.pos
		d.options = append(d.options, option{pos: pos, name: p.oneWord(returnFull...)})
	case "warn-interval":
		d.args = p.delays()
	}
}

// delays takes one delay or more, divided by commas.
func (p *parser) delays() (list []word) {
	for more := true; more && !p.failed; more = p.eat(",") {
		list = append(list, p.delay())
	}
	return list
}

// delay takes a string like 4h.
func (p *parser) delay() word {
	if p.tok.kind == tNumber {
		p.fail(p.tok.pos, "", "a delay needs a unit: write %ss, %sm, %sh or %sd",
			p.tok.text, p.tok.text, p.tok.text, p.tok.text)
	}
	return p.str("a delay")
}

func (p *parser) parseCA(d *directive) {
	d.args = append(d.args, p.str("the name of the CA"))
	p.oneOf("cert")
	d.args = append(d.args, p.str("the path of a file"))
}

func (p *parser) parsePKI(d *directive) {
	d.args = append(d.args, p.str("the name of the certificate"))
	p.options(d, []syntax{{"cert", shapeText, ""}, {"key", shapeText, ""}, {"dhe", shapeText, ""}})
}

func (p *parser) parseMDA(d *directive) {
	switch p.oneOf("limit", "wrapper") {
	case "limit":
		d.name = "mda limit"
		p.limits(d, mdaLimits)
	case "wrapper":
		d.name = "mda wrapper"
		d.args = append(d.args, p.str("the name of the wrapper"), p.str("a command"))
	}
}

func (p *parser) parseMTA(d *directive) {
	switch p.oneWord(dane, "limit", "max-deferred", sts, tlsPolicy, tlsReport) {
	case tlsReport:
		p.parseTLSReport(d)
	case tlsPolicy:
		d.name = "mta tls-policy"
		d.table = p.tableArg()
	case sts:
		d.name = "mta sts"

	case dane:
		d.name = "mta dane"
		for !p.failed && p.tok.kind == tString {
			d.args = append(d.args, p.str("an address"))
		}
	case "max-deferred":
		d.name = "mta max-deferred"
		d.args = append(d.args, p.num("a number"))
	case "limit":
		d.name = "mta limit"
		if p.keyword("for") {
			p.oneOf("domain")
			d.args = append(d.args, p.str("a domain"))
		}
		p.mtaLimits(d)
	}
}

// mtaLimits parses the limits, among which the address family can stand, alone or as the one to prefer.
func (p *parser) mtaLimits(d *directive) {
	for !p.failed && p.tok.kind != tNewline && p.tok.kind != tEOF {
		o := option{pos: p.tok.pos, name: p.tok.text}
		switch {
		case p.keyword("inet4"), p.keyword("inet6"):
		case p.tok.kind == tString && p.tok.text == prefer:
			p.advance()
			o.arg = word{pos: p.tok.pos, text: p.oneOf("inet4", "inet6")}
		case p.tok.kind == tString && contains(mtaLimits, p.tok.text):
			p.advance()
			o.arg = p.num("a number after \"" + o.name + "\"")
		default:
			p.unexpected("the name of a limit", append([]string{"inet4", "inet6", prefer}, mtaLimits...)...)
		}
		if !p.failed {
			d.options = append(d.options, o)
		}
	}
}

func (p *parser) parseQueue(d *directive) {
	switch word := p.oneWord("compression", "encryption", maxBodyMemory, schedule, "ttl"); word {
	case maxBodyMemory:
		d.name = "queue max-body-memory"
		d.args = append(d.args, p.size())
	case schedule:
		d.name = "queue schedule"
		d.args = p.delays()
	case "compression":
		d.name = "queue compression"
		if p.tok.kind == tString {
			d.args = append(d.args, p.str("a method"))
		}
	case "encryption":
		d.name = "queue encryption"
		for !p.failed && p.tok.kind == tString {
			d.args = append(d.args, p.str("a key"))
		}
	case "ttl":
		d.name = "queue ttl"
		d.args = append(d.args, p.delay())
	}
}

func (p *parser) parseScheduler(d *directive) {
	if p.oneOf("limit") != "" {
		d.name = "scheduler limit"
		p.limits(d, schedulerLimits)
	}
}

func (p *parser) parseSMTP(d *directive) {
	word := p.oneWord("ciphers", earlyTalkers, "limit", "max-message-size", "sub-addr-delim")
	d.name = "smtp " + word
	switch word {
	case "limit":
		p.smtpLimits(d)
	case earlyTalkers:
		p.earlyTalkers(d)
	case "max-message-size":
		d.args = append(d.args, p.size())
	case "ciphers", "sub-addr-delim":
		d.args = append(d.args, p.str("a string after \""+word+"\""))
	}
}

// size takes a number of octets or a string like 35M.
func (p *parser) size() word {
	if p.tok.kind == tNumber {
		return p.num("a size")
	}
	return p.str("a size")
}

func (p *parser) parseSRS(d *directive) {
	switch p.oneOf("key", "ttl") {
	case "key":
		d.name = "srs key"
		if p.keyword("backup") {
			d.name = "srs key backup"
		}
		d.args = append(d.args, p.str("a key"))
	case "ttl":
		d.name = "srs ttl"
		d.args = append(d.args, p.delay())
	}
}
