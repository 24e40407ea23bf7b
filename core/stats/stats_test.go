package stats

import (
	"slices"
	"sync"
	"testing"
	"time"
)

func TestCounters(t *testing.T) {
	var c Counters
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range 100 {
				c.Counter(SMTPSession).Add(1)
				c.Counter(DeliveryOK).Add(2)
			}
		})
	}
	wg.Wait()
	c.Counter(MDAUser)
	want := []Value{{MDAUser, 0}, {DeliveryOK, 2000}, {SMTPSession, 1000}}
	if got := c.Snapshot(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestMergeAndText(t *testing.T) {
	queue := []Value{{BounceSession, 1}, {ControlSession, 2}}
	smtp := []Value{{ControlSession, 3}, {SMTPSession, 4}}
	got := Text(Merge(queue, smtp), 5*time.Second)
	want := "bounce.session=1\ncontrol.session=5\nsmtp.session=4\nuptime=5\nuptime.human=5s\n"
	if got != want {
		t.Errorf("got:\n%s", got)
	}
	if queue[1].Value != 2 || smtp[0].Value != 3 {
		t.Error("Merge changed what it was given")
	}
}
