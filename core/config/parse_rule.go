package config

import "strings"

// The options of listen on.
var socketOptions = []syntax{
	{"filter", shapeChain, ""}, {"mask-src", shapeNone, ""}, {"no-dsn", shapeNone, ""}, {"tag", shapeText, ""},
}

var listenOptions = []syntax{
	{"auth", shapeMaybeTable, ""}, {"auth-optional", shapeMaybeTable, ""}, {"ca", shapeText, ""},
	{"ciphers", shapeText, ""}, {"filter", shapeChain, ""}, {"hostname", shapeText, ""},
	{"hostnames", shapeTable, ""}, {"inet4", shapeNone, ""}, {"inet6", shapeNone, ""},
	{"mask-src", shapeNone, ""}, {"no-dsn", shapeNone, ""}, {normalize, shapeNone, ""}, {"pki", shapeText, ""},
	{"port", shapePort, ""}, {"protocols", shapeText, ""}, {"proxy-v2", shapeNone, ""},
	{"received-auth", shapeNone, ""}, {scram, shapeNone, ""}, {"senders", shapeTable, "masquerade"},
	{"smtps", shapeNone, "verify"}, {"tag", shapeText, ""}, {"tls", shapeNone, ""},
	{"tls-require", shapeNone, "verify"},
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
	{"alias", shapeTable, ""}, {schedule, shapeDelays, ""}, {"ttl", shapeDelay, ""}, {"user", shapeText, ""}, {"userbase", shapeTable, ""},
	{"virtual", shapeTable, ""}, {"wrapper", shapeText, ""},
}

var relayOptions = []syntax{
	{"auth", shapeTable, ""}, {"backup", shapeBackup, ""}, {"ca", shapeText, ""}, {"ciphers", shapeText, ""},
	{"domain", shapeTable, ""}, {"filter", shapeChain, ""}, {"helo", shapeText, ""},
	{"helo-src", shapeTable, ""}, {"host", shapeTable, ""}, {"mail-from", shapeText, ""},
	{"pki", shapeText, ""}, {"protocols", shapeText, ""}, {schedule, shapeDelays, ""},
	{"src", shapeTable, ""}, {"srs", shapeNone, ""}, {"tls", shapeNone, "no-verify"}, {"ttl", shapeDelay, ""},
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
	{"auth", shapeMaybePattern, ""}, {"for any", shapeNone, ""}, {"for domain", shapePattern, ""},
	{"for local", shapeNone, ""}, {"for rcpt-to", shapePattern, ""}, {"from any", shapeNone, ""},
	{"from auth", shapeMaybePattern, ""}, {"from local", shapeNone, ""},
	{"from mail-from", shapePattern, ""}, {"from rdns", shapeMaybePattern, ""},
	{"from socket", shapeNone, ""}, {"from src", shapePattern, orTrusted}, {"helo", shapePattern, ""},
	{"mail-from", shapePattern, ""}, {"rcpt-to", shapePattern, ""}, {"tag", shapePattern, ""},
	{"tls", shapeNone, ""},
}

// matchEnd are the options that end a match line. They cannot be negated.
var matchEnd = []syntax{{"action", shapeText, ""}, {"reject", shapeNone, ""}}

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
			p.hidden(d)
			return
		}
	}
}

// hidden warns of what a line means without saying it.
func (p *parser) hidden(d *directive) {
	from, to := false, false
	for _, o := range d.options {
		from = from || strings.HasPrefix(o.name, "from ")
		to = to || strings.HasPrefix(o.name, "for ")
	}
	switch {
	case p.failed || from && to:
	case from:
		p.rep.warnf(d.pos, "without \"for\" this line is \"for local\": write it, or \"for any\"")
	case to:
		p.rep.warnf(d.pos, "without \"from\" this line is \"from local\": write it, or \"from any\"")
	default:
		p.rep.warnf(d.pos, "this line is \"from local for local\": write it, or what is meant")
	}
}

var procOptions = []syntax{{"chroot", shapeText, ""}, {failOpen, shapeNone, ""}, {"group", shapeText, ""}, {"user", shapeText, ""}}

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
	list := []syntax{{"fcrdns", shapeNone, ""}, {"rdns", shapeMaybePattern, ""}, {"src", shapePattern, ""}}
	if phase == "connect" {
		return list
	}
	list = append(list, syntax{"helo", shapePattern, ""})
	if phase == "helo" || phase == "ehlo" {
		return list
	}
	list = append(list, syntax{"auth", shapeMaybePattern, ""})
	if phase == "auth" {
		return list
	}
	list = append(list, syntax{"mail-from", shapePattern, ""})
	if phase == "rcpt-to" {
		list = append(list, syntax{"rcpt-to", shapePattern, ""})
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
		{"disconnect", shapeText, ""}, {"reject", shapeText, ""}, {"report", shapeText, ""}, {"rewrite", shapeText, ""},
	}
	// The message is taken at commit: there is nothing left to mark or to bypass.
	if phase.text != "commit" {
		decisions = append(decisions, syntax{"bypass", shapeNone, ""}, syntax{"junk", shapeNone, ""})
	}
	decision := option{pos: p.tok.pos}
	p.arguments(&decision, p.choose(&decision, decisions))
	d.options = append(d.options, cond, decision)
}
