package scheduler

import (
	"math"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

// Bases of the retry schedule: attempt n is followed by a wait until base*n² after the
// envelope was made.
const (
	RelayBase = 400 * time.Second
	LocalBase = 10 * time.Second
)

// MaxWait is the longest time between two attempts, whatever the clock or an envelope say.
const MaxWait = 24 * time.Hour

// spread is the largest part by which jitter shortens or lengthens a wait.
const spread = 0.1

// Backoff gives the time of the next attempt of an envelope that was made at created and
// has been tried retry times. It lies on the curve created+base*n² with the smallest n from
// retry on that leaves a quarter of base to wait, so it is never in the past. A creation
// time in the future counts as now. Jitter from -1 to 1 moves the result by up to a tenth
// of the wait.
func Backoff(kind Kind, created, now time.Time, retry int, jitter float64) time.Time {
	base := LocalBase.Seconds()
	if kind == Relay {
		base = RelayBase.Seconds()
	}
	age := max(now.Sub(created).Seconds(), 0)
	n := float64(max(retry, 1))
	if base*n*n < age+base/4 {
		n = math.Ceil(math.Sqrt((age + base/4) / base))
	}
	wait := min(base*n*n-age, MaxWait.Seconds())
	if jitter >= -1 && jitter <= 1 {
		wait += wait * spread * jitter
	}
	return now.Add(time.Duration(wait * float64(time.Second)))
}

// After gives the time of the next attempt of an envelope on a schedule of its own: after its
// attempt number n, which ended at last, it waits waits[n-1]; the last one repeats. A time of
// last that is zero or in the future counts as now. Jitter is that of Backoff.
func After(waits []time.Duration, last, now time.Time, retry int, jitter float64) time.Time {
	if last.IsZero() || last.After(now) {
		last = now
	}
	wait := min(waits[min(max(retry, 1), len(waits))-1], MaxWait)
	if jitter >= -1 && jitter <= 1 {
		wait += time.Duration(float64(wait) * spread * jitter)
	}
	return last.Add(wait)
}

// Jitter gives a number from -1 to 1 for attempt retry of a message. It is the same for all
// recipients of the message, so that they stay together and can share a transaction.
func Jitter(id envelope.MessageID, retry int) float64 {
	// The finalizer of SplitMix64 spreads neighbouring inputs over all 64 bits.
	x := uint64(id)<<32 ^ uint64(uint32(retry))
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	return float64(x>>11)/(1<<52) - 1
}

// Expiry gives the time when an envelope expires. A creation time in the future counts as
// now, so that no envelope lives longer than ttl from here.
func Expiry(created, now time.Time, ttl time.Duration) time.Time {
	if created.After(now) {
		created = now
	}
	return created.Add(ttl)
}
