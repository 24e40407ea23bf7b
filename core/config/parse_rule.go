package config

// The options of listen on.
var socketOptions = []syntax{
	{"filter", chain, ""}, {"mask-src", bare, ""}, {"no-dsn", bare, ""}, {"tag", text, ""},
}

var listenOptions = []syntax{
	{"auth", maybeTable, ""}, {"auth-optional", maybeTable, ""}, {"ca", text, ""},
	{"ciphers", text, ""}, {"filter", chain, ""}, {"hostname", text, ""},
	{"hostnames", aTable, ""}, {"inet4", bare, ""}, {"inet6", bare, ""},
	{"mask-src", bare, ""}, {"no-dsn", bare, ""}, {normalize, bare, ""}, {"pki", text, ""},
	{"port", port, ""}, {"protocols", text, ""}, {"proxy-v2", bare, ""},
	{"received-auth", bare, ""}, {"senders", aTable, "masquerade"},
	{"smtps", bare, "verify"}, {"tag", text, ""}, {"tls", bare, ""},
	{"tls-require", bare, "verify"},
}

func (p *parser) parseListen(d *directive) {
	p.oneOf("on")
	if p.keyword("socket") {
		d.name = "listen socket"
		p.options(d, socketOptions)
		return
	}
	d.args = append(d.args, p.str("an interface, an address or \"socket\""))
	p.options(d, listenOptions)
}

var methods = []string{
	"expand-only", "forward-only", "lmtp", "maildir", "mbox", "mda", "relay",
}

var localOptions = []syntax{
	{"alias", aTable, ""}, {"ttl", text, ""}, {"user", text, ""}, {"userbase", aTable, ""},
	{"virtual", aTable, ""}, {"wrapper", text, ""},
}

var relayOptions = []syntax{
	{"auth", aTable, ""}, {"backup", backup, ""}, {"ca", text, ""}, {"ciphers", text, ""},
	{"domain", aTable, ""}, {"filter", chain, ""}, {"helo", text, ""},
	{"helo-src", aTable, ""}, {"host", aTable, ""}, {"mail-from", text, ""},
	{"pki", text, ""}, {"protocols", text, ""}, {"src", aTable, ""}, {"srs", bare, ""},
	{"tls", bare, "no-verify"}, {"ttl", text, ""},
}

// parseAction gives the arguments name, method and destination; junk and rcpt-to become
// options.
func (p *parser) parseAction(d *directive) {
	d.args = append(d.args, p.str("the name of the action"))
	method := word{pos: p.tok.pos}
	method.text = p.oneOf(methods...)
	d.args = append(d.args, method)
	switch Method(method.text) {
	case RelayMethod:
		p.options(d, relayOptions)
		return
	case Maildir:
		if p.tok.kind == tString {
			d.args = append(d.args, p.str("a path"))
		}
		p.flag(d, "junk")
	case LMTP:
		d.args = append(d.args, p.str("a destination"))
		p.flag(d, "rcpt-to")
	case MDACommand:
		d.args = append(d.args, p.str("a command"))
	}
	p.options(d, localOptions)
}

func (p *parser) flag(d *directive, word string) {
	if pos := p.tok.pos; p.keyword(word) {
		d.options = append(d.options, option{pos: pos, name: word})
	}
}

var criteria = []syntax{
	{"auth", maybeRegex, ""}, {"for any", bare, ""}, {"for domain", pattern, ""},
	{"for local", bare, ""}, {"for rcpt-to", pattern, ""}, {"from any", bare, ""},
	{"from auth", maybeRegex, ""}, {"from local", bare, ""},
	{"from mail-from", pattern, ""}, {"from rdns", maybeRegex, ""},
	{"from socket", bare, ""}, {"from src", pattern, ""}, {"helo", pattern, ""},
	{"mail-from", pattern, ""}, {"rcpt-to", pattern, ""}, {"tag", pattern, ""},
	{"tls", bare, ""},
}

// matchEnd are the options that end a match line. They cannot be negated.
var matchEnd = []syntax{{"action", text, ""}, {"reject", bare, ""}}

func (p *parser) parseMatch(d *directive) {
	all := append(append([]syntax{}, criteria...), matchEnd...)
	for !p.failed {
		o := option{pos: p.tok.pos}
		valid := all
		if o.not = p.eat("!"); o.not {
			valid = criteria
		}
		if !o.not && (p.tok.kind == tNewline || p.tok.kind == tEOF) {
			p.unexpected("\"action\" or \"reject\"")
			return
		}
		p.arguments(&o, p.choose(&o, valid))
		if !p.failed {
			d.options = append(d.options, o)
		}
		if o.name == "action" || o.name == "reject" {
			return
		}
	}
}

var procOptions = []syntax{{"chroot", text, ""}, {"group", text, ""}, {"user", text, ""}}

func (p *parser) parseProc(d *directive) {
	d.args = append(d.args, p.str("the name of the filter process"), p.str("a command"))
	p.options(d, procOptions)
}

// parseFilter gives the arguments name and, by kind, process, command or phase. Of a
// builtin filter the options are the condition and the decision.
func (p *parser) parseFilter(d *directive) {
	d.args = append(d.args, p.str("the name of the filter"))
	kind := p.oneOf("chain", "phase", "proc", "proc-exec")
	if kind != "" {
		d.name = "filter " + kind
	}
	switch kind {
	case "proc":
		d.args = append(d.args, p.str("the name of a filter process"))
	case "proc-exec":
		d.args = append(d.args, p.str("a command"))
		p.options(d, procOptions)
	case "chain":
		o := option{pos: p.tok.pos, name: "chain"}
		if !p.is("{") {
			p.unexpected("\"{\"")
			return
		}
		o.list = p.names()
		d.options = append(d.options, o)
	case "phase":
		p.phase(d)
	}
}

// filterPhases are the phases a builtin filter can act in.
var filterPhases = []string{
	"auth", "commit", "connect", "data", "ehlo", "helo", "mail-from", "rcpt-to",
}

// filterCriteria gives the conditions that are known in a phase.
func filterCriteria(phase string) []syntax {
	list := []syntax{{"fcrdns", bare, ""}, {"rdns", maybeRegex, ""}, {"src", pattern, ""}}
	if phase == "connect" {
		return list
	}
	list = append(list, syntax{"helo", pattern, ""})
	if phase == "helo" || phase == "ehlo" {
		return list
	}
	list = append(list, syntax{"auth", maybeRegex, ""})
	if phase == "auth" {
		return list
	}
	list = append(list, syntax{"mail-from", pattern, ""})
	if phase == "rcpt-to" {
		list = append(list, syntax{"rcpt-to", pattern, ""})
	}
	return list
}

// phase parses PHASE match [!] CONDITION DECISION.
func (p *parser) phase(d *directive) {
	phase := word{pos: p.tok.pos}
	phase.text = p.oneOf(filterPhases...)
	d.args = append(d.args, phase)
	p.oneOf("match")
	cond := option{pos: p.tok.pos}
	cond.not = p.eat("!")
	p.arguments(&cond, p.choose(&cond, filterCriteria(phase.text)))
	decisions := []syntax{
		{"disconnect", text, ""}, {"reject", text, ""}, {"report", text, ""}, {"rewrite", text, ""},
	}
	// The message is taken at commit: there is nothing left to mark or to bypass.
	if phase.text != "commit" {
		decisions = append(decisions, syntax{"bypass", bare, ""}, syntax{"junk", bare, ""})
	}
	decision := option{pos: p.tok.pos}
	p.arguments(&decision, p.choose(&decision, decisions))
	d.options = append(d.options, cond, decision)
}
