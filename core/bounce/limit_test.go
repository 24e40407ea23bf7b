package bounce

import (
	"fmt"
	"testing"
	"time"
)

func TestLimiter(t *testing.T) {
	var l Limiter
	now := time.Now()
	most := Limits{Sender: 2, Domain: 3, Total: 5}
	for i, tt := range []struct {
		to, why string
		after   time.Duration
	}{
		{"a@one.example", "", 0},
		{"A@ONE.example", "", 0},
		{"a@one.example", "more than 2 an hour to this address", 0},
		{"b@one.example", "", 0},
		{"c@one.example", "more than 3 an hour to this domain", 0},
		{"a@two.example", "", 30 * time.Minute},
		{"a@three.example", "", 0},
		{"a@four.example", "more than 5 an hour", 0},
		{"a@one.example", "", 30 * time.Minute},
	} {
		now = now.Add(tt.after)
		if why := l.Take(at(tt.to), most, now); why != tt.why {
			t.Errorf("%d %s: %q, want %q", i, tt.to, why, tt.why)
		}
	}
	for i := range 1000 {
		if why := l.Take(at("a@one.example"), Limits{}, now); why != "" {
			t.Fatalf("%d without a limit: %s", i, why)
		}
	}
	if l.Take(at("a@one.example"), Limits{Total: 1}, now) == "" {
		t.Error("a limit that was lowered by a reload is not obeyed")
	}
}

// A flood of other addresses costs no more memory than the bound.
func TestLimiterMemory(t *testing.T) {
	var l Limiter
	now := time.Now()
	for i := range mostCounted + 1000 {
		l.Take(at(fmt.Sprintf("u%d@d%d.example", i, i)), Limits{Sender: 1}, now)
	}
	if len(l.senders) != mostCounted || len(l.domains) != mostCounted || l.total != mostCounted+1000 {
		t.Errorf("%d senders, %d domains, %d in all", len(l.senders), len(l.domains), l.total)
	}
}
