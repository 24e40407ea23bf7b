package config

import (
	"slices"
	"strings"
)

// printed writes a directive as a line of smtpd.conf, without the line end.
func printed(d *directive) string {
	var b printer
	name, args := d.name, d.args
	switch name {
	case "listen":
		name = "listen on"
	case "listen socket":
		name = "listen on socket"
	case "bounce":
		b.word("bounce warn-interval")
		b.list(args)
		return b.String()
	case "queue schedule":
		b.word(name)
		b.list(args)
		return b.String()
	case "smtp early-talkers":
		b.word(name)
		b.word(args[0].text)
		return b.String()
	case "ca":
		b.word("ca")
		b.value(d.arg(0))
		b.word("cert")
		b.value(d.arg(1))
		return b.String()
	case "action":
		b.word("action")
		b.value(args[0])
		name, args = args[1].text, args[2:]
	case "mta limit":
		if len(args) > 0 {
			name = "mta limit for domain"
		}
	}
	b.word(name)
	for _, w := range args {
		b.value(w)
	}
	if d.table != nil {
		b.table(d.table)
	}
	b.options(d.options)
	return b.String()
}

// printer joins words with blanks.
type printer struct {
	strings.Builder
}

func (b *printer) word(s string) {
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	b.WriteString(s)
}

func (b *printer) value(w word) {
	if w.isNumber {
		b.word(w.text)
		return
	}
	b.word(quoted(w.text))
}

func (b *printer) list(words []word) {
	for i, w := range words {
		b.value(w)
		if i < len(words)-1 {
			b.WriteByte(',')
		}
	}
}

func (b *printer) options(options []option) {
	for _, o := range options {
		if o.not {
			b.word("!")
		}
		b.word(o.name)
		if o.regex {
			b.word("regex")
		}
		if o.extra == "mx" {
			b.word(o.extra)
			o.extra = ""
		}
		if o.arg.text != "" || o.arg.isNumber {
			b.value(o.arg)
		}
		if o.table != nil {
			b.table(o.table)
		}
		if o.name == schedule {
			b.list(o.list)
		}
		if o.extra != "" {
			b.word(o.extra)
		}
	}
}

func (b *printer) table(t *tableArg) {
	switch {
	case t.ref != "":
		b.word("<" + quoted(t.ref) + ">")
		return
	case t.single:
		b.word(quoted(t.entries[0].Key))
		return
	}
	b.word("{")
	for i, e := range t.entries {
		b.word(quoted(e.Key))
		if t.kind == MapKind {
			b.word("=")
			b.word(quoted(e.Value))
		}
		if i < len(t.entries)-1 {
			b.WriteByte(',')
		}
	}
	b.word("}")
}

// plainLetters are what a string without quotes consists of here. The parser takes more.
const plainLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:/@+-"

// isPlain tells whether a string can stand without quotes.
func isPlain(s string) bool {
	if s == "" || strings.Trim(s, plainLetters) != "" || isReserved(s) || slices.Contains(contextual(), s) {
		return false
	}
	number := strings.TrimLeft(s, "0123456789")
	return isAlnum(int(s[0])) && (number == s || number != "" && isAlnum(int(number[0])))
}

// quoted writes a string so that it is read as it is, in quotes where needed. A backslash protects a
// quote, a blank and a tab and stands for itself elsewhere. One at the end can only come from
// a bare word, and be written as one.
func quoted(s string) string {
	if isPlain(s) {
		return s
	}
	if strings.HasSuffix(s, `\`) {
		return strings.ReplaceAll(s, `\`, `\\`)
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		after := i > 0 && s[i-1] == '\\'
		if s[i] == '"' || after && (s[i] == ' ' || s[i] == '\t') {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	b.WriteByte('"')
	return b.String()
}
