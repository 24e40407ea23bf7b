package config

import (
	"bytes"
	"strconv"
)

// Bounds of what is read.
const (
	maxToken    = 8096     // octets of a word
	maxDepth    = 16       // files that include each other
	maxFiles    = 256      // files in all
	maxExpanded = 16 << 20 // octets that macros become
)

// tokenKind says what a token is.
type tokenKind uint8

const (
	tEOF tokenKind = iota
	tNewline
	tString
	tKeyword
	tNumber
	tArrow // =>
	tChar  // one character, in text
	tError // text is the message
)

type token struct {
	kind   tokenKind
	pos    Pos
	text   string
	number int64
	quoted bool
}

const tooLong = "string too long: write at most 8094 characters"

// eof stands for the end of a file among characters.
const eof = -1

// source is a file that is being read.
type source struct {
	name      string
	text      []byte
	next      int // index of the next octet
	line      int
	lineStart int  // index of the first octet of the line
	ended     bool // a line end was made up at the end
}

func (s *source) pos() Pos { return Pos{s.name, s.line, s.next - s.lineStart + 1} }

func (s *source) get() int {
	if s.next >= len(s.text) {
		return eof
	}
	c := s.text[s.next]
	s.next++
	if c == '\n' {
		s.line++
		s.lineStart = s.next
	}
	return int(c)
}

// macro is NAME = VALUE.
type macro struct {
	pos     Pos
	value   string
	used    bool
	command bool // from the command line: the file cannot change it
}

// lexer makes tokens. The text of a macro is read again as if it stood in the file, up to
// the end of which no other macro is replaced.
type lexer struct {
	files    []*source
	opened   int
	macros   map[string]*macro
	pushed   string // rest of the text of a macro
	pushedAt Pos    // where the macro was used
	stash    *here  // what follows the macro
	expanded int
	words    []string                      // reserved ones, when they are not today's
	comments bool                          // in a comment
	warn     func(pos Pos, message string) // nil: nobody wants to know

	have bool // here is what peek found
	here
}

// here is a character with its place.
type here struct {
	char      int
	charPos   Pos
	fromMacro bool
}

// open makes the lexer read another file, and then go on with this one.
func (l *lexer) open(name string, text []byte) {
	s := &source{name: name, text: bytes.TrimPrefix(text, byteOrderMark), line: 1}
	if len(s.text) < len(text) {
		l.odd(s.pos(), "the file begins with a byte order mark: remove it")
	}
	if i := bytes.Index(s.text, []byte("\r\n")); i >= 0 {
		at := i - (bytes.LastIndexByte(s.text[:i], '\n') + 1)
		l.odd(Pos{name, 1 + bytes.Count(s.text[:i], []byte("\n")), at + 1},
			"lines end in a carriage return and a line feed: write them with a line feed alone")
		s.text = bytes.ReplaceAll(s.text, []byte("\r\n"), []byte("\n"))
	}
	l.files = append(l.files, s)
	l.opened++
}

// byteOrderMark is what some editors begin files with.
var byteOrderMark = []byte("\ufeff")

func (l *lexer) odd(pos Pos, message string) {
	if l.warn != nil {
		l.warn(pos, message)
	}
}

func (l *lexer) isOpen(name string) bool {
	for _, s := range l.files {
		if s.name == name {
			return true
		}
	}
	return false
}

// raw gives the next octet as it is.
func (l *lexer) raw() int {
	if l.pushed != "" {
		c := l.pushed[0]
		l.pushed = l.pushed[1:]
		l.charPos, l.fromMacro = l.pushedAt, true
		return int(c)
	}
	if l.stash != nil {
		c := l.stash.char
		l.charPos, l.fromMacro, l.stash = l.stash.charPos, l.stash.fromMacro, nil
		return c
	}
	s := l.files[len(l.files)-1]
	l.charPos, l.fromMacro = s.pos(), false
	return s.get()
}

