package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/filter"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/table"
)

// builtinFilter makes of a filter of the configuration what decides.
func builtinFilter(f *config.Filter, tables filter.Tables) (*filter.Builtin, error) {
	b := &filter.Builtin{Not: f.Cond.Not, Table: f.Cond.Table, Regex: f.Cond.Regex, Tables: tables}
	var known [3]bool
	b.Phase, known[0] = filter.ParsePhase(f.Phase)
	b.Condition, known[1] = filter.ParseCondition(f.CondName)
	b.Decision.Verdict, known[2] = filter.ParseVerdict(f.Decision)
	b.Decision.Text = f.Text
	if known != [3]bool{true, true, true} {
		return nil, fmt.Errorf("phase %q, condition %q or decision %q is not known", f.Phase, f.CondName, f.Decision)
	}
	return b, nil
}

// filterTables asks lookup for the tables of a configuration.
type filterTables struct {
	m          *member
	generation uint64
}

func (t filterTables) Match(ctx context.Context, name, service, key string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupWait)
	defer cancel()
	var reply foundReply
	err := t.m.peers[Lookup].Call(ctx, kindFilterMatch, &matchRequest{t.generation, name, service, key}, &reply)
	if err == nil && reply.Failed {
		err = errors.New("it failed")
	}
	return reply.Found, err
}

// matchRequest asks whether an entry of a table covers a key. Service is the name of one in
// smtpd-tables(7).
type matchRequest struct {
	Generation          uint64
	Table, Service, Key string
}

func (l *lookupRole) match(r *ipc.Request) {
	var req matchRequest
	l.answer(r, &req, func(ctx context.Context) any {
		service, ok := table.ParseService(req.Service)
		if !ok {
			return l.found("filter", req.Table, "", false, fmt.Errorf("no service %q", req.Service))
		}
		tables := l.cfg.get(req.Generation).tables
		ok, err := tables.Match(ctx, req.Table, service, req.Key)
		return l.found("filter", req.Table, "", ok, err)
	})
}

// prepareFilters checks that every table can answer what the builtin filters will ask it.
func (s *lookupSettings) prepareFilters() error {
	var errs []error
	for i := range s.Filters {
		f := &s.Filters[i]
		if f.Phase == "" || f.Cond.Table == "" {
			continue
		}
		b, err := builtinFilter(f, nil)
		if err == nil {
			service, _ := table.ParseService(b.Service())
			err = s.tables.Prepare(f.Cond.Table, service)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: filter %s: %w", f.Pos.File, f.Pos.Line, f.Name, err))
		}
	}
	return errors.Join(errs...)
}
