package daemon

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/expand"
	"github.com/godwit-mta/godwit/core/rules"
	"github.com/godwit-mta/godwit/core/srs"
	"github.com/godwit-mta/godwit/core/table"
	"github.com/godwit-mta/godwit/core/trace"
)

// decider decides in the dispatcher about recipients for whom nothing counts but the text of the configuration:
// those whom a rule with lists of the configuration refuses or gives to a relay. Each of them saves a question to
// lookup, which decides about all others, and about all while decisions are traced.
type decider struct {
	tables   *table.Set
	rules    *rules.Rules
	expander *expand.Expander
	relays   map[string]bool // the actions that are relays
	ttl      time.Duration
	srs      bool // an address may hide another one
}

// decidable gives the rules that can be tried without lookup, which are those before the first with a table that
// is no list in the configuration, and the lists that they name. A rule without an action, which covers
// everything, stands for the rest.
func decidable(cfg *config.Config) (list []config.Rule, lists []config.Table) {
	known := map[string]bool{"": true, config.LocalNames: true, config.LocalHost: true, config.AnyHost: true, config.AnyDestination: true}
	for i := range cfg.Rules {
		for _, name := range cfg.Rules[i].Tables() {
			if known[name] {
				continue
			}
			t := slices.IndexFunc(cfg.Tables, func(t config.Table) bool {
				return t.Name == name && t.Backend == "static" && t.Kind == config.ListKind // no values: they may be secret
			})
			if t < 0 {
				return append(slices.Clone(cfg.Rules[:i]), config.Rule{}), lists
			}
			known[name], lists = true, append(lists, cfg.Tables[t])
		}
	}
	return cfg.Rules, lists
}

// newDecider makes what decides by a configuration; nil when there is nothing that it could.
func newDecider(s *dispatcherConfig, log *trace.Logger) (*decider, error) {
	d := &decider{relays: make(map[string]bool), ttl: s.QueueTTL, srs: s.SRS}
	for i := range s.Relays {
		d.relays[s.Relays[i].Name] = true
	}
	if !slices.ContainsFunc(s.Rules, func(r config.Rule) bool { return r.Reject || d.relays[r.Action] }) {
		return nil, nil
	}
	var err error
	d.tables, err = table.NewSet(s.RuleTables, table.Sources{Log: log, Facts: table.Facts{Hostname: s.Hostname, Addresses: s.Interfaces, SubAddrDelim: s.SubAddrDelim}})
	if err != nil {
		return nil, err
	}
	if d.rules, err = rules.New(s.Rules, d.tables, log); err != nil {
		return nil, err
	}
	d.expander, err = expand.New(&config.Config{Actions: s.Relays}, expand.Sources{Tables: d.tables, Rules: d, Log: log})
	return d, err
}

// errUndecided is the error where lookup has to be asked.
var errUndecided = errors.New("lookup decides")

// Evaluate gives a rule that refuses or relays.
func (d *decider) Evaluate(ctx context.Context, s *rules.Session, dest address.Address) (*config.Rule, error) {
	rule, err := d.rules.Evaluate(ctx, s, dest)
	if err == nil && !d.relays[rule.Action] {
		err = errUndecided
	}
	return rule, err
}

// decide gives the envelope of a recipient or the refusal, or errUndecided.
func (d *decider) decide(ctx context.Context, req *recipientRequest, log *trace.Logger) (*envelope.Envelope, error) {
	if d == nil || req.Session.Watched != 0 || log.Traced()&(trace.Rules|trace.Expand|trace.Lookup) != 0 {
		return nil, errUndecided
	}
	s, postmaster, err := req.facts()
	if err != nil || postmaster || d.srs && srs.Encoded(s.Rcpt.Local) {
		return nil, errUndecided
	}
	envs, err := d.expander.Expand(ctx, s, baseEnvelope(req, s, d.ttl))
	var reply *gosmtp.SMTPError
	switch {
	case errors.As(err, &reply) && reply.Code >= 500:
		return nil, reply
	case err != nil || len(envs) != 1:
		return nil, errUndecided
	}
	return envs[0], nil
}

// setAddresses changes the addresses that the built-in tables hold.
func (d *decider) setAddresses(addrs []netip.Addr) error {
	if d == nil {
		return nil
	}
	return d.tables.SetAddresses(addrs)
}