// peek gives the next character outside of quotes: a backslash and a line end vanish, of
// a backslash and another character the latter stays, and every file ends in a line end.
func (l *lexer) peek() int {
	if l.have {
		return l.char
	}
	c := l.raw()
	for c == '\\' {
		at := l.charPos
		if c = l.raw(); c != '\n' {
			l.checkBlanks(c, at)
			break
		}
		l.checkComment(at)
		c = l.raw()
	}
	for c == eof {
		s := l.files[len(l.files)-1]
		if !s.ended {
			s.ended = true
			c = '\n'
			break
		}
		if len(l.files) == 1 {
			break
		}
		l.files = l.files[:len(l.files)-1]
		c = l.raw()
	}
	l.have, l.char = true, c
	return c
}

func (l *lexer) skip() { l.have = false }

// checkBlanks warns of a backslash that looks as if it joined lines.
func (l *lexer) checkBlanks(c int, at Pos) {
	if c != ' ' && c != '\t' || l.comments || l.fromMacro {
		return
	}
	s := l.files[len(l.files)-1]
	if rest := bytes.TrimLeft(s.text[s.next:], " \t"); len(rest) > 0 && rest[0] == '\n' {
		l.odd(at, "blanks after a backslash, so the line ends here: remove them to join it with the next one")
	}
}

// checkComment warns of a comment that takes in more than a comment.
func (l *lexer) checkComment(at Pos) {
	if !l.comments || l.fromMacro {
		return
	}
	s := l.files[len(l.files)-1]
	if rest := bytes.TrimLeft(s.text[s.next:], " \t"); len(rest) > 0 && rest[0] != '#' && rest[0] != '\n' {
		l.odd(at, "a backslash makes the next line a part of this comment: remove it")
	}
}

// next gives the next token.
func (l *lexer) next() token {
	for {
		for c := l.peek(); c == ' ' || c == '\t'; c = l.peek() {
			l.skip()
		}
		if l.peek() == '#' {
			l.comment()
		}
		c, pos := l.peek(), l.charPos
		if c != '$' || l.fromMacro {
			return l.token(c, pos)
		}
		l.skip()
		if t, ok := l.expand(pos); !ok {
			return t
		}
	}
}

func (l *lexer) comment() {
	l.comments = true
	defer func() { l.comments = false }()
	for c := l.peek(); c != '\n' && c != eof; c = l.peek() {
		l.skip()
	}
}

// expand replaces the macro whose name follows.
func (l *lexer) expand(pos Pos) (token, bool) {
	var name []byte
	for c := l.peek(); isAlnum(c) || c == '_'; c = l.peek() {
		if len(name) >= maxToken {
			return token{kind: tError, pos: pos, text: tooLong}, false
		}
		name = append(name, byte(c))
		l.skip()
	}
	m := l.macros[string(name)]
	if m == nil {
		return token{kind: tError, pos: pos, text: "macro \"" + string(name) + "\" is not defined: write " + string(name) + " = \"value\" before it"}, false
	}
	m.used = true
	if l.expanded += len(m.value); l.expanded > maxExpanded {
		return token{kind: tError, pos: pos, text: "too much text from macros: write shorter ones"}, false
	}
	l.putBack(m.value, pos)
	return token{}, true
}

// putBack puts the text of a macro before the character that ended its name.
func (l *lexer) putBack(text string, pos Pos) {
	l.peek()
	l.stash = &here{l.char, l.charPos, l.fromMacro}
	l.have = false
	l.pushed, l.pushedAt = text, pos
}

// token reads what begins with c.
func (l *lexer) token(c int, pos Pos) token {
	switch {
	case c == eof:
		return token{kind: tEOF, pos: pos}
	case c == '"' || c == '\'':
		l.skip()
		return l.quoted(c, pos)
	case c == '-' || isDigit(c):
		return l.number(pos)
	case isAlnum(c) || c == ':' || c == '_':
		return l.word(nil, pos)
	}
	l.skip()
	if c == '\n' {
		return token{kind: tNewline, pos: pos}
	}
	if c == '=' && l.peek() == '>' {
		l.skip()
		return token{kind: tArrow, pos: pos, text: "=>"}
	}
	return token{kind: tChar, pos: pos, text: string(rune(c))}
}

