package config

// tree is a file as it was written, with what it includes in its place and macros
// replaced.
type tree struct {
	directives []*directive
	units      []*unit       // of an old file: what the directives were made of
	lost       []Unsupported // of an old file: what today's tree cannot say
	end        Pos
	lang       Language
	set        []cut // of a file of May 2018: what is other than today
}

// cut replaces some octets of a file.
type cut struct {
	pos Pos
	n   int
	by  string
}

// directive is one line of a file.
type directive struct {
	pos     Pos
	name    string // its keywords, "mta limit" for example
	args    []word // what stands before the options
	table   *tableArg
	options []option
	broken  bool // it ended in a syntax error
}

// arg gives an argument, an empty one when it is missing.
func (d *directive) arg(n int) word {
	if n < len(d.args) {
		return d.args[n]
	}
	return word{pos: d.pos}
}

// option is what a directive is refined with.
type option struct {
	pos   Pos
	name  string // its keywords, "from mail-from" for example
	not   bool
	regex bool
	arg   word
	table *tableArg
	list  []word // a chain of filters written in place
	extra string // a second keyword that changes the first, "verify" for example
}

// word is a string or a number.
type word struct {
	pos      Pos
	text     string
	isNumber bool
	number   int64
}

// tableArg is "string", { list }, { key = value } or <reference>.
type tableArg struct {
	pos     Pos
	ref     string // name of a declared table, or
	single  bool   // one string without braces, or
	kind    TableKind
	entries []Entry
	at      []Pos // of the entries
}
