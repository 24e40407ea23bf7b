package config

import "fmt"

// parseTable parses table NAME [TYPE:]PATH and table NAME { ... }.
func (p *parser) parseTable(d *directive) {
	d.args = append(d.args, p.str("the name of the table"))
	if p.is("{") {
		d.table = p.inline()
		return
	}
	d.args = append(d.args, p.str("a path or \"{\""))
}

// beginsTable tells whether a table argument follows.
func (p *parser) beginsTable() bool {
	return p.tok.kind == tString || p.is("{") || p.is("<")
}

// tableArg parses "string", { ... } or <name>.
func (p *parser) tableArg() *tableArg {
	t := &tableArg{pos: p.tok.pos}
	switch {
	case p.is("{"):
		return p.inline()
	case p.lang.old() && p.is("("):
		return p.members(t, ")")
	case p.lang.old() && p.keyword("map"):
		t.ref = p.str("the name of a map").text
	case p.eat("<"):
		t.ref = p.str("the name of a table").text
		if !p.failed && !p.eat(">") {
			p.unexpected("\">\"")
		}
	default:
		w := p.str("a string, \"{\" or \"<\"")
		t.single, t.kind = true, ListKind
		t.entries, t.at = []Entry{{Key: w.text}}, []Pos{w.pos}
	}
	return t
}

// inline parses { a, b } or { a = b, c => d }.
func (p *parser) inline() *tableArg {
	return p.members(&tableArg{pos: p.tok.pos}, "}")
}

// members parses the entries between braces, or parentheses, as old files have them.
func (p *parser) members(t *tableArg, end string) *tableArg {
	if !p.open() {
		p.eat("(")
	}
	p.newlines()
	for more := true; !p.failed && (more || !p.is(end)); {
		p.entry(t)
		more = p.separator()
	}
	if end == "}" {
		p.close()
	} else if !p.eat(end) {
		p.unexpected(fmt.Sprintf("%q", end))
	}
	return t
}

// reference parses a table argument where a string is the name of a table.
func (p *parser) reference() *tableArg {
	t := p.tableArg()
	if t.single {
		return &tableArg{pos: t.pos, ref: t.entries[0].Key}
	}
	return t
}

// entry parses one member. The first decides whether all have values.
func (p *parser) entry(t *tableArg) {
	key := p.str("a string")
	assign := p.is("=") || p.is("=>")
	if t.kind == UnknownKind {
		t.kind = ListKind
		if assign {
			t.kind = MapKind
		}
	}
	var value word
	if t.kind == MapKind {
		if !p.failed && !assign {
			p.unexpected("\"=\" and a value, as the members before have")
		}
		if assign {
			p.advance()
		}
		value = p.str("a value")
	} else if assign {
		p.unexpected("no value, as the members before have none")
	}
	t.entries = append(t.entries, Entry{key.text, value.text})
	t.at = append(t.at, key.pos)
}
