package dns

import (
	"context"
	"sync"
	"time"

	miekg "github.com/miekg/dns"
)

// How long answers are kept at most, and how large they may be to be kept at all: text
// records of a stranger must not fill the memory.
const (
	maxPositive  = time.Hour
	maxNegative  = 5 * time.Minute // https://www.rfc-editor.org/rfc/rfc2308#section-5
	maxKeptBytes = 4096
)

type key struct {
	name  string
	qtype uint16
}

// answer is what one question gave: records, another name to ask for, or an error.
type answer struct {
	rrs    []miekg.RR
	owner  string // of rrs, when it is an alias of what was asked for
	alias  string
	err    *Error
	ttl    time.Duration // 0: not kept
	secure bool          // validated, by a server that is trusted
}

type kept struct {
	answer
	expires time.Time
}

// flight is a question under way. It is given up when nobody waits for it any more.
type flight struct {
	done    chan struct{}
	answer  answer
	waiting int
	cancel  context.CancelFunc
}

type cache struct {
	mu      sync.Mutex
	max     int
	kept    map[key]kept
	flights map[key]*flight
}

func newCache(size int) *cache {
	return &cache{max: size, kept: make(map[key]kept), flights: make(map[key]*flight)}
}

// get gives the kept answer, or the one of fetch, which runs once for all who wait.
func (c *cache) get(ctx context.Context, k key, fetch func(context.Context) answer) answer {
	if ctx.Err() != nil {
		return answer{err: temporary(k.qtype, "given up")}
	}
	c.mu.Lock()
	if e, ok := c.kept[k]; ok && time.Now().Before(e.expires) {
		c.mu.Unlock()
		return e.answer
	}
	f := c.flights[k]
	if f == nil {
		fctx, cancel := context.WithTimeout(context.Background(), maxLookup)
		f = &flight{done: make(chan struct{}), cancel: cancel}
		c.flights[k] = f
		go c.fly(fctx, k, f, fetch)
	}
	f.waiting++
	c.mu.Unlock()
	select {
	case <-f.done:
		return f.answer
	case <-ctx.Done():
		c.leave(k, f)
		return answer{err: temporary(k.qtype, "given up")}
	}
}

func (c *cache) fly(ctx context.Context, k key, f *flight, fetch func(context.Context) answer) {
	a := fetch(ctx)
	f.cancel()
	c.mu.Lock()
	f.answer = a
	if c.flights[k] == f {
		delete(c.flights, k)
		if a.ttl > 0 {
			c.keep(k, a)
		}
	}
	c.mu.Unlock()
	close(f.done)
}

func (c *cache) leave(k key, f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.waiting--
	if f.waiting > 0 {
		return
	}
	f.cancel()
	if c.flights[k] == f {
		delete(c.flights, k) // the next one starts afresh
	}
}

// clear forgets everything, what is under way included: who asks next asks afresh.
func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.kept)
	clear(c.flights)
}

// keep stores an answer; when there is no room, the one of a few that expires first goes.
func (c *cache) keep(k key, a answer) {
	if _, ok := c.kept[k]; !ok && len(c.kept) >= c.max {
		c.evict()
	}
	c.kept[k] = kept{a, time.Now().Add(a.ttl)}
}

func (c *cache) evict() {
	const sample = 16
	var victim key
	var first time.Time
	n := 0
	for k, e := range c.kept { // in random order
		if n == 0 || e.expires.Before(first) {
			victim, first = k, e.expires
		}
		if n++; n == sample {
			break
		}
	}
	delete(c.kept, victim)
}
