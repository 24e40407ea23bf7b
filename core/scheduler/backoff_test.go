package scheduler

import (
	"math"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

func TestBackoffCurve(t *testing.T) {
	created := time.Unix(1_700_000_000, 0)
	tests := []struct {
		kind Kind
		want []time.Duration // of each attempt that fails at once, since created
	}{
		{Relay, []time.Duration{400, 1600, 3600, 6400, 10000, 14400}},
		{Local, []time.Duration{10, 40, 90, 160, 250}},
		{Bounce, []time.Duration{10, 40, 90}},
	}
	for _, tt := range tests {
		now := created
		for i, want := range tt.want {
			now = Backoff(tt.kind, created, now, i+1, 0)
			if got := now.Sub(created); got != want*time.Second {
				t.Errorf("kind %d attempt %d: due after %v, want %v", tt.kind, i+1, got, want*time.Second)
			}
		}
	}
}

func TestBackoffOddClocks(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	ages := []time.Duration{-100 * 365 * 24 * time.Hour, -time.Hour, 0, time.Second, 399 * time.Second,
		time.Hour, 5 * 24 * time.Hour, 50 * 365 * 24 * time.Hour, math.MaxInt64}
	for kind, base := range map[Kind]time.Duration{Local: LocalBase, Relay: RelayBase, Bounce: LocalBase} {
		for _, age := range ages {
			for _, retry := range []int{math.MinInt, -1, 0, 1, 5, 1000, math.MaxInt} {
				for _, jitter := range []float64{-1, 0, 1, 7, math.NaN(), math.Inf(1)} {
					wait := Backoff(kind, now.Add(-age), now, retry, jitter).Sub(now)
					if wait < base/5 || wait > MaxWait+MaxWait/10 {
						t.Fatalf("kind %d age %v retry %d jitter %v: wait %v", kind, age, retry, jitter, wait)
					}
				}
			}
		}
	}
}

func TestJitter(t *testing.T) {
	var sum float64
	seen := make(map[float64]bool)
	for i := range 10000 {
		j := Jitter(envelope.MessageID(i+1), 3)
		if j < -1 || j > 1 {
			t.Fatalf("jitter %v", j)
		}
		sum += j
		seen[j] = true
	}
	if math.Abs(sum/10000) > 0.05 || len(seen) < 9990 {
		t.Errorf("mean %v, %d different of 10000", sum/10000, len(seen))
	}
	if Jitter(7, 1) == Jitter(7, 2) {
		t.Error("attempts of one message have the same jitter")
	}
}

func TestExpiry(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	if got := Expiry(now.Add(-time.Hour), now, 4*time.Hour); got != now.Add(3*time.Hour) {
		t.Errorf("got %v", got)
	}
	if got := Expiry(now.Add(70*365*24*time.Hour), now, 4*time.Hour); got != now.Add(4*time.Hour) {
		t.Errorf("creation in the future: got %v", got)
	}
}

func TestAfter(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	waits := []time.Duration{5 * time.Minute, 15 * time.Minute, 4 * time.Hour}
	tests := []struct {
		last  time.Time
		retry int
		want  time.Duration // from now
	}{
		{now, 0, 5 * time.Minute},
		{now, 1, 5 * time.Minute},
		{now, 2, 15 * time.Minute},
		{now, 3, 4 * time.Hour},
		{now, 1 << 30, 4 * time.Hour},
		{now.Add(-time.Minute), 1, 4 * time.Minute},
		{now.Add(-time.Hour), 1, -55 * time.Minute},
		{now.Add(24 * time.Hour), 1, 5 * time.Minute},
		{time.Time{}, 2, 15 * time.Minute},
	}
	for _, tt := range tests {
		if got := After(waits, tt.last, now, tt.retry, 0).Sub(now); got != tt.want {
			t.Errorf("attempt %d at %v: %v, want %v", tt.retry, tt.last.Sub(now), got, tt.want)
		}
	}
	if got := After(waits, now, now, 3, 1).Sub(now); got != 4*time.Hour+24*time.Minute {
		t.Errorf("with jitter: %v", got)
	}
	if got := After([]time.Duration{1 << 62}, now, now, 3, -1).Sub(now); got > MaxWait {
		t.Errorf("too long: %v", got)
	}
}
