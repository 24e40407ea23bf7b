package bounce

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/core/address"
)

// Limits are how many notices may be sent in an hour; 0 is without a limit.
type Limits struct {
	Sender int // to one address
	Domain int // to all addresses of a domain
	Total  int
}

// limitTime is the time in which notices are counted.
const limitTime = time.Hour

// mostCounted bounds the memory of a Limiter. Addresses beyond it are counted in the total
// only.
const mostCounted = 50000

// Limiter counts notices. The zero Limiter has counted none. It may be used by several
// goroutines.
type Limiter struct {
	mu      sync.Mutex
	begun   time.Time
	total   int
	senders map[string]int
	domains map[string]int
}

// Take counts a notice to an address, or says why there must not be one.
func (l *Limiter) Take(to address.Address, most Limits, now time.Time) (why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if age := now.Sub(l.begun); age < 0 || age >= limitTime {
		l.begun, l.total = now, 0
		l.senders, l.domains = make(map[string]int), make(map[string]int)
	}
	sender, domain := strings.ToLower(to.String()), strings.ToLower(to.Domain)
	switch {
	case reached(l.senders[sender], most.Sender):
		return fmt.Sprintf("more than %d an hour to this address", most.Sender)
	case reached(l.domains[domain], most.Domain):
		return fmt.Sprintf("more than %d an hour to this domain", most.Domain)
	case reached(l.total, most.Total):
		return fmt.Sprintf("more than %d an hour", most.Total)
	}
	l.total++
	count(l.senders, sender)
	count(l.domains, domain)
	return ""
}

func reached(n, most int) bool { return most > 0 && n >= most }

func count(m map[string]int, key string) {
	if _, known := m[key]; known || len(m) < mostCounted {
		m[key]++
	}
}
