package scheduler

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

// backlog makes a scheduler with entries for as many destinations.
func backlog(c *testClock, entries, groups int) *Scheduler {
	r := rand.New(rand.NewPCG(1, 2))
	names := make([]string, groups)
	for i := range names {
		names[i] = fmt.Sprintf("out\x00d%d.example.org", i)
	}
	s := New(Limits{Tasks: func(Kind, string) Tasks { return Tasks{50, 30, 10} }}, c.now)
	for i := range entries {
		s.Add(Entry{ID: id(uint32(i)*2654435761|1, uint32(i)+1), Kind: Relay, Group: names[i%groups],
			Due: c.t.Add(time.Duration(r.IntN(3600)) * time.Second), Expires: c.t.Add(96 * time.Hour), Unreached: i%2 == 0})
	}
	return s
}

func BenchmarkAddMillion(b *testing.B) {
	c := newClock()
	for b.Loop() {
		backlog(c, 1_000_000, 100_000)
	}
}

// BenchmarkCycle hands out an envelope and takes it back, with all that is due at once.
func BenchmarkCycle(b *testing.B) {
	for _, size := range []struct{ entries, groups int }{{1000, 100}, {1_000_000, 100_000}, {1_000_000, 1}} {
		b.Run(fmt.Sprintf("%d/%d", size.entries, size.groups), func(b *testing.B) {
			c := newClock()
			s := backlog(c, size.entries, size.groups)
			c.advance(time.Hour)
			b.ReportAllocs()
			var flying []envelope.ID
			for b.Loop() {
				for _, batch := range s.Next(1) {
					flying = append(flying, batch.IDs...)
				}
				s.NextWake()
				if len(flying) > 20 {
					s.Retry(flying[0], c.t, false)
					flying = flying[1:]
				}
			}
		})
	}
}

// BenchmarkFull asks for more when all places are taken by destinations that hang.
func BenchmarkFull(b *testing.B) {
	c := newClock()
	s := backlog(c, 1_000_000, 100_000)
	c.advance(time.Hour)
	s.Next(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		s.Next(10)
		s.NextWake()
	}
}

func BenchmarkReached(b *testing.B) {
	c := newClock()
	s := backlog(c, 1_000_000, 1000)
	n := 0
	for b.Loop() {
		s.Reached(Relay, fmt.Sprintf("out\x00d%d.example.org", n%1000), 100)
		n++
	}
}
