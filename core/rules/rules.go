// Package rules finds the first match line of smtpd.conf(5) that covers a recipient. It
// knows the facts of a session and asks tables by name; how those are stored is not
// known here.
package rules

import (
	"context"
	"errors"
	"fmt"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/table"
	"github.com/godwit-mta/godwit/core/trace"
)

// Tables answers for the tables of a configuration.
type Tables interface {
	Match(ctx context.Context, name string, service table.Service, key string) (bool, error)
	Prepare(name string, service table.Service) error
}

// Rules are the match lines of a configuration, in order.
type Rules struct {
	rules  []config.Rule
	tables Tables
	log    *trace.Logger
}

// New checks that every table can answer what the rules will ask it, bad regular
// expressions among them. The error names the place of each line that cannot be used.
func New(rules []config.Rule, tables Tables, log *trace.Logger) (*Rules, error) {
	var errs []error
	for i := range rules {
		r := &rules[i]
		for _, c := range criteria(r, &Session{}, address.Address{}) {
			if !c.On || c.Table == "" {
				continue
			}
			if err := tables.Prepare(c.Table, c.asked()); err != nil {
				errs = append(errs, fmt.Errorf("%s:%d: %w", r.Pos.File, r.Pos.Line, err))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Rules{rules: rules, tables: tables, log: log}, nil
}

// Evaluate gives the first rule that covers dest. The error is a *gosmtp.SMTPError about
// the recipient as the client gave it: permanent when no rule or a reject rule covers
// dest, temporary when a table cannot be asked. Nothing is known about later rules then,
// so the first failure ends the search.
func (r *Rules) Evaluate(ctx context.Context, s *Session, dest address.Address) (*config.Rule, error) {
	log := r.log
	if s.Log != nil {
		log = s.Log
	}
	for i := range r.rules {
		rule := &r.rules[i]
		ok, err := r.matches(ctx, rule, s, dest)
		if err != nil {
			log.Warnf("rule %s:%d: %v", rule.Pos.File, rule.Pos.Line, err)
			return nil, TempFail(s.Rcpt)
		}
		if !ok {
			continue
		}
		log.Tracef(trace.Rules, "rule #%d matched <%s>", i+1, dest)
		if rule.Reject {
			return nil, refused(s.Rcpt)
		}
		return rule, nil
	}
	log.Tracef(trace.Rules, "no rule matched <%s>", dest)
	return nil, refused(s.Rcpt)
}
