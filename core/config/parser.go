package config

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// parser is a recursive descent over tokens. After an error in a line failed is set, and
// everything gives zero values until recover.
type parser struct {
	lex     lexer
	tok     token
	rep     *report
	include func(path string) ([]byte, error)
	tree    tree
	lang    Language
	failed  bool
	depth   int  // open braces
	first   bool // tok is the first of a line
}

// parse reads a file and those that it includes, in whatever language they are, and gives
// a tree of today's. Errors go into rep.
func parse(name string, text []byte, macros map[string]string,
	include func(string) ([]byte, error), env Environment, rep *report) *tree {
	include = remember(include)
	p := &parser{rep: rep, include: include}
	p.lex.macros = map[string]*macro{}
	for k, v := range macros {
		p.lex.macros[k] = &macro{value: v, command: true}
	}
	p.lex.warn = func(pos Pos, message string) { rep.warnf(pos, "%s", message) }
	rep.addFile(name, text)
	if !p.decide(sniff(name, text, macros, include)) {
		return &p.tree
	}
	p.lex.open(name, text)
	p.advance()
	for p.tok.kind != tEOF && !rep.full() {
		p.line()
	}
	p.tree.end = p.tok.pos
	for name, m := range p.lex.macros {
		if !m.used && !m.command {
			rep.warnf(m.pos, "macro %q is not used: remove it", name)
		}
	}
	if p.lang.old() {
		translate(&p.tree, env, include, rep)
	}
	return &p.tree
}

// remember makes every file be read once.
func remember(include func(string) ([]byte, error)) func(string) ([]byte, error) {
	if include == nil {
		return nil
	}
	texts := map[string][]byte{}
	return func(path string) ([]byte, error) {
		if text, ok := texts[path]; ok {
			return text, nil
		}
		text, err := include(path)
		if err == nil {
			texts[path] = text
		}
		return text, err
	}
}

func (p *parser) advance() {
	p.first = p.tok.kind == tNewline
	p.tok = p.lex.next()
}

// line parses one line and goes to the next.
func (p *parser) line() {
	switch p.tok.kind {
	case tNewline:
		p.advance()
		return
	case tString:
		if p.lang == May2018 && p.tok.text == "set" && !p.assigns() {
			p.set()
		} else {
			p.macro()
		}
	default:
		p.begin()
	}
	if !p.failed && !p.lineEnded() {
		p.unexpected("the end of the line")
	}
	if p.failed {
		p.recover()
	}
	if p.tok.kind == tNewline {
		p.advance()
	}
}

// begin parses what begins with a keyword, in the language of the file.
func (p *parser) begin() {
	switch {
	case !p.lang.old():
		p.directive()
	case p.tok.kind == tKeyword && p.assigns():
		p.macro()
	default:
		p.oldDirective()
	}
}

// assigns tells whether an equals sign follows the current token.
func (p *parser) assigns() bool {
	for c := p.lex.peek(); c == ' ' || c == '\t'; c = p.lex.peek() {
		p.lex.skip()
	}
	return p.lex.peek() == '='
}

// directives are the words a line can begin with.
func (p *parser) directives() []string {
	if p.lang.old() {
		return oldDirectives
	}
	return directives
}

// inDirective tells whether braces are open although a directive seems to begin.
func (p *parser) inDirective() bool {
	return p.depth > 0 && p.first && p.tok.kind == tKeyword && contains(p.directives(), p.tok.text)
}

// recover goes to the end of the line. When braces are open it goes to the end of the line
// that closes them, or to a line that begins like a directive.
func (p *parser) recover() {
	p.failed = false
	for p.tok.kind != tEOF && !p.inDirective() {
		if p.tok.kind == tNewline && p.depth <= 0 {
			break
		}
		if p.tok.kind == tChar && p.tok.text == "{" {
			p.depth++
		}
		if p.tok.kind == tChar && p.tok.text == "}" {
			p.depth--
		}
		p.advance()
	}
	p.depth = 0
}

// fail reports an error of syntax, the first of a line only.
func (p *parser) fail(pos Pos, suggestion, format string, args ...any) {
	if !p.failed {
		p.failed = true
		p.rep.errorf(pos, suggestion, format, args...)
	}
}

// unexpected says that the current token does not fit and what would: a description, or
// the words that are valid here.
func (p *parser) unexpected(what string, valid ...string) {
	t := p.tok
	if t.kind == tError {
		p.fail(t.pos, "", "%s", t.text)
		return
	}
	if t.kind == tChar && t.text >= "\x7f" {
		p.foreign()
		return
	}
	hint := ""
	if t.kind == tString || t.kind == tKeyword {
		hint = suggest(t.text, valid)
	}
	if n := len(valid); what == "" && n > 0 && n <= 12 {
		what = alternatives(valid)
	}
	switch {
	case hint != "":
		what = ""
	case what != "":
		what = ": expected " + what
	}
	p.fail(t.pos, hint, "unexpected %s%s", describe(t), what)
}

