package table

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/godwit-mta/godwit/core/config"
)

// held is a table whose entries this process has at hand. Tables in files exchange its
// contents.
type held struct {
	now   atomic.Pointer[contents]
	valid func(service Service, key, value string) error

	mu       sync.Mutex // guards prepared, and reloads
	prepared [serviceCount]bool

	turn  sync.Mutex // guards place
	place uint32     // of Fetch
}

func newHeld(c *contents, valid func(Service, string, string) error) *held {
	t := &held{valid: valid}
	t.now.Store(c)
	return t
}

// Lookup gives the value of the entry for key. A list has no values, so nothing is found.
func (t *held) Lookup(_ context.Context, service Service, key string) (string, bool, error) {
	c := t.now.Load()
	ref, found, err := c.lookup(service, key)
	if err != nil || !found || c.kind == config.ListKind {
		return "", false, err
	}
	_, value, err := c.at(ref)
	return value, err == nil, err
}

// Match reports whether an entry covers key.
func (t *held) Match(_ context.Context, service Service, key string) (bool, error) {
	_, found, err := t.now.Load().lookup(service, key)
	return found, err
}

// Fetch goes round the keys.
func (t *held) Fetch(context.Context, Service) (string, bool, error) {
	t.turn.Lock()
	defer t.turn.Unlock()
	c := t.now.Load()
	ref, after, found, err := c.next(t.place)
	if err == nil && !found {
		ref, after, found, err = c.next(0)
	}
	if err != nil || !found {
		return "", false, err
	}
	t.place = after
	key, _, err := c.at(ref)
	return key, err == nil, err
}

func (t *held) list(Service) (keys []string, err error) {
	err = t.now.Load().each(func(_ uint32, key, _ string) error {
		keys = append(keys, key)
		return nil
	})
	return keys, err
}

// check reports what keeps contents from serving a service.
func (t *held) check(c *contents, service Service) error {
	if err := c.usable(service); err != nil || t.valid == nil {
		return err
	}
	return c.each(func(ref uint32, key, value string) error {
		if err := t.valid(service, key, value); err != nil {
			return fmt.Errorf("%s: %w", c.where(ref), err)
		}
		return nil
	})
}

// Prepare builds the index of a service now and remembers it for reloads.
func (t *held) Prepare(service Service) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.prepared[service] = true
	return t.check(t.now.Load(), service)
}

// Reload has nothing to do for a table written in smtpd.conf.
func (t *held) Reload(context.Context) error { return nil }

// replace takes new contents when every service in use can be answered from them.
func (t *held) replace(load func() (*contents, error)) error {
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
	t.turn.Lock()
	t.place = 0
	t.now.Store(c)
	t.turn.Unlock()
	return nil
}
