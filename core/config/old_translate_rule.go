package config

import (
	"fmt"
	"strings"
)

// rule translates accept and reject to match lines, with the action before them if no rule
// before has the same.
func (t *translator) rule(u *unit) {
	r := u.rule
	t.tagSocket(u)
	t.implicitAliases(r)
	conds := r.conds
	if conds == nil {
		conds = []oldCond{{pos: r.pos, name: "local"}}
	}
	for i := range conds {
		t.cond(u, &conds[i])
	}
}

// implicitAliases are those of the first releases: rules could not name them, a map called
// aliases held them.
func (t *translator) implicitAliases(r *oldRule) {
	if t.tree.lang == Maps && !t.aliases && t.paths["aliases"] != "" && r.virtual == nil {
		switch r.method {
		case MBox, Maildir, MDACommand:
			r.alias = &tableArg{pos: r.pos, ref: "aliases"}
		}
	}
}

func (t *translator) cond(u *unit, c *oldCond) {
	r := u.rule
	virtual := r.virtual
	if c.virtual {
		virtual = c.table
		if r.alias != nil && r.method != RelayMethod {
			t.lost(u, r.alias.pos, "\"alias\" beside \"virtual\"")
		}
	}
	end := option{pos: r.pos, name: "reject"}
	if !r.reject {
		end = option{pos: r.pos, name: "action", arg: word{pos: r.pos, text: t.action(u, virtual)}}
	}
	rest := t.destination(c)
	if r.sender != nil {
		rest = append(rest, *r.sender)
	}
	if r.recipient != nil {
		rest = append(rest, *r.recipient)
	}
	// With relay, virtual was a list of the recipients there are.
	listed := r.method == RelayMethod && !c.virtual && virtual != nil
	for _, from := range t.sources(r) {
		options := append(append([]option{}, t.tag(r)...), from...)
		options = append(options, rest...)
		if listed && r.recipient == nil {
			known := append(append([]option{}, options...), option{pos: virtual.pos, name: "rcpt-to", table: virtual}, end)
			u.today = append(u.today, &directive{pos: r.pos, name: "match", options: known})
			end := option{pos: r.pos, name: "reject"}
			u.today = append(u.today, &directive{pos: r.pos, name: "match", options: append(options, end)})
			continue
		}
		u.today = append(u.today, &directive{pos: r.pos, name: "match", options: append(options, end)})
	}
}

func (t *translator) tag(r *oldRule) []option {
	if r.tag == nil {
		return nil
	}
	o := *r.tag
	o.table = &tableArg{pos: o.arg.pos, single: true, kind: ListKind, entries: []Entry{{Key: o.arg.text}}, at: []Pos{o.arg.pos}}
	o.arg = word{}
	return []option{o}
}

// destination gives the option for a condition. With maps, local was the host's own name and
// not the one that the file gives it.
func (t *translator) destination(c *oldCond) []option {
	if c.name == "local" && t.tree.lang == Maps && t.hostname != t.env.Hostname {
		names := &tableArg{pos: c.pos, kind: ListKind, at: []Pos{c.pos, c.pos},
			entries: []Entry{{Key: "localhost"}, {Key: t.env.Hostname}}}
		return []option{{pos: c.pos, name: "for domain", table: names}}
	}
	return []option{{pos: c.pos, name: "for " + c.name, not: c.not, table: keys(c.table)}}
}

// sources gives what stands for from, one list a match line.
//
// From 5.3 on a session that authenticated counted as "local" whatever its address, today
// it is covered by its address alone. Before it was covered by every rule, and so was an
// address that expansion made.
func (t *translator) sources(r *oldRule) [][]option {
	from := option{pos: r.pos, name: "from local"}
	if r.from != nil {
		from = *r.from
		from.table = keys(from.table)
	}
	covered := from.name != "from source" || holdsLocal(t.resolve(from.table))
	covered = covered != from.not
	if from.name == "from source" {
		from.name = "from src"
		if t.tree.lang == Maps {
			from.extra, covered = orTrusted, true
		}
	}
	anybody := option{pos: from.pos, name: "from any"}
	auth := option{pos: from.pos, name: "auth"}
	notAuth := option{pos: from.pos, name: "auth", not: true}
	switch {
	case r.auth != nil && r.auth.not:
		return [][]option{{from, notAuth}}
	case r.auth != nil:
		anybody.not = !covered
		return [][]option{{anybody, auth}}
	case !t.auth || from.name == "from any" || from.extra != "":
		return [][]option{{from}}
	case covered:
		return [][]option{{from}, {anybody, auth}}
	}
	return [][]option{{from, notAuth}}
}

// keys makes a list of a mapping that is written in place. From and domain looked at the keys
// alone.
func keys(t *tableArg) *tableArg {
	if t == nil || t.ref != "" || t.kind != MapKind {
		return t
	}
	list := *t
	list.kind, list.entries = ListKind, nil
	for _, e := range t.entries {
		list.entries = append(list.entries, Entry{Key: e.Key})
	}
	return &list
}

