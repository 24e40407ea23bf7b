package scheduler

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

// TestMemory holds what an envelope may cost here, whatever the order of ids, so that the
// whole process stays below 100 octets.
func TestMemory(t *testing.T) {
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprintf("relay\x00d%d.example.org", i)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, total := range []int{100_000, 1_000_000} {
		for _, order := range []string{"ascending", "random"} {
			if total > 100_000 && testing.Short() {
				t.Skip("a million entries take a second")
			}
			c := newClock()
			before := heapInUse()
			s := New(Limits{}, c.now)
			for i := range total {
				m := uint32(i + 1)
				if order == "random" {
					m *= 2654435761
				}
				s.Add(Entry{ID: id(m, 7), Kind: Relay, Group: names[r.IntN(1000)],
					Due:     c.t.Add(time.Duration(1+r.IntN(3600)) * time.Second),
					Expires: c.t.Add(96 * time.Hour)})
			}
			each := float64(heapInUse()-before) / float64(total)
			t.Logf("%d entries, ids %s: %.1f octets each", total, order, each)
			if s.Counts().Envelopes != total {
				t.Errorf("%d entries", s.Counts().Envelopes)
			}
			if most := map[int]float64{100_000: 66, 1_000_000: 60}[total]; each > most {
				t.Errorf("%d entries, ids %s: %.1f octets each", total, order, each)
			}
		}
	}
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
