package mtasts

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/core/trace"
)

// Times of the cache.
const (
	checkEvery  = 10 * time.Minute // between looks at the record of a domain with a policy
	fetchEvery  = 24 * time.Hour   // a policy is fetched anew at this age, or at half of what it allows
	retryAfter  = 5 * time.Minute  // after a failure, RFC 8461 section 3.3
	saveDelay   = 2 * time.Second  // in which changes gather
	maxDomains  = 10000
	maxFetches  = 64               // at the same time
	waitAtMost  = 20 * time.Second // for a policy that is not known yet
	backgrounds = 2 * time.Minute  // for one refresh
)

// Options of a Cache.
type Options struct {
	TXT   func(ctx context.Context, name string) ([]string, error)
	Fetch func(ctx context.Context, domain string) (Policy, error)
	Store *Store // nil: nothing is kept across restarts
	Log   *trace.Logger
	Now   func() time.Time // nil: time.Now
}

// Cache knows the policies of domains. It is safe for use by several goroutines.
type Cache struct {
	o      Options
	ctx    context.Context
	cancel context.CancelFunc
	slots  chan struct{}
	work   sync.WaitGroup

	mu      sync.Mutex
	entries map[string]*entry
	saving  *time.Timer
	closed  bool
	saveMu  sync.Mutex
}

// entry is what is known of a domain.
type entry struct {
	Policy
	id      string
	fetched time.Time     // zero: there is no policy
	checked time.Time     // when the record was looked at
	failed  time.Time     // when fetching failed last
	failure string        // how
	flight  chan struct{} // closed when the refresh under way has ended
}

func (e *entry) expires() time.Time { return e.fetched.Add(e.MaxAge) }

func (e *entry) valid(now time.Time) bool { return !e.fetched.IsZero() && now.Before(e.expires()) }

// New gives a Cache with what its store has.
func New(o Options) *Cache {
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Cache{o: o, slots: make(chan struct{}, maxFetches), entries: make(map[string]*entry)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if o.Store != nil {
		entries, err := o.Store.load()
		if err != nil {
			o.Log.Warnf("mta-sts: what was kept cannot be read: %v", err)
		}
		now := o.Now()
		for domain, e := range entries {
			if e.valid(now) && !e.fetched.After(now) && len(c.entries) < maxDomains {
				c.entries[domain] = e
			}
		}
	}
	return c
}

// Lookup gives the policy of a domain, of mode None when there is none, and the reason for
// that. One that is known is given at once and refreshed in the background.
func (c *Cache) Lookup(ctx context.Context, domain string) (Policy, string) {
	now := c.o.Now()
	c.mu.Lock()
	e := c.entries[domain]
	if e == nil {
		e = c.add(domain, now)
	}
	valid := e.valid(now)
	if e.flight == nil && !c.closed && (!valid || now.Sub(e.checked) >= checkEvery) {
		e.flight = make(chan struct{})
		c.work.Go(func() { c.refresh(domain, e) })
	}
	p, flight := e.Policy, e.flight
	c.mu.Unlock()
	if valid {
		return p, ""
	}
	if flight != nil {
		t := time.NewTimer(waitAtMost)
		defer t.Stop()
		select {
		case <-flight:
		case <-t.C:
		case <-ctx.Done():
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case e.valid(c.o.Now()):
		return e.Policy, ""
	case e.id == "":
		return Policy{Mode: None}, "no policy of " + domain
	}
	return Policy{Mode: None}, "policy of " + domain + " cannot be fetched"
}

// add makes a place for a domain; the one of a few that goes first loses its own, one without
// a policy rather than one with. The caller holds the lock.
func (c *Cache) add(domain string, now time.Time) *entry {
	if len(c.entries) >= maxDomains {
		const sample = 16
		victim, n := "", 0
		for d, e := range c.entries { // in random order
			if v := c.entries[victim]; e.flight == nil && (v == nil || !e.valid(now) || v.valid(now) && e.expires().Before(v.expires())) {
				victim = d
			}
			if n++; n == sample {
				break
			}
		}
		delete(c.entries, victim)
	}
	e := &entry{}
	c.entries[domain] = e
	return e
}

// refresh looks at the record of a domain, and fetches the policy if there is another one or
// the one that is known is old. While that fails the old one counts (RFC 8461 section 3.3).
func (c *Cache) refresh(domain string, e *entry) {
	ctx, cancel := context.WithTimeout(c.ctx, backgrounds)
	defer cancel()
	records, err := c.o.TXT(ctx, "_mta-sts."+domain)
	id, announced := ParseRecord(records)
	c.mu.Lock()
	now := c.o.Now()
	e.checked = now
	valid := e.valid(now)
	due := announced && (id != e.id || !valid || now.Sub(e.fetched) >= min(fetchEvery, e.MaxAge/2))
	due = due && now.Sub(e.failed) >= retryAfter
	c.mu.Unlock()
	var p Policy
	if due {
		select {
		case c.slots <- struct{}{}:
			p, err = c.o.Fetch(ctx, domain)
			<-c.slots
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	close(e.flight)
	e.flight = nil
	switch {
	case due && err != nil:
		e.failed, e.failure = c.o.Now(), failureOf(err)
		if !valid {
			e.id = id
		}
		c.o.Log.Infof("mta-sts: domain=%s fetching failed, %s: %s", domain, kept(valid), printable(err.Error()))
	case due:
		e.Policy, e.id, e.fetched, e.failed = p, id, c.o.Now(), time.Time{}
		c.o.Log.Infof("mta-sts: domain=%s id=%s mode=%s max-age=%s", domain, id, p.Mode, trace.Delay(p.MaxAge))
		c.save()
	case !valid && !announced:
		if c.entries[domain] == e {
			delete(c.entries, domain) // the DNS remembers that there is nothing
		}
		e.id = ""
	}
}

func kept(valid bool) string {
	if valid {
		return "the known policy still counts"
	}
	return "as if there were no policy"
}

// printable keeps out of the log what a stranger's certificate or reply may have put into an error.
func printable(s string) string {
	s = fmt.Sprintf("%q", s)
	return s[1 : len(s)-1]
}

// save writes everything to the store in a while. The caller holds the lock.
func (c *Cache) save() {
	if c.o.Store == nil || c.saving != nil || c.closed {
		return
	}
	c.saving = time.AfterFunc(saveDelay, func() {
		c.mu.Lock()
		c.saving = nil
		c.mu.Unlock()
		c.write()
	})
}

func (c *Cache) write() {
	c.saveMu.Lock()
	defer c.saveMu.Unlock()
	c.mu.Lock()
	now := c.o.Now()
	entries := make(map[string]entry)
	for d, e := range c.entries {
		if e.valid(now) {
			entries[d] = *e
		}
	}
	c.mu.Unlock()
	if err := c.o.Store.save(entries); err != nil {
		c.o.Log.Warnf("mta-sts: policies cannot be kept: %v", err)
	}
}

// Close ends what is under way and writes what was not written.
func (c *Cache) Close() {
	c.mu.Lock()
	unsaved := c.saving != nil && c.saving.Stop()
	c.saving, c.closed = nil, true
	c.mu.Unlock()
	c.cancel()
	c.work.Wait()
	if unsaved {
		c.write()
	}
	if c.o.Store != nil {
		c.saveMu.Lock()
		defer c.saveMu.Unlock()
		c.o.Store.close()
	}
}
