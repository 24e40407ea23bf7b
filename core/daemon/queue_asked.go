package daemon

import (
	"sync"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/scheduler"
)

// noticeGather is how long a notice waits for further recipients of the same message with
// the same fate.
const noticeGather = time.Second

// gathering knows until when the notices wait that are about to be made.
type gathering struct {
	mu    sync.Mutex
	until map[gatherKey]time.Time
	swept time.Time
}

// gatherKey says what goes into one notice.
type gatherKey struct {
	message envelope.MessageID
	group   string
}

// join gives the time at which the notice is made that a recipient joins.
func (g *gathering) join(key gatherKey, now time.Time) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until, ok := g.until[key]; ok && until.After(now) {
		return until
	}
	if now.Sub(g.swept) > noticeGather {
		g.swept = now
		for k, until := range g.until {
			if !until.After(now) {
				delete(g.until, k)
			}
		}
	}
	if g.until == nil {
		g.until = make(map[gatherKey]time.Time)
	}
	until := now.Add(noticeGather)
	g.until[key] = until
	return until
}

// noticeGroup gives what can stand in one notice of a message: the same fate, and the same
// delay where there is one.
func noticeGroup(e *envelope.Envelope) string {
	switch e.BounceType {
	case envelope.BounceDelayed:
		return e.BounceType.String() + " " + e.BounceDelay.String()
	case envelope.BounceRelayed, envelope.BounceExpanded:
		return envelope.BounceDelivered.String()
	}
	return e.BounceType.String()
}

// askedAt is when a notice was asked for: its own time begins then, however long the
// message took.
func askedAt(e *envelope.Envelope) time.Time {
	if e.LastBounce.IsZero() { // written by OpenSMTPD, which makes that the time of creation
		return e.Created
	}
	return e.LastBounce
}

// askedEntry schedules a notice: soon when it was not tried yet, also after a restart.
func (q *queueRole) askedEntry(e *envelope.Envelope) scheduler.Entry {
	group, now, asked := noticeGroup(e), time.Now(), askedAt(e)
	entry := scheduler.Entry{ID: e.ID, Kind: scheduler.Bounce, Group: group, Expires: scheduler.Expiry(asked, now, q.settings().QueueTTL),
		Suspended: e.Flags&envelope.Suspended != 0}
	if e.Retry == 0 {
		entry.Due = q.gathering.join(gatherKey{e.ID.Message(), group}, now)
	} else {
		entry.Due = scheduler.Backoff(scheduler.Bounce, asked, now, e.Retry, scheduler.Jitter(e.ID.Message(), e.Retry))
	}
	return entry
}