// resolve gives the entries of a table, as far as the file has them.
func (t *translator) resolve(arg *tableArg) *tableArg {
	if arg != nil && arg.ref != "" {
		return t.tables[arg.ref]
	}
	return arg
}

func holdsLocal(t *tableArg) bool {
	if t == nil {
		return false
	}
	for _, e := range t.entries {
		if strings.EqualFold(e.Key, "local") {
			return true
		}
	}
	return false
}

// action gives the name of the action of a rule, and declares it when it is new.
func (t *translator) action(u *unit, virtual *tableArg) string {
	r := u.rule
	d := &directive{pos: r.pos, name: "action"}
	var name string
	if r.method == RelayMethod {
		if r.alias != nil {
			t.rep.warnf(r.alias.pos, "\"alias\" has no effect on a relay rule")
		}
		name = t.relay(u, d)
	} else {
		name = t.local(r, d, virtual)
	}
	if r.expire.text != "" {
		d.options = append(d.options, option{pos: r.expire.pos, name: "ttl", arg: r.expire})
		name += "-" + r.expire.text
	}
	definition := printed(d)
	if known, ok := t.actions[definition]; ok {
		return known
	}
	name = t.free(name)
	t.actions[definition] = name
	d.args[0].text = name
	u.today = append(u.today, d)
	return name
}

// free makes the name of an action plain and unlike those before. It comes from what the
// action does and not from its place, because queued messages know it.
func (t *translator) free(name string) string {
	name = strings.Map(func(r rune) rune {
		if r > 0x7f || !isAlnum(int(r)) && !strings.ContainsRune(".-_", r) {
			return '-'
		}
		return r
	}, name)
	base := name
	for t.taken[name] > 0 {
		t.taken[base]++
		name = fmt.Sprintf("%s-%d", base, t.taken[base])
	}
	t.taken[name] = 1
	return name
}

// local gives d the method of a local delivery and its options, and returns what the action
// could be called.
func (t *translator) local(r *oldRule, d *directive, virtual *tableArg) string {
	method := t.method(r)
	d.args = []word{{pos: r.pos}, {pos: r.pos, text: string(method)}}
	name := string(method)
	if method != MBox && r.path.text != "" {
		if method != LMTP {
			r.path.text = formats(r.path.text)
		}
		d.args = append(d.args, r.path)
		name += "-" + digest(r.path.text)[:4]
	}
	if r.rcptTo {
		d.options = append(d.options, option{pos: r.path.pos, name: "rcpt-to"})
		name += "-rcpt-to"
	}
	alias := r.alias
	if virtual != nil {
		alias = nil
	}
	tables := []option{{name: "alias", table: alias}, {name: "virtual", table: virtual}, {name: "userbase", table: r.userbase}}
	for _, o := range tables {
		if o.table != nil {
			o.pos = o.table.pos
			d.options = append(d.options, o)
			name += refName(o.table)
		}
	}
	if r.user.text != "" {
		d.options = append(d.options, option{pos: r.user.pos, name: "user", arg: r.user})
		name += "-" + r.user.text
	}
	return name
}

// method gives the method of a local delivery. Without one a rule was about aliases alone.
func (t *translator) method(r *oldRule) Method {
	switch {
	case r.forwardOnly && r.method != "":
		t.rep.errorf(r.pos, "", "\"forward-only\" and an action exclude each other: remove one")
	case r.forwardOnly:
		return ForwardOnly
	case r.method == "":
		return ExpandOnly
	case r.method == MBox && r.path.text != "" && !isMailbox(r.path.text):
		t.rep.errorf(r.path.pos, "", "\"deliver to mbox\" with a path is not possible: write \"deliver to mda\" and a command")
	}
	return r.method
}

// isMailbox tells whether a path of 2008 is where mbox delivers to anyway.
func isMailbox(path string) bool {
	return path == "/var/mail/%u" || path == "/var/spool/mail/%u"
}

// formats replaces the format specifiers of 2012 and before. Their values were always in
// lower case; a digit before the letter asked for one character.
func formats(s string) string {
	values := map[byte]string{
		'a': "dest.user", 'd': "dest.domain", 'u': "user.username", 'A': "sender.user", 'D': "sender.domain",
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		rest := s[i:]
		switch {
		case strings.HasPrefix(rest, "%%"), strings.HasPrefix(rest, "%{"):
			b.WriteString(rest[:2])
			i++
		case len(rest) > 1 && rest[0] == '%' && values[rest[1]] != "":
			fmt.Fprintf(&b, "%%{%s:lowercase}", values[rest[1]])
			i++
		case len(rest) > 2 && rest[0] == '%' && isDigit(int(rest[1])) && values[rest[2]] != "":
			fmt.Fprintf(&b, "%%{%s[%c]:lowercase}", values[rest[2]], rest[1])
			i += 2
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}
