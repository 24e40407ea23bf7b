package table

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/compat/owner"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/trace"
)

// Facts are what the built-in tables are made from, as they are when the configuration
// is loaded.
type Facts struct {
	Hostname     string
	Addresses    []netip.Addr // of every interface
	SubAddrDelim string
}

// Sources are where tables come from.
type Sources struct {
	Facts    Facts
	Users    Users                               // nil: no table of users
	OpenFile func(path string) (*os.File, error) // gives a regular file; nil: owner.Open
	Open     func(t config.Table) (Table, error) // backends other than static, file and db; nil: none
	Log      *trace.Logger
	// Before is the set that this one follows: what has not changed is not read again.
	Before *Set
	// Valid says what is wrong with an entry of a table in memory that is to serve a service,
	// whose value is empty in a list; nil: nothing is.
	Valid func(service Service, key, value string) error
}

// Set holds the tables of a configuration by name.
type Set struct {
	tables map[string]Table
	facts  Facts
	log    *trace.Logger
}

// NewSet reads the declared tables and adds the built-in ones. It reports every table
// that cannot be used, each with its place.
func NewSet(tables []config.Table, src Sources) (*Set, error) {
	if src.OpenFile == nil {
		src.OpenFile = owner.Open
	}
	s := &Set{tables: builtin(src.Facts), facts: src.Facts, log: src.Log}
	if src.Users != nil {
		s.tables[config.GetPwNam] = systemUsers{src.Users}
	}
	var errs []error
	for _, t := range tables {
		if _, twice := s.tables[t.Name]; twice {
			errs = append(errs, fmt.Errorf("%s:%d: table %q defined twice", t.Pos.File, t.Pos.Line, t.Name))
			continue
		}
		opened, err := src.open(t)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: table %q: %w", t.Pos.File, t.Pos.Line, t.Name, err))
			continue
		}
		s.tables[t.Name] = opened
	}
	if err := errors.Join(errs...); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func (src *Sources) open(t config.Table) (Table, error) {
	switch t.Backend {
	case "static":
		source := fmt.Sprintf("%s:%d", t.Pos.File, t.Pos.Line)
		for _, e := range t.Entries {
			if len(e.Key) > MaxKey {
				return nil, fmt.Errorf("key longer than %d octets", MaxKey)
			}
		}
		return newHeld(&contents{store: inlineEntries(source, t.Entries), source: source, kind: t.Kind, delim: src.Facts.SubAddrDelim}, src.Valid), nil
	case "file", "db":
		f := &file{held: &held{valid: src.Valid}, name: t.Name, path: t.Path, format: t.Backend, delim: src.Facts.SubAddrDelim,
			open: src.OpenFile, log: src.Log}
		return f, f.openFirst(src.Before)
	case "getpwnam":
		if src.Users != nil {
			return systemUsers{src.Users}, nil
		}
	default:
		if src.Open != nil {
			return src.Open(t)
		}
	}
	return nil, fmt.Errorf("backend %q is not supported", t.Backend)
}

// builtin makes the tables that every configuration has. Addresses stand in <localnames>
// also in brackets, so that address literals of this host are local.
func builtin(f Facts) map[string]Table {
	names := []string{"localhost", f.Hostname}
	hosts := []string{"local"}
	for _, a := range f.Addresses {
		a = a.Unmap()
		hosts = append(hosts, a.String())
		names = append(names, a.String(), "["+a.WithZone("").String()+"]")
	}
	short, _, _ := strings.Cut(f.Hostname, ".")
	lists := map[string][]string{
		config.LocalNames:     names,
		config.LocalHost:      hosts,
		config.AnyHost:        {"local", "0.0.0.0/0", "::/0"},
		config.AnyDestination: {"*", short},
	}
	tables := make(map[string]Table, len(lists)+1)
	for name, keys := range lists {
		var entries []config.Entry
		for _, k := range keys {
			entries = append(entries, config.Entry{Key: k})
		}
		tables[name] = newHeld(&contents{store: inlineEntries(name, entries), source: name, kind: config.ListKind, delim: f.SubAddrDelim}, nil)
	}
	return tables
}

