package daemon

import (
	"sync"
	"time"

	"github.com/godwit-mta/godwit/core/queue"
)

// recording knows whether results can be made durable. While they cannot, nothing new is begun: all that
// is delivered meanwhile would be delivered again after a crash.
type recording struct {
	mu      sync.Mutex
	failing int // who tries in vain
}

// fails reports whether somebody waits until something can be recorded.
func (r *recording) fails() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failing > 0
}

// change counts who waits. It reports whether that was or is the only one.
func (r *recording) change(n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.failing
	r.failing += n
	return before == 0 || r.failing == 0
}

// applyWait is the time between attempts to write to a disk that refuses.
const applyWait = time.Second

// untilRecorded tries something until the disk takes it, and gives its last error: none, one that is not
// temporary, or that of the disk when the role ends.
func (q *queueRole) untilRecorded(try func() error) error {
	err := try()
	if !queue.Temporary(err) {
		return err
	}
	if q.recording.change(1) {
		q.log.Warnf("queue: results cannot be recorded, trying again; no delivery is begun meanwhile: %v", err)
	}
	for queue.Temporary(err) {
		select {
		case <-time.After(applyWait):
		case <-q.ctx.Done():
			return err
		}
		err = try()
	}
	if q.recording.change(-1) {
		q.log.Infof("info: queue: results can be recorded again")
		q.nudge()
		q.agents.wakeAll()
	}
	return err
}

// awaitRecording waits until the store can write, so that what follows a start does not
// deliver what cannot be recorded.
func (q *queueRole) awaitRecording() {
	if s, ok := q.store.(interface{ Ready() error }); ok {
		_ = q.untilRecorded(s.Ready) // that the role ends each loop sees itself
	}
}

// wakeAll has every agent look for work.
func (as *agents) wakeAll() {
	as.mu.Lock()
	defer as.mu.Unlock()
	for _, l := range as.byKey {
		l.wake()
		as.watch(l)
	}
}
