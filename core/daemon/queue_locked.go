package daemon

import (
	"errors"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/queue"
	"github.com/godwit-mta/godwit/core/scheduler"
)

// encoder is a store that can encode what it keeps.
type encoder interface {
	SetEncoding(queue.Encoding) error
	Locked() []envelope.ID
}

var errNotEncoding = errors.New("queue compression and encryption are not supported by this backend of the queue")

// canEncode refuses a configuration that the store cannot carry out.
func (q *queueRole) canEncode(e *queue.Encoding) error {
	if !q.isOpen() { // the one that may open late can
		return nil
	}
	if _, ok := q.store.(encoder); ok || e.Compression == queue.NoCompression && !e.Encrypt && len(e.Keys) == 0 {
		return nil
	}
	return errNotEncoding
}

// encodeAs has the store use the methods and keys of a new configuration, and what it can read now
// go on.
func (q *queueRole) encodeAs(e queue.Encoding) {
	store, ok := q.store.(encoder)
	if !ok {
		return
	}
	if err := store.SetEncoding(e); err != nil {
		q.log.Warnf("queue: %v", err)
		return
	}
	q.running.Go(q.unlock)
}

// holdLocked puts the envelopes whose keys are missing on hold.
func (q *queueRole) holdLocked() {
	store, ok := q.store.(encoder)
	if !ok {
		return
	}
	now := time.Now()
	for _, id := range store.Locked() {
		if e, err := q.store.Envelope(id); err == nil { // the configuration has changed meanwhile
			q.enqueue(e, e.LastTry.IsZero())
			continue
		}
		q.sched.Add(scheduler.Entry{ID: id, Kind: scheduler.Relay, Due: now, Expires: now.Add(q.settings().QueueTTL), Reason: scheduler.NoKey})
	}
}

// unlock lets envelopes go on whose keys are back.
func (q *queueRole) unlock() {
	q.inSteps(scheduler.All(), func(infos []scheduler.Info) {
		for _, info := range infos {
			if info.Reason != scheduler.NoKey {
				continue
			}
			if e, err := q.store.Envelope(info.ID); err == nil {
				entry := q.entry(e, true)
				q.sched.Update(entry)
			}
		}
	})
	q.nudge()
}

// isLocked reports whether an envelope cannot be read because its key is missing.
func isLocked(err error) bool {
	var missing *queue.KeyError
	return errors.As(err, &missing)
}