// quoted reads up to the closing quote. A backslash protects a quote, a blank and a tab and
// joins lines; line ends are dropped.
func (l *lexer) quoted(quote int, pos Pos) token {
	var buf []byte
	s := l.files[len(l.files)-1]
	start := *s
	fail := func(message string) token {
		return token{kind: tError, pos: pos, text: message}
	}
	for {
		c := l.raw()
		if c == quote {
			return token{kind: tString, pos: pos, text: string(buf), quoted: true}
		}
		if c == '\\' {
			c = l.afterBackslash(quote)
		}
		switch {
		case c == eof, len(buf) >= maxToken-1 && s.line > start.line:
			// Go on after this line, so that its successors are checked as well.
			*s = start
			l.comment()
			return fail("the closing quote is missing: write it at the end of the string")
		case c == '\n':
			continue
		case c < ' ' && c != '\t' || c == 0x7f:
			return fail("a control character in a string: remove it")
		case len(buf) >= maxToken-1:
			return fail(tooLong)
		}
		buf = append(buf, byte(c))
	}
}

// afterBackslash gives what a backslash inside quotes stands for.
func (l *lexer) afterBackslash(quote int) int {
	s := l.files[len(l.files)-1]
	following := eof
	switch {
	case l.pushed != "":
		following = int(l.pushed[0])
	case l.stash != nil:
		following = l.stash.char
	case s.next < len(s.text):
		following = int(s.text[s.next])
	}
	switch following {
	case quote, '\n':
		return l.raw()
	case ' ', '\t':
		if l.words == nil { // before OpenSMTPD 6.4 the backslash stayed
			return l.raw()
		}
	}
	return '\\'
}

// number reads digits. What else begins with a digit is a word.
func (l *lexer) number(pos Pos) token {
	var buf []byte
	for c := l.peek(); isDigit(c) || c == '-' && len(buf) == 0; c = l.peek() {
		if len(buf) >= maxToken-1 {
			return token{kind: tError, pos: pos, text: tooLong}
		}
		buf = append(buf, byte(c))
		l.skip()
	}
	text := string(buf)
	if text == "-" {
		return token{kind: tChar, pos: pos, text: text}
	}
	if !endsNumber(l.peek()) {
		if buf[0] == '-' {
			return token{kind: tChar, pos: pos, text: "-"}
		}
		return l.word(buf, pos)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return token{kind: tError, pos: pos, text: "number out of range: " + text + ": write a smaller one"}
	}
	return token{kind: tNumber, pos: pos, text: text, number: n}
}

// word reads a bare word that begins with what is in buf.
func (l *lexer) word(buf []byte, pos Pos) token {
	for c := l.peek(); len(buf) == 0 || inWord(c); c = l.peek() {
		if len(buf) >= maxToken-1 {
			return token{kind: tError, pos: pos, text: tooLong}
		}
		buf = append(buf, byte(c))
		l.skip()
	}
	t := token{kind: tString, pos: pos, text: string(buf)}
	if l.words == nil && isReserved(t.text) || contains(l.words, t.text) {
		t.kind = tKeyword
	}
	return t
}

func isDigit(c int) bool { return c >= '0' && c <= '9' }

func isAlnum(c int) bool {
	return isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func inWord(c int) bool {
	switch c {
	case '(', ')', '{', '}', '<', '>', '!', '=', '#', ',':
		return false
	}
	return c > ' ' && c < 0x7f
}

func endsNumber(c int) bool {
	switch c {
	case ' ', '\t', '\n', '\v', '\f', '\r', ')', ',', '/', '}', '=', eof:
		return true
	}
	return false
}
