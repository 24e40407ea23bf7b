package config

import "strings"

func (c *checker) checkMatch(d *directive) {
	r := Rule{Pos: d.pos}
	for i := range d.options {
		o := &d.options[i]
		switch {
		case o.name == "action":
			c.defined("action", o.arg)
			r.Action = o.arg.text
		case o.name == "reject":
			r.Reject = true
		case strings.HasPrefix(o.name, "from "):
			c.from(&r, o)
		case strings.HasPrefix(o.name, "for "):
			c.destination(&r, o)
		default:
			c.criterion(&r, o, o.name)
		}
	}
	if !r.From.On {
		r.From = Match{On: true, Table: LocalHost}
	}
	if !r.For.On {
		r.For = Match{On: true, Table: LocalNames}
	}
	c.cfg.Rules = append(c.cfg.Rules, r)
}

// from takes what says where a session comes from. All but the addresses themselves stand
// for "from any" and another criterion, to which the negation belongs.
func (c *checker) from(r *Rule, o *option) {
	r.From = Match{On: true, Table: AnyHost}
	switch o.name {
	case "from any":
		r.From.Not = o.not
	case "from local":
		r.From = Match{On: true, Not: o.not, Table: LocalHost}
	case "from src":
		r.From, r.OrTrusted = c.match(o, ListKind), o.extra != ""
		if o.not && r.OrTrusted {
			c.errorf(o.pos, "%q cannot be negated: remove the \"!\"", orTrusted)
		}
	case "from socket":
		r.FromSocket = c.match(o, UnknownKind)
	case "from rdns":
		r.RDNS = c.match(o, ListKind)
	default:
		c.criterion(r, o, strings.TrimPrefix(o.name, "from "))
	}
}

func (c *checker) destination(r *Rule, o *option) {
	r.For = Match{On: true, Table: AnyDestination}
	switch o.name {
	case "for any":
		r.For.Not = o.not
	case "for local":
		r.For = Match{On: true, Not: o.not, Table: LocalNames}
	case "for domain":
		// The keys of a mapping are domains as well: those of virtual users.
		r.For = c.match(o, UnknownKind)
	default:
		c.criterion(r, o, strings.TrimPrefix(o.name, "for "))
	}
}

// criterion takes the criteria that stand alone or after from and for.
func (c *checker) criterion(r *Rule, o *option, name string) {
	place, kind := &r.TLS, ListKind
	switch name {
	case "tag":
		place = &r.Tag
	case "helo":
		place = &r.Helo
	case "auth":
		// A table of credentials will do: its keys are the users. After "from" it
		// has to be a list.
		place = &r.Auth
		if name == o.name {
			kind = UnknownKind
		}
	case "mail-from":
		place, kind = &r.MailFrom, UnknownKind
	case "rcpt-to":
		place, kind = &r.RcptTo, UnknownKind
	}
	before := *place
	if *place = c.match(o, kind); place.Table == "" {
		place.Table, place.Regex = before.Table, before.Regex // "auth <t> from auth"
	}
}

// match gives a criterion. Regular expressions are always a list.
func (c *checker) match(o *option, kind TableKind) Match {
	m := Match{On: true, Not: o.not, Regex: o.regex}
	use := o.name
	if o.regex {
		kind, use = ListKind, o.name+" regex"
	}
	if o.table != nil {
		m.Table = c.table(o.table, kind, use)
	}
	return m
}
