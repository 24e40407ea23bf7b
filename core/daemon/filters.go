package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/filter"
)

// filterSet is the filters of a configuration, with their processes.
type filterSet struct {
	chains map[string]*filter.Chain // by the name of a filter
	procs  map[string]*filter.Process

	mu      sync.Mutex
	users   int // sessions
	retired bool
}

// openFilters starts the processes and makes a chain of each filter. It gives nil when there are none.
func (d *dispatcherRole) openFilters(s *dispatcherSettings) (*filterSet, error) {
	if len(s.Filters) == 0 {
		return nil, nil
	}
	set := &filterSet{chains: make(map[string]*filter.Chain), procs: make(map[string]*filter.Process)}
	err := d.startProcesses(s, set)
	for i := 0; i < len(s.Filters) && err == nil; i++ {
		f := &s.Filters[i]
		var members []filter.Member
		if members, err = d.filterMembers(s, set, f); err != nil {
			err = fmt.Errorf("%s:%d: filter %s: %w", f.Pos.File, f.Pos.Line, f.Name, err)
		}
		set.chains[f.Name] = filter.NewChain(members...)
	}
	if err != nil {
		set.close()
		return nil, err
	}
	return set, nil
}

// filterMembers gives what a filter consists of.
func (d *dispatcherRole) filterMembers(s *dispatcherSettings, set *filterSet, f *config.Filter) ([]filter.Member, error) {
	switch {
	case f.Proc != "":
		return []filter.Member{{Name: f.Name, Process: set.procs[f.Proc]}}, nil
	case f.Phase != "":
		b, err := builtinFilter(f, filterTables{d.m, s.Generation})
		return []filter.Member{{Name: f.Name, Filter: b}}, err
	}
	var members []filter.Member
	for _, name := range f.Chain {
		for i := range s.Filters {
			if s.Filters[i].Name != name || len(s.Filters[i].Chain) > 0 {
				continue
			}
			m, err := d.filterMembers(s, set, &s.Filters[i])
			if err != nil {
				return nil, err
			}
			members = append(members, m...)
		}
	}
	return members, nil
}

// startProcesses starts the processes of all filters at once, and waits until they are ready.
func (d *dispatcherRole) startProcesses(s *dispatcherSettings, set *filterSet) error {
	in, out := s.filterUses()
	var mu sync.Mutex
	var all sync.WaitGroup
	var errs []error
	started := make(map[string]bool)
	for _, f := range s.Filters {
		if f.Proc == "" || started[f.Proc] {
			continue
		}
		started[f.Proc] = true
		opts := d.filterOptions(s, f.Proc)
		if in[f.Proc] {
			opts.Config = append(opts.Config, "subsystem|"+filter.SMTPIn.String(), "decide|"+filter.SMTPIn.String())
		}
		if out[f.Proc] {
			opts.Config = append(opts.Config, "subsystem|"+filter.SMTPOut.String(), "decide|"+filter.SMTPOut.String())
		}
		opts.Config = append(opts.Config, "admd|"+s.ADMD)
		all.Go(func() {
			p, err := filter.Start(d.ctx, opts)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			set.procs[f.Proc] = p
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// sessionTimeout is what filters are told of how long a client may be silent.
func (s *dispatcherSettings) sessionTimeout() int {
	if t := s.SMTP.CommandTimeout; t > 0 {
		return int(t / time.Second)
	}
	return 300
}

func (d *dispatcherRole) filterOptions(s *dispatcherSettings, proc string) filter.Options {
	generation := s.Generation
	return filter.Options{Name: proc, Log: d.m.log, FailOpen: slices.Contains(s.FailOpen, proc),
		Config: []string{"smtpd-version|" + filterVersion, "protocol|" + filter.Protocol,
			"smtp-session-timeout|" + strconv.Itoa(s.sessionTimeout())},
		Start: func(ctx context.Context) (io.ReadWriteCloser, error) {
			return d.m.openProgram(ctx, kindFilterStart, &filterRequest{generation, proc})
		}}
}

// filterVersion is the version that filters are told. They know those of OpenSMTPD, and this is the one
// that we speak like.
const filterVersion = "7.8.0"

// filterUses tells which processes belong to listeners and which to relays.
func (s *dispatcherSettings) filterUses() (in, out map[string]bool) {
	in, out = make(map[string]bool), make(map[string]bool)
	for _, l := range s.Listeners {
		s.addProcs(in, l.Filter)
	}
	s.addProcs(in, s.Socket.Filter)
	for _, a := range s.Relays {
		s.addProcs(out, a.Relay.Filter)
	}
	return in, out
}

func (s *dispatcherSettings) addProcs(to map[string]bool, name string) {
	for i := range s.Filters {
		f := &s.Filters[i]
		if f.Name != name || name == "" {
			continue
		}
		if f.Proc != "" {
			to[f.Proc] = true
		}
		for _, of := range f.Chain {
			s.addProcs(to, of)
		}
	}
}

// chain gives the filters of a listener or a relay; nil without any.
func (s *filterSet) chain(name string) *filter.Chain {
	if s == nil || name == "" {
		return nil
	}
	return s.chains[name]
}

// hold keeps the processes running for a session that begins. It reports whether they do.
func (s *filterSet) hold() bool {
	if s == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired && s.users == 0 {
		return false
	}
	s.users++
	return true
}

// release is called at the end of a session.
func (s *filterSet) release() {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.users--
	last := s.retired && s.users == 0
	s.mu.Unlock()
	if last {
		s.close()
	}
}

// retire ends the processes when the last session that has them has ended.
func (s *filterSet) retire() {
	if s == nil {
		return
	}
	s.mu.Lock()
	last := !s.retired && s.users == 0
	s.retired = true
	s.mu.Unlock()
	if last {
		s.close()
	}
}

// keepFilters ends the processes of configurations before the last ones. The sessions that still have
// them, which are hours old or the file was read again and again, get a 421.
func (d *dispatcherRole) keepFilters(old *filterSet) {
	if old == nil {
		return
	}
	d.filters = append(d.filters, old)
	for len(d.filters) >= keptGenerations {
		d.filters[0].close()
		d.filters = append([]*filterSet(nil), d.filters[1:]...)
	}
}

// close ends the processes.
func (s *filterSet) close() {
	if s == nil {
		return
	}
	for _, p := range s.procs {
		p.Close()
	}
}

// unmapped gives an address as filters are told of it.
func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
