package rules

import (
	"context"
	"fmt"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/table"
)

// criterion is one test of a rule with what it is about in this session.
type criterion struct {
	config.Match
	service table.Service
	key     string
	regex   string // what regular expressions see
	present bool   // the fact exists: what a criterion without a table asks for
	strict  bool   // without the fact, a criterion with a table is not met even negated
	never   bool   // a criterion without a table is not met, even negated
}

// criteria gives the tests of a rule in the order in which smtpd.conf(5) makes them.
//
// A negated criterion is met exactly when the plain one is not, with two exceptions, kept
// from OpenSMTPD: "! from rdns <table>" says nothing about a client without a name and
// does not cover it, so that a rule that accepts everybody but some names does not begin
// to accept the nameless. "! from rdns" alone covers just these. And an address that
// expansion made comes from no client: neither "from rdns" and "from socket" nor their
// negations cover it.
func criteria(rule *config.Rule, s *Session, dest address.Address) [10]criterion {
	source, domain := s.source(), destDomain(dest)
	sender, rcpt := s.Sender.String(), dest.String()
	auth := table.String
	if s.Username != "" && isAddress(s.Username) {
		auth = table.MailAddr
	}
	name := s.name()
	from := rule.From
	if rule.OrTrusted && (s.Authenticated || s.Internal) {
		from.On = false
	}
	return [...]criterion{
		{Match: rule.Tag, service: table.String, key: s.Tag, regex: s.Tag, present: true},
		{Match: rule.FromSocket, present: s.Local, never: s.Internal},
		{Match: from, service: table.NetAddr, key: source, regex: bracketed(source), present: true},
		{Match: rule.RDNS, service: table.Domain, key: name, regex: name, present: name != "", strict: !s.Internal, never: s.Internal},
		{Match: rule.For, service: table.Domain, key: domain, regex: dest.Domain, present: true},
		{Match: rule.Helo, service: table.Domain, key: s.Helo, regex: s.Helo, present: true},
		{Match: rule.Auth, service: auth, key: s.Username, regex: s.Username, present: s.authenticated(rule.Auth)},
		{Match: rule.TLS, present: s.TLS},
		{Match: rule.MailFrom, service: table.MailAddr, key: sender, regex: sender, present: true},
		{Match: rule.RcptTo, service: table.MailAddr, key: rcpt, regex: rcpt, present: true},
	}
}

// asked gives the service that the table of the criterion is asked for.
func (c *criterion) asked() table.Service {
	if c.Regex {
		return table.Regex
	}
	return c.service
}

func (r *Rules) matches(ctx context.Context, rule *config.Rule, s *Session, dest address.Address) (bool, error) {
	for _, c := range criteria(rule, s, dest) {
		if !c.On {
			continue
		}
		met := c.present
		switch {
		case c.Table != "" && !c.present && c.strict, c.Table == "" && c.never:
			return false, nil
		case c.Table != "" && c.present:
			key := c.key
			if c.Regex {
				key = c.regex
			}
			var err error
			if met, err = r.tables.Match(ctx, c.Table, c.asked(), key); err != nil {
				return false, fmt.Errorf("table %s: %w", c.Table, err)
			}
		}
		if met == c.Not {
			return false, nil
		}
	}
	return true, nil
}
