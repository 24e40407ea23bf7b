package tlsrpt

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/address"
)

// Bounds on what is kept, of all days together.
const (
	maxDomains  = 10000
	maxPolicies = 16       // of a domain and day
	maxDetails  = 64       // kinds of failures of a policy
	maxOctets   = 16 << 20 // of all texts, about
	maxDays     = 4        // what could not be reported after so many days is given up
)

// dayFormat is how a day of UTC is written.
const dayFormat = time.DateOnly

// tally is what is known of one policy of a domain on one day.
type tally struct {
	Policy  Policy   `json:"policy"`
	Good    int      `json:"good"`
	Bad     int      `json:"bad"`
	Details []detail `json:"details,omitempty"`
}

// detail is a kind of failure. Those beyond maxDetails are counted in Bad alone.
type detail struct {
	Failure
	Count int `json:"failed-session-count"`
}

// collection counts results. It is used by one goroutine at a time.
type collection struct {
	days   map[string]map[string][]*tally // by day and domain
	octets int
	lost   int // results that there was no room for
}

func newCollection() *collection { return &collection{days: make(map[string]map[string][]*tally)} }

// add counts a result. It reports whether there was room for it.
func (c *collection) add(day string, r Result) bool {
	r = r.bounded()
	if !address.ValidHost(r.Domain) {
		return false
	}
	if c.count(day, &r) {
		return true
	}
	c.lost += r.Count
	return false
}

func (c *collection) count(day string, r *Result) bool {
	domains := c.days[day]
	tallies, known := domains[r.Domain]
	i := slices.IndexFunc(tallies, func(t *tally) bool { return t.Policy.key() == r.Policy.key() })
	if i < 0 {
		size := sizeOf(r.Domain, r.Policy, nil)
		if c.octets+size > maxOctets || len(tallies) >= maxPolicies || !known && c.domains() >= maxDomains {
			return false
		}
		if domains == nil {
			domains = make(map[string][]*tally)
			c.days[day] = domains
		}
		c.octets += size
		i, tallies = len(tallies), append(tallies, &tally{Policy: r.Policy})
		domains[r.Domain] = tallies
	}
	t := tallies[i]
	if len(r.Failures) == 0 {
		t.Good += r.Count
		return true
	}
	t.Bad += r.Count
	f := r.Failures[0]
	if j := slices.IndexFunc(t.Details, func(d detail) bool { return d.Failure == f }); j >= 0 {
		t.Details[j].Count += r.Count
	} else if size := sizeOf(r.Domain, r.Policy, r.Failures); len(t.Details) < maxDetails && c.octets+size <= maxOctets {
		c.octets += size
		t.Details = append(t.Details, detail{f, r.Count})
	}
	return true
}

func (c *collection) domains() (n int) {
	for _, d := range c.days {
		n += len(d)
	}
	return n
}

// before gives the days before one, the oldest first.
func (c *collection) before(day string) (days []string) {
	for d := range c.days {
		if d < day {
			days = append(days, d)
		}
	}
	slices.Sort(days)
	return days
}

// drop forgets a domain of a day, and the room that it took.
func (c *collection) drop(day, domain string) {
	for _, t := range c.days[day][domain] {
		c.octets -= t.size(domain)
	}
	if delete(c.days[day], domain); len(c.days[day]) == 0 {
		delete(c.days, day)
	}
}

// size gives what count added for a tally.
func (t *tally) size(domain string) int {
	n := sizeOf(domain, t.Policy, nil)
	for _, d := range t.Details {
		n += sizeOf(domain, t.Policy, []Failure{d.Failure})
	}
	return n
}

// sizeOf is about what a policy or a failure takes, with the structures around it.
func sizeOf(domain string, p Policy, f []Failure) int {
	r := Result{Domain: domain, Policy: p, Failures: f}
	return len(r.key()) + 200
}

// kept is a line of the file: what is known of one domain on one day.
type kept struct {
	Day     string   `json:"day"`
	Domain  string   `json:"domain"`
	Tallies []*tally `json:"policies"`
}

// text gives the collection as it is kept: a line of JSON for each domain and day.
func (c *collection) text() []byte {
	var lines []string
	for day, domains := range c.days {
		for domain, tallies := range domains {
			if b, err := json.Marshal(kept{day, domain, tallies}); err == nil {
				lines = append(lines, string(b)+"\n")
			}
		}
	}
	slices.Sort(lines)
	return []byte(strings.Join(lines, ""))
}

// Bounds on what is read of a file: its size in octets, and sessions of one policy and day.
const (
	maxKept     = 4 * maxOctets
	maxSessions = 1 << 30
)

// parseKept gives back what text made. What is not right is left out, and the bounds hold.
func parseKept(text []byte) *collection {
	c := newCollection()
	for line := range strings.Lines(string(text)) {
		var k kept
		if json.Unmarshal([]byte(line), &k) != nil {
			continue
		}
		if day, err := time.Parse(dayFormat, k.Day); err != nil || day.Format(dayFormat) != k.Day {
			continue
		}
		for _, t := range k.Tallies {
			if t == nil || t.Good > maxSessions || t.Bad > maxSessions {
				continue
			}
			if t.Good > 0 {
				c.add(k.Day, Result{Domain: k.Domain, Policy: t.Policy, Count: t.Good})
			}
			rest := t.Bad
			for _, d := range t.Details {
				if d.Count > 0 && d.Count <= rest {
					c.add(k.Day, Result{k.Domain, t.Policy, []Failure{d.Failure}, d.Count})
					rest -= d.Count
				}
			}
			c.rest(&k, t, rest)
		}
	}
	return c
}

// rest counts failures that have no detail.
func (c *collection) rest(k *kept, t *tally, n int) {
	if n <= 0 {
		return
	}
	r := Result{Domain: k.Domain, Policy: t.Policy}.bounded()
	for _, known := range c.days[k.Day][r.Domain] {
		if known.Policy.key() == r.Policy.key() {
			known.Bad += n
			return
		}
	}
}
