package config

// oldDirective parses a line of a language before OpenSMTPD 6.4 into a unit. What every
// age had is accepted at every age, in any order.
func (p *parser) oldDirective() {
	u := &unit{pos: p.tok.pos}
	name := p.oneOf(oldDirectives...)
	switch name {
	case "":
		return
	case "include":
		u.include = p.parseInclude()
	case "accept", "reject":
		u.rule = &oldRule{pos: u.pos, reject: name == "reject"}
		p.oldRule(u.rule)
	case "listen", "ssmtp":
		u.listen = &directive{pos: u.pos, name: name}
		p.oldListen(u.listen)
	default:
		u.setting = &directive{pos: u.pos, name: name}
		p.oldSetting(u.setting)
	}
	if !p.failed && !p.lineEnded() {
		p.unexpected("the end of the line")
	}
	u.last = p.lastLine(u.pos)
	if p.failed {
		p.brokenUnit(u, name)
	}
	p.tree.units = append(p.tree.units, u)
}

// lineEnded tells whether nothing is left of a line. A block whose closing brace is missing
// took the line end with it.
func (p *parser) lineEnded() bool { return p.tok.kind == tNewline || p.first }

// lastLine gives the line where the directive that begins at pos has ended.
func (p *parser) lastLine(pos Pos) int {
	switch end := p.tok.pos; {
	case end.File != pos.File:
		return pos.Line
	case p.tok.kind != tNewline && p.first:
		return end.Line - 1
	default:
		return end.Line
	}
}

// brokenUnit leaves of a wrong line what others refer to, and that it was there.
func (p *parser) brokenUnit(u *unit, name string) {
	d := &directive{pos: u.pos, name: name, broken: true}
	if u.setting != nil {
		d.args = u.setting.args
	}
	switch name {
	case "accept", "reject":
		d.name = "match"
	case "map":
		d.name = "table"
	}
	*u = unit{pos: u.pos, last: u.last, today: []*directive{d}}
}

// oldSetting parses what is neither a rule nor a listener. The words of today are used
// where there are some.
func (p *parser) oldSetting(d *directive) {
	switch d.name {
	case "table":
		p.parseTable(d)
	case "map":
		d.name = "table"
		p.oldMap(d)
	case "pki":
		d.args = append(d.args, p.str("the name of the certificate"))
		p.options(d, oldPKIOptions)
	case "ca":
		d.args = append(d.args, p.str("the name of the CA"))
		p.oneOf("certificate")
		d.args = append(d.args, p.str("the path of a file"))
	case "queue":
		p.oldQueue(d)
	case "limit":
		p.oldLimit(d)
	case "bounce-warn":
		d.name = "bounce"
		for more := p.tok.kind != tNewline; more && !p.failed; more = p.eat(",") {
			d.args = append(d.args, p.delay())
		}
	case "expire":
		d.name = "queue ttl"
		d.args = append(d.args, p.delay())
	case "size", "max-message-size":
		d.name = "smtp max-message-size"
		d.args = append(d.args, p.size())
	case "max-mta-deferred":
		d.name = "mta max-deferred"
		d.args = append(d.args, p.num("a number"))
	case "subaddressing-delimiter":
		d.name = "smtp sub-addr-delim"
		d.args = append(d.args, p.str("a character"))
	case "ciphers":
		d.name = "smtp ciphers"
		d.args = append(d.args, p.str("a list of ciphers"))
	case "hostname", "curve":
		d.args = append(d.args, p.str("a string after \""+d.name+"\""))
	case "enqueuer":
		p.oneOf("filter")
		d.args = append(d.args, p.str("the name of a filter"))
	case "filter":
		for !p.failed && p.tok.kind != tNewline && p.tok.kind != tEOF {
			d.args = append(d.args, p.str("a string"))
		}
	}
}

// oldMap parses map NAME with where it is: a path, source and a path, or a block of lines
// type, source and config. Braces may be missing.
func (p *parser) oldMap(d *directive) {
	d.args = append(d.args, p.str("the name of the map"))
	braces := p.open()
	source := word{pos: p.tok.pos}
	for !p.failed {
		if braces {
			p.newlines()
		}
		switch {
		case p.keyword("source"), p.tok.kind == tKeyword && contains(oldSources, p.tok.text):
			source = p.oldSource()
			continue
		case p.keyword("type"):
			p.oneOf("hash", "list", "single")
			continue
		case p.keyword("config"):
			p.str("a string after \"config\"")
			continue
		case p.tok.kind == tString && source.text == "":
			source = p.str("a path")
			continue
		}
		break
	}
	p.depth = 0
	p.eat("}")
	if !p.failed && source.text == "" {
		p.fail(d.pos, "", "the map has no source: write source db \"/path\" for example")
	}
	d.args = append(d.args, source)
}

// oldSources are where a map could be. The manual forgot the word source once.
var oldSources = []string{"db", "dns", "external", "file", "ldap", "plain"}

// oldSource gives the source of a map as today's [TYPE:]PATH.
func (p *parser) oldSource() word {
	if p.tok.kind == tString { // a program of today: "sqlite" for example
		kind := p.str("a source")
		w := p.str("a path")
		w.text = kind.text + ":" + w.text
		return w
	}
	pos := p.tok.pos
	switch kind := p.oneOf(oldSources...); kind {
	case "db", "ldap":
		w := p.str("a path")
		w.text = kind + ":" + w.text
		return w
	case "file", "plain":
		return p.str("a path")
	default:
		p.fail(pos, "", "maps of source %q never worked: write file or db and a path", kind)
	}
	return word{pos: pos}
}

func (p *parser) oldQueue(d *directive) {
	switch p.oneOf("compression", "encryption", "interval") {
	case "compression":
		d.name = "queue compression"
		if p.tok.kind == tString { // the method, of which there was one
			p.str("a method")
		}
	case "encryption":
		d.name = "queue encryption"
		if p.keyword("key") || p.tok.kind == tString {
			d.args = append(d.args, p.str("a key"))
		}
	case "interval":
		d.name = "queue interval"
		if p.tok.kind == tNumber {
			p.advance()
		}
		if p.tok.kind == tString {
			p.advance()
		}
	}
}

func (p *parser) oldLimit(d *directive) {
	switch p.oneOf("mda", "mta", "scheduler", "session") {
	case "mda":
		d.name = "mda limit"
		p.limits(d, mdaLimits)
	case "mta":
		d.name = "mta limit"
		if p.keyword("for") {
			p.oneOf("domain")
			d.args = append(d.args, p.str("a domain"))
		}
		p.mtaLimits(d)
	case "scheduler":
		d.name = "scheduler limit"
		p.limits(d, schedulerLimits)
	case "session":
		d.name = "smtp limit"
		p.smtpLimits(d)
	}
}

// oldListen parses [ssmtp] listen on INTERFACE with options in any order.
func (p *parser) oldListen(d *directive) {
	if d.name == "ssmtp" {
		p.oneOf("listen")
	}
	p.oneOf("on")
	if p.keyword("socket") {
		d.name = "listen socket"
		p.options(d, oldSocketOptions)
		return
	}
	d.args = append(d.args, p.str("an interface or an address"))
	p.options(d, oldListenOptions)
	if d.name == "ssmtp" && !p.failed {
		d.name = "listen"
		d.options = append(d.options, option{pos: d.pos, name: "smtps"})
	}
}
