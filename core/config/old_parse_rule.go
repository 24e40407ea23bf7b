package config

// oldRule parses what follows accept or reject. The parts had a fixed order before 5.4.
func (p *parser) oldRule(r *oldRule) {
	for !p.failed && p.tok.kind != tNewline && p.tok.kind != tEOF {
		o := option{pos: p.tok.pos}
		switch {
		case p.oldCriterion(r, &o), p.oldLookup(r), p.oldOutcome(r):
		case p.keyword("deliver"):
			p.oneOf("to")
			p.oldDeliver(r)
		case p.keyword("relay"):
			p.oldRelay(r)
		default:
			p.unexpected("a condition, \"deliver\" or \"relay\"", "accept", "alias", "as", "deliver",
				"expire", "for", "from", "recipient", "relay", "sender", "tagged", "userbase", "virtual")
		}
	}
}

// once sets a part of a rule that can be given once.
func once[T any](p *parser, place **T, pos Pos, what string, value *T) {
	if *place != nil {
		p.fail(pos, "", "%q is given twice: remove one", what)
	}
	*place = value
}

// oldCriterion parses what a rule is about.
func (p *parser) oldCriterion(r *oldRule, o *option) bool {
	switch {
	case p.keyword("tagged"), p.keyword("on"), p.keyword("tag"):
		// A tag after the action overrules the one before.
		o.name, o.not, o.arg = "tag", p.eat("!"), p.str("a tag")
		r.tag = o
	case p.keyword("from"):
		o.not = p.eat("!")
		p.oldFrom(o)
		once(p, &r.from, o.pos, "from", o)
	case p.keyword("for"):
		if r.conds != nil {
			p.fail(o.pos, "", "\"for\" is given twice: remove one")
		}
		p.oldFor(r)
	case p.keyword("sender"):
		o.name, o.not, o.table = "mail-from", p.eat("!"), p.tableArg()
		once(p, &r.sender, o.pos, "sender", o)
	case p.keyword("recipient"):
		o.name, o.not, o.table = "rcpt-to", p.eat("!"), p.tableArg()
		once(p, &r.recipient, o.pos, "recipient", o)
	case p.keyword("authenticated"):
		o.name = "auth"
		once(p, &r.auth, o.pos, "authenticated", o)
	case p.is("!"):
		p.advance()
		p.oneOf("authenticated")
		o.name, o.not = "auth", true
		once(p, &r.auth, o.pos, "authenticated", o)
	default:
		return false
	}
	return true
}

func (p *parser) oldFrom(o *option) {
	switch {
	case p.keyword("any"), p.keyword("all"):
		o.name = "from any"
	case p.keyword("local"):
		o.name = "from local"
	default:
		p.keyword("source")
		o.name, o.table = "from source", p.tableArg()
	}
}

// oldFor parses a destination, or { ... } of some, which are tried from the last to the
// first.
func (p *parser) oldFor(r *oldRule) {
	not := p.eat("!")
	if not || !p.open() {
		p.oldCond(r, not)
		return
	}
	p.newlines()
	for more := true; !p.failed && (more || !p.is("}")); {
		p.oldCond(r, false)
		more = p.separator()
	}
	p.close()
	for i, j := 0, len(r.conds)-1; i < j; i, j = i+1, j-1 {
		r.conds[i], r.conds[j] = r.conds[j], r.conds[i]
	}
}

func (p *parser) oldCond(r *oldRule, not bool) {
	c := oldCond{pos: p.tok.pos, not: not}
	switch {
	case p.keyword("any"), p.keyword("all"):
		c.name = "any"
	case p.keyword("local"):
		c.name = "local"
	case p.keyword("domain"):
		c.name, c.table = "domain", p.tableArg()
	case p.keyword("virtual"):
		c.name, c.virtual, c.table = "domain", true, p.reference()
	case p.keyword("network"):
		p.fail(c.pos, "", "\"for network\" never matched anything: remove the rule")
	default:
		p.unexpected("", "any", "domain", "local", "virtual")
	}
	r.conds = append(r.conds, c)
	// In { ... } each can have aliases. They were those of the whole rule all the same.
	if p.keyword("alias") {
		r.alias = p.reference()
	}
}

// oldLookup parses the tables that turn a recipient into users.
func (p *parser) oldLookup(r *oldRule) bool {
	pos := p.tok.pos
	switch {
	case p.keyword("alias"):
		once(p, &r.alias, pos, "alias", p.reference())
	case p.keyword("virtual"):
		once(p, &r.virtual, pos, "virtual", p.reference())
	case p.keyword("userbase"), p.keyword("users"):
		once(p, &r.userbase, pos, "userbase", p.reference())
	default:
		return false
	}
	if r.alias != nil && r.virtual != nil {
		p.fail(pos, "", "\"alias\" and \"virtual\" exclude each other: remove one")
	}
	return true
}

// oldOutcome parses what stands after the action.
func (p *parser) oldOutcome(r *oldRule) bool {
	switch {
	case p.keyword("expire"):
		r.expire = p.delay()
	case p.keyword("forward-only"):
		r.forwardOnly = true
	case r.method != "" && r.method != RelayMethod && (p.keyword("as") || p.keyword("user")):
		r.user = p.str("a user")
	default:
		return false
	}
	return true
}

func (p *parser) oldDeliver(r *oldRule) {
	if r.method != "" {
		p.fail(p.tok.pos, "", "a rule has one action: remove the other")
	}
	method := p.oneOf("lmtp", "maildir", "mbox", "mda")
	r.method = Method(method)
	switch r.method {
	case Maildir, MBox:
		if p.tok.kind == tString {
			r.path = p.str("a path")
		}
	case LMTP:
		r.path = p.str("a destination")
		r.rcptTo = p.keyword("rcpt-to")
	case MDACommand:
		r.path = p.str("a command")
	}
}

func (p *parser) oldRelay(r *oldRule) {
	if r.method != "" {
		p.fail(p.tok.pos, "", "a rule has one action: remove the other")
	}
	r.method = RelayMethod
	if p.keyword("via") {
		if p.tok.kind == tKeyword && p.tok.text == "map" || p.is("<") {
			r.viaTable = p.tableArg()
		} else {
			w := p.str("a relay")
			r.via = &w
		}
	}
	d := &directive{}
	for !p.failed && p.tok.kind != tNewline && p.tok.kind != tEOF {
		if p.oldOutcome(r) {
			continue
		}
		if pos := p.tok.pos; p.keyword("tag") {
			r.tag = &option{pos: pos, name: "tag", arg: p.str("a tag")}
			continue
		}
		o := option{pos: p.tok.pos}
		p.arguments(&o, p.choose(&o, oldRelayOptions))
		d.options = append(d.options, o)
	}
	r.relay = d.options
}
