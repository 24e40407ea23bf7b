package config

import "strings"

const (
	maxReach     = 500 // rules that are compared with each other
	maxReachList = 500 // entries of a list that is compared
)

// checkReach warns of rules that can never take a recipient: the ones that match nothing,
// and those after a rule that matches all that they match. It says nothing where it cannot
// be sure.
func (c *checker) checkReach() {
	rules := c.cfg.Rules
	for i := range rules[:min(len(rules), maxReach)] {
		r := &rules[i]
		if r.From.Not && r.From.Table == AnyHost || r.For.Not && r.For.Table == AnyDestination {
			c.rep.warnf(r.Pos, "this line matches nothing: remove it or the \"!\"")
			continue
		}
		for j := range rules[:i] {
			if before := &rules[j]; c.covers(before, r) {
				c.rep.warnf(r.Pos, "this line is never reached, because the one at %s:%d takes all that it matches: write it before that one, or remove it",
					before.Pos.File, before.Pos.Line)
				break
			}
		}
	}
}

// covers tells whether a matches everything that b matches.
func (c *checker) covers(a, b *Rule) bool {
	x, y := *a, *b
	for _, m := range []struct{ a, b *Match }{
		{&x.Tag, &y.Tag}, {&x.FromSocket, &y.FromSocket}, {&x.RDNS, &y.RDNS}, {&x.Helo, &y.Helo},
		{&x.Auth, &y.Auth}, {&x.TLS, &y.TLS}, {&x.MailFrom, &y.MailFrom}, {&x.RcptTo, &y.RcptTo},
		{&x.From, &y.From}, {&x.For, &y.For},
	} {
		if !c.matchCovers(m.a, m.b) {
			return false
		}
		*m.a, *m.b = Match{}, Match{}
	}
	// What a rule does is no matter. Criteria that are not named above have to be the same.
	x.Pos, x.Reject, x.Action = y.Pos, y.Reject, y.Action
	return x == y
}

func (c *checker) matchCovers(a, b *Match) bool {
	switch {
	case !a.On:
		return true
	case !a.Not && (a.Table == AnyHost || a.Table == AnyDestination):
		return true
	case !b.On || a.Not != b.Not || a.Regex != b.Regex:
		return false
	case a.Table == b.Table:
		return true
	case a.Not:
		return c.listCovers(b.Table, a.Table)
	}
	return c.listCovers(a.Table, b.Table)
}

// listCovers tells whether list a, in the file itself, has every entry of list b.
func (c *checker) listCovers(a, b string) bool {
	i, ok := c.tables[a]
	j, both := c.tables[b]
	if !ok || !both {
		return false
	}
	list, part := &c.cfg.Tables[i], &c.cfg.Tables[j]
	if list.Backend != "static" || part.Backend != "static" || len(list.Entries) > maxReachList || len(part.Entries) > maxReachList {
		return false
	}
	has := map[string]bool{}
	for _, e := range list.Entries {
		has[strings.ToLower(e.Key)] = true
	}
	for _, e := range part.Entries {
		if !has[strings.ToLower(e.Key)] {
			return false
		}
	}
	return true
}
