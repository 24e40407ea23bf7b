package table

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/godwit-mta/godwit/core/config"
)

// entry is a line of a table. Key is as written.
type entry struct {
	key, value string
	line       int32 // of the file, 0 when written in smtpd.conf
}

// contents is one state of a table. It does not change once it is in use, so that a
// reload is the exchange of one pointer.
type contents struct {
	source  string // file, or file:line of the declaration
	kind    config.TableKind
	entries []entry
	exact   map[string]int32 // key in lower case -> index, the last of equal keys
	delim   string           // of sub-addresses
	lazy    [serviceCount]lazyIndex
}

// lazyIndex is built when a service is asked for, because most tables serve only one.
type lazyIndex struct {
	once sync.Once
	find func(key string) (int32, bool)
	err  error
}

func newContents(source string, kind config.TableKind, entries []entry, delim string) *contents {
	c := &contents{source: source, kind: kind, entries: entries, delim: delim,
		exact: make(map[string]int32, len(entries))}
	for i, e := range entries {
		c.exact[strings.ToLower(e.key)] = int32(i)
	}
	return c
}

// index gives the way keys of a service are found.
func (c *contents) index(service Service) (func(string) (int32, bool), error) {
	l := &c.lazy[service]
	l.once.Do(func() {
		switch service {
		case Domain:
			l.find = c.domainIndex()
		case NetAddr:
			l.find = c.netIndex()
		case MailAddr:
			l.find = c.mailIndex()
		case Regex:
			l.find, l.err = c.regexIndex()
		default:
			l.find = c.findExact
		}
	})
	return l.find, l.err
}

func (c *contents) findExact(key string) (int32, bool) {
	i, ok := c.exact[strings.ToLower(key)]
	return i, ok
}

func (c *contents) find(service Service, key string) (*entry, error) {
	if service >= Auth {
		return nil, fmt.Errorf("%s: service %s is not supported", c.source, service)
	}
	if len(key) > MaxKey {
		return nil, nil
	}
	find, err := c.index(service)
	if err != nil {
		return nil, err
	}
	i, ok := find(key)
	if !ok {
		return nil, nil
	}
	return &c.entries[i], nil
}

// where gives the place of an entry for messages.
func (c *contents) where(e *entry) string {
	if e.line == 0 {
		return c.source
	}
	return fmt.Sprintf("%s:%d", c.source, e.line)
}

// usable reports what keeps the contents from answering for a service. An empty file may
// become either kind.
func (c *contents) usable(service Service) error {
	if len(c.entries) > 0 {
		switch service {
		case Alias, Credentials, UserInfo, AddrName, MailAddrMap:
			if c.kind == config.ListKind {
				return fmt.Errorf("%s: is a list, but %s needs a mapping", c.source, service)
			}
		case Domain, NetAddr, Regex:
			if c.kind == config.MapKind {
				return fmt.Errorf("%s: is a mapping, but %s needs a list", c.source, service)
			}
		case Auth:
			return fmt.Errorf("%s: service %s is not supported", c.source, service)
		}
	}
	_, err := c.index(service)
	return err
}

// static is a table in memory. File tables exchange its contents.
type static struct {
	now   atomic.Pointer[contents]
	next  atomic.Uint32 // of Fetch
	valid func(service Service, key, value string) error

	mu       sync.Mutex // guards prepared and reloads
	prepared [serviceCount]bool
}

func newStatic(c *contents) *static {
	t := &static{}
	t.now.Store(c)
	return t
}

// Lookup gives the value of the entry for key. A list has no values, so nothing is found.
func (t *static) Lookup(_ context.Context, service Service, key string) (string, bool, error) {
	c := t.now.Load()
	e, err := c.find(service, key)
	if err != nil || e == nil || c.kind == config.ListKind {
		return "", false, err
	}
	return e.value, true, nil
}

// Match reports whether an entry covers key.
func (t *static) Match(_ context.Context, service Service, key string) (bool, error) {
	e, err := t.now.Load().find(service, key)
	return e != nil, err
}

// Fetch goes round the keys.
func (t *static) Fetch(context.Context, Service) (string, bool, error) {
	c := t.now.Load()
	if len(c.entries) == 0 {
		return "", false, nil
	}
	n := t.next.Add(1) - 1
	return c.entries[n%uint32(len(c.entries))].key, true, nil
}

func (t *static) list(Service) ([]string, error) {
	c := t.now.Load()
	keys := make([]string, len(c.entries))
	for i := range c.entries {
		keys[i] = c.entries[i].key
	}
	return keys, nil
}

// check reports what keeps contents from serving a service.
func (t *static) check(c *contents, service Service) error {
	if err := c.usable(service); err != nil || t.valid == nil {
		return err
	}
	for i := range c.entries {
		e := &c.entries[i]
		if err := t.valid(service, e.key, e.value); err != nil {
			return fmt.Errorf("%s: %w", c.where(e), err)
		}
	}
	return nil
}

// Prepare builds the index of a service now and remembers it for reloads.
func (t *static) Prepare(service Service) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.prepared[service] = true
	return t.check(t.now.Load(), service)
}

// Reload has nothing to do for a table written in smtpd.conf.
func (t *static) Reload(context.Context) error { return nil }

// replace takes new contents when every service in use can be answered from them.
func (t *static) replace(load func() (*contents, error)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, err := load()
	if err != nil {
		return err
	}
	for s, used := range t.prepared {
		if !used {
			continue
		}
		if err := t.check(c, Service(s)); err != nil {
			return err
		}
	}
	t.now.Store(c)
	return nil
}