// foreign says what to write instead of a character that is not ASCII.
func (p *parser) foreign() {
	r := utf8.RuneError
	if line := p.rep.line(p.tok.pos); p.tok.pos.Column <= len(line) {
		r, _ = utf8.DecodeRuneInString(line[p.tok.pos.Column-1:])
	}
	switch {
	case strings.ContainsRune("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2018\u2019\u201a\u201b\u00b4", r):
		p.fail(p.tok.pos, "", "%q is no quote here: write \" or '", r)
	case unicode.IsSpace(r):
		p.fail(p.tok.pos, "", "a blank that is not ASCII (%U): write a plain one", r)
	case strings.ContainsRune("\u2010\u2011\u2012\u2013\u2014\u2212", r):
		p.fail(p.tok.pos, "", "%q is no hyphen here: write -", r)
	default:
		p.fail(p.tok.pos, "", "%q is not ASCII: write it in quotes, \"...\"", r)
	}
}

// alternatives gives "a, b or c".
func alternatives(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = fmt.Sprintf("%q", w)
	}
	if n := len(quoted); n > 1 {
		return strings.Join(quoted[:n-1], ", ") + " or " + quoted[n-1]
	}
	return quoted[0]
}

func describe(t token) string {
	switch t.kind {
	case tEOF:
		return "end of file"
	case tNewline:
		return "end of line"
	case tNumber:
		return "number " + t.text
	case tChar:
		if t.text < " " || t.text >= "\x7f" {
			return fmt.Sprintf("character %#x", []rune(t.text)[0])
		}
	}
	return fmt.Sprintf("%q", t.text)
}

// is tells whether the current token is this character or arrow.
func (p *parser) is(text string) bool {
	return (p.tok.kind == tChar || p.tok.kind == tArrow) && p.tok.text == text && !p.failed
}

// eat takes this character if it comes next.
func (p *parser) eat(text string) bool {
	if !p.is(text) {
		return false
	}
	p.advance()
	return true
}

func (p *parser) open() bool {
	if !p.eat("{") {
		return false
	}
	p.depth++
	return true
}

func (p *parser) close() {
	if !p.eat("}") {
		p.unexpected("\"}\"")
		return
	}
	p.depth--
}

// keyword takes this keyword if it comes next.
func (p *parser) keyword(word string) bool {
	if p.failed || p.tok.kind != tKeyword || p.tok.text != word {
		return false
	}
	p.advance()
	return true
}

// oneOf takes one of the keywords and gives it.
func (p *parser) oneOf(words ...string) string {
	for _, w := range words {
		if p.keyword(w) {
			return w
		}
	}
	p.unexpected("", words...)
	return ""
}

// oneWord takes one of the words, of which some are reserved and some not, and gives it.
func (p *parser) oneWord(words ...string) string {
	for _, w := range words {
		if p.keyword(w) || p.bare(w) {
			return w
		}
	}
	p.unexpected("", words...)
	return ""
}

func (p *parser) newlines() {
	for !p.failed && p.tok.kind == tNewline {
		p.advance()
	}
}

// separator takes what can stand between the members of a list, and tells whether another
// member has to follow.
func (p *parser) separator() bool {
	if p.eat(",") {
		p.newlines()
		return true
	}
	p.newlines()
	return false
}

// str takes a string. What says what it is, for an error.
func (p *parser) str(what string) word {
	t := p.tok
	if p.failed {
		return word{pos: t.pos}
	}
	switch {
	case t.kind == tString:
		p.advance()
		return word{pos: t.pos, text: t.text}
	case p.inDirective():
		p.fail(t.pos, "", "\"}\" is missing before this line: write it")
	case t.kind == tKeyword && p.lang.old():
		p.advance()
		return word{pos: t.pos, text: t.text}
	case t.kind == tKeyword:
		p.fail(t.pos, "", "expected %s: %q is a reserved word and has to be quoted: write \"%s\"", what, t.text, t.text)
	case t.kind == tNumber:
		p.fail(t.pos, "", "expected %s: a number has to be quoted: write \"%s\"", what, t.text)
	case t.kind == tChar && strings.Contains("/~.*%|@+-;&[]`^?\\$", t.text):
		p.fail(t.pos, "", "expected %s: what begins with %q has to be quoted", what, t.text)
	default:
		p.unexpected(what)
	}
	return word{pos: t.pos}
}

// num takes a number.
func (p *parser) num(what string) word {
	t := p.tok
	if p.failed || t.kind != tNumber {
		p.unexpected(what)
		return word{pos: t.pos}
	}
	p.advance()
	return word{pos: t.pos, text: t.text, isNumber: true, number: t.number}
}
