package config

import "strings"

// shape says what follows the keyword of an option.
type shape uint8

const (
	shapeNone         shape = iota
	shapeText               // a string
	shapeDelay              // a delay
	shapeTable              // a table argument
	shapeMaybeTable         // a table argument or nothing
	shapePattern            // [regex] table
	shapeMaybePattern       // [regex] table or nothing
	shapeChain              // a string or { names }
	shapePort               // a number, a name, smtp or smtps
	shapeBackup             // [mx string]
	shapeMaybeText          // a string or nothing
	shapeRef                // the name of a table, or a table argument
	shapeDelays             // delays divided by commas
)

// syntax is an option: its keywords, what follows, and the keyword that can come last.
type syntax struct {
	words string
	shape shape
	extra string
}

// options parses options up to a token that begins none.
func (p *parser) options(d *directive, valid []syntax) {
	for !p.failed && p.tok.kind != tNewline && p.tok.kind != tEOF {
		o := option{pos: p.tok.pos}
		s := p.choose(&o, valid)
		p.arguments(&o, s)
		if !p.failed {
			d.options = append(d.options, o)
		}
	}
}

// choose reads the keywords of an option.
func (p *parser) choose(o *option, valid []syntax) syntax {
	for _, s := range valid {
		if (s.words == normalize || s.words == scram || s.words == schedule || s.words == failOpen) && p.bare(s.words) {
			o.name = s.words
			return s
		}
	}
	first := p.oneOf(firstWords(valid, "")...)
	o.name = first
	if rest := firstWords(valid, first+" "); len(rest) > 0 {
		o.name = first + " " + p.oneOf(rest...)
	}
	for _, s := range valid {
		if s.words == o.name {
			return s
		}
	}
	return syntax{}
}

// bare takes a word that is not reserved but means something here.
func (p *parser) bare(word string) bool {
	if p.failed || p.tok.kind != tString || p.tok.quoted || p.tok.text != word {
		return false
	}
	p.advance()
	return true
}

// isOption reports whether a word that is not reserved is an option of a listener.
func (p *parser) isOption() bool {
	return p.tok.kind == tString && !p.tok.quoted && (p.tok.text == normalize || p.tok.text == scram)
}

// firstWords gives the words that come next in those options that begin with prefix.
func firstWords(valid []syntax, prefix string) []string {
	var words []string
	seen := map[string]bool{}
	for _, s := range valid {
		rest, ok := strings.CutPrefix(s.words, prefix)
		if !ok {
			continue
		}
		w, _, _ := strings.Cut(rest, " ")
		if !seen[w] {
			seen[w] = true
			words = append(words, w)
		}
	}
	return words
}

// arguments reads what follows the keywords.
func (p *parser) arguments(o *option, s syntax) {
	switch s.shape {
	case shapeText:
		o.arg = p.str("a string after \"" + o.name + "\"")
	case shapeMaybeText:
		if p.tok.kind == tString {
			o.arg = p.str("a string after \"" + o.name + "\"")
		}
	case shapeRef:
		o.table = p.reference()
	case shapeDelay:
		o.arg = p.delay()
	case shapeDelays:
		o.list = p.delays()
	case shapeTable:
		o.table = p.tableArg()
	case shapeMaybeTable:
		// No table here can be a single string, so this one is the option.
		if p.beginsTable() && !p.isOption() {
			o.table = p.tableArg()
		}
	case shapePattern:
		o.regex = p.keyword("regex")
		o.table = p.tableArg()
	case shapeMaybePattern:
		o.regex = p.keyword("regex")
		if o.regex || p.beginsTable() {
			o.table = p.tableArg()
		}
	case shapeChain:
		p.chain(o)
	case shapePort:
		p.port(o)
	case shapeBackup:
		if p.keyword("mx") {
			o.extra = "mx"
			o.arg = p.str("the name of this host in the MX records")
		}
	}
	if s.extra != "" && (p.keyword(s.extra) || s.extra == orTrusted && p.bare(orTrusted)) {
		o.extra = s.extra
	}
}

func (p *parser) chain(o *option) {
	if p.is("{") {
		o.list = p.names()
		return
	}
	o.arg = p.str("the name of a filter or \"{\"")
}

// names parses { a, b } of filters.
func (p *parser) names() []word {
	var list []word
	p.open()
	p.newlines()
	for more := true; !p.failed && (more || !p.is("}")); {
		list = append(list, p.str("the name of a filter"))
		more = p.separator()
	}
	p.close()
	return list
}

func (p *parser) port(o *option) {
	t := p.tok
	switch {
	case t.kind == tNumber:
		o.arg = p.num("a port")
	case p.keyword("smtp"), p.keyword("smtps"):
		o.arg = word{pos: t.pos, text: t.text}
	default:
		o.arg = p.str("a port")
	}
}

// limits parses KEY NUMBER pairs. The keys are no reserved words.
func (p *parser) limits(d *directive, keys []string) {
	for !p.failed && p.tok.kind != tNewline && p.tok.kind != tEOF {
		o := option{pos: p.tok.pos, name: p.tok.text}
		if p.tok.kind != tString || !contains(keys, p.tok.text) {
			p.unexpected("the name of a limit", keys...)
			return
		}
		p.advance()
		o.arg = p.num("a number after \"" + o.name + "\"")
		if !p.failed {
			d.options = append(d.options, o)
		}
	}
}