// Table gives a table by name.
func (s *Set) Table(name string) (Table, error) {
	if t, ok := s.tables[name]; ok {
		return t, nil
	}
	return nil, fmt.Errorf("table %q is not defined", name)
}

// Names gives the names of all tables, sorted.
func (s *Set) Names() []string { return slices.Sorted(maps.Keys(s.tables)) }

// Lookup gives the value of key in a table.
func (s *Set) Lookup(ctx context.Context, name string, service Service, key string) (string, bool, error) {
	t, err := s.Table(name)
	if err != nil {
		return "", false, err
	}
	value, found, err := t.Lookup(ctx, service, key)
	if s.traced() {
		s.tell("lookup", t, name, service, key, valueText(service, value, found), err)
	}
	return value, found, err
}

// Match reports whether an entry of a table covers key.
func (s *Set) Match(ctx context.Context, name string, service Service, key string) (bool, error) {
	t, err := s.Table(name)
	if err != nil {
		return false, err
	}
	found, err := t.Match(ctx, service, key)
	if s.traced() {
		s.tell("match", t, name, service, key, strconv.FormatBool(found), err)
	}
	return found, err
}

// Fetch gives the next entry of a table.
func (s *Set) Fetch(ctx context.Context, name string, service Service) (string, bool, error) {
	t, err := s.Table(name)
	if err != nil {
		return "", false, err
	}
	value, found, err := t.Fetch(ctx, service)
	if s.traced() {
		s.tell("fetch", t, name, service, "", valueText(service, value, found), err)
	}
	return value, found, err
}

// InMemory reports whether List gives the entries of a table without asking anybody.
func (s *Set) InMemory(name string) bool {
	_, ok := s.tables[name].(lister)
	return ok
}

// List gives at most most entries of a table that Fetch would give, in order and each once.
// For a table that can only be asked for the next one, these are those up to the first that
// comes again.
func (s *Set) List(ctx context.Context, name string, service Service, most int) ([]string, error) {
	t, err := s.Table(name)
	if err != nil {
		return nil, err
	}
	var list []string
	if l, ok := t.(lister); ok {
		list, err = l.list(service)
	} else {
		list, err = fetchAll(ctx, t, service, most)
	}
	slices.Sort(list)
	list = slices.Compact(list)
	return list[:min(len(list), most)], err
}

// lister is a table that has its entries at hand.
type lister interface {
	list(service Service) ([]string, error)
}

func fetchAll(ctx context.Context, t Table, service Service, most int) ([]string, error) {
	var list []string
	for len(list) < most {
		value, found, err := t.Fetch(ctx, service)
		if err != nil || !found || slices.Contains(list, value) {
			return list, err
		}
		list = append(list, value)
	}
	return list, nil
}

// Prepare says that a table will be asked for a service.
func (s *Set) Prepare(name string, service Service) error {
	t, err := s.Table(name)
	if err != nil {
		return err
	}
	return t.Prepare(service)
}

// Serves reports whether a table can answer for a service at all. Only programs differ:
// they say which they serve, and they alone may serve auth.
func (s *Set) Serves(name string, service Service) bool {
	t, err := s.Table(name)
	if err != nil {
		return false
	}
	if p, ok := t.(*Program); ok {
		return p.Serves(service)
	}
	return service != Auth
}

// Close ends the programs that serve tables and closes files.
func (s *Set) Close() error {
	var errs []error
	for _, t := range s.tables {
		if c, ok := t.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// Retire ends each program of the set when it was not asked for so long. The set is not
// the one in use any more, but sessions that began with it may go on.
func (s *Set) Retire(idle time.Duration) {
	for _, t := range s.tables {
		if p, ok := t.(*Program); ok {
			p.Retire(idle)
		}
	}
}

// Reload takes up changes of one table.
func (s *Set) Reload(ctx context.Context, name string) error {
	t, err := s.Table(name)
	if err != nil {
		return err
	}
	return t.Reload(ctx)
}
