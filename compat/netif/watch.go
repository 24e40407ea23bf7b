package netif

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// pollEvery is the time between two looks where the system does not tell of changes.
const pollEvery = 5 * time.Second

// Watch tells when interfaces, their addresses or the default routes may have changed, and
// until ctx is done. Changes that follow each other closely can be one. The channel works
// in any case: an error says why the system does not tell, and that the channel goes by
// the clock, every five seconds, whether something changed or not.
func Watch(ctx context.Context) (<-chan struct{}, error) {
	changes := make(chan struct{}, 1)
	events, err := openEvents()
	if err != nil {
		go poll(ctx, changes)
		return changes, err
	}
	go func() {
		follow(ctx, events, changes)
		poll(ctx, changes)
	}()
	return changes, nil
}

// follow reads events until ctx is done or the socket fails.
func follow(ctx context.Context, events *os.File, changes chan<- struct{}) {
	defer events.Close()
	stop := context.AfterFunc(ctx, func() { events.Close() })
	defer stop()
	buf := make([]byte, 64<<10)
	for ctx.Err() == nil {
		n, err := events.Read(buf)
		if err != nil && !errors.Is(err, syscall.ENOBUFS) {
			return
		}
		if err != nil || relevant(buf[:n]) { // ENOBUFS: something was lost
			tell(changes)
		}
	}
}

func poll(ctx context.Context, changes chan<- struct{}) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			tell(changes)
		case <-ctx.Done():
			return
		}
	}
}

func tell(changes chan<- struct{}) {
	select {
	case changes <- struct{}{}:
	default: // one is waiting already
	}
}
