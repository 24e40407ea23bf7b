package queue

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// maxBacklog is the weight of the journal at which mail waits to be accepted until more of it is written
// out. The next start has to read all of it: that took 1.0 s for the smallest messages and 0.2 s for those
// of 60 kB, on two busy cores of 2.5 GHz.
const maxBacklog = 256 << 20

// opWeight is what an operation weighs besides its octets: recovery takes as long for it as for reading so
// many.
const opWeight = 640

// evpWeight is what a new envelope is taken to weigh, and leastWeight the smallest message.
const (
	evpWeight   = opWeight + 1024
	leastWeight = opWeight + evpWeight
)

// behindWait is how long a message waits to be accepted.
const behindWait = 30 * time.Second

// ErrBehind refuses mail that comes faster than the journal can be written out. It is an ErrNoSpace.
var ErrBehind = fmt.Errorf("%w: the journal is not written out", ErrNoSpace)

// backlog is what lies in the journal and is not written out. Commits wait when it is large. What happens to
// mail that is queued is always taken: it makes the backlog smaller in the end.
type backlog struct {
	most     int64
	patience time.Duration
	held     func()     // called when one has to wait
	refusing func(bool) // called when it begins to refuse and when it ends

	mu      sync.Mutex
	weight  int64 // of the segments, as far as they are not written out, and of what is on its way to them
	waiting []*waiter
	late    bool // one waited in vain, and nothing was written out since
	closed  bool
}

// waiter is a commit that waits.
type waiter struct {
	weight int64
	then   func(error)
	timer  *time.Timer
}

// enter calls then as soon as there is room for a commit, or with an error when there is none in time. Who
// came in has to leave.
func (b *backlog) enter(weight int64, then func(error)) {
	b.mu.Lock()
	var err error
	switch {
	case b.closed:
		err = ErrClosed
	case len(b.waiting) == 0 && b.room(weight):
		b.weight += weight
	case b.late:
		err = ErrBehind
	default:
		w := &waiter{weight: weight, then: then}
		w.timer = time.AfterFunc(b.patience, func() { b.giveUp(w) })
		b.waiting = append(b.waiting, w)
		b.mu.Unlock()
		b.held()
		return
	}
	b.mu.Unlock()
	then(err)
}

// wait is enter for who has the time.
func (b *backlog) wait(weight int64) error {
	answer := make(chan error, 1)
	b.enter(weight, func(err error) { answer <- err })
	return <-answer
}

func (b *backlog) room(weight int64) bool { return b.weight == 0 || b.weight+weight <= b.most }

// leave ends what enter began, when the record is in the journal or will not be.
func (b *backlog) leave(weight int64) { b.shrink(weight, false) }

// grow notes what came into the journal.
func (b *backlog) grow(weight int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.weight += weight
}

// written notes what was written out. It reports whether there is still somebody who waits.
func (b *backlog) written(weight int64) bool { return b.shrink(weight, true) }

func (b *backlog) shrink(weight int64, out bool) (wait bool) {
	b.mu.Lock()
	b.weight -= weight
	again := out && b.late
	if again {
		b.late = false
	}
	var in []*waiter
	for len(b.waiting) > 0 && b.room(b.waiting[0].weight) {
		w := b.waiting[0]
		b.waiting = b.waiting[1:]
		b.weight += w.weight
		in = append(in, w)
	}
	wait = len(b.waiting) > 0
	b.mu.Unlock()
	if again {
		b.refusing(false)
	}
	for _, w := range in {
		w.timer.Stop()
		w.then(nil)
	}
	return wait
}

// giveUp refuses one that has waited too long.
func (b *backlog) giveUp(w *waiter) {
	b.mu.Lock()
	i := slices.Index(b.waiting, w)
	if i < 0 {
		b.mu.Unlock()
		return
	}
	b.waiting = slices.Delete(b.waiting, i, i+1)
	first := !b.late
	b.late = true
	b.mu.Unlock()
	if first {
		b.refusing(true)
	}
	w.then(ErrBehind)
}

// refuses reports whether even the smallest message would be refused at once.
func (b *backlog) refuses() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.late && !b.room(leastWeight)
}

// close refuses all that wait, and all that come.
func (b *backlog) close() {
	b.mu.Lock()
	b.closed = true
	waiting := b.waiting
	b.waiting = nil
	b.mu.Unlock()
	for _, w := range waiting {
		w.timer.Stop()
		w.then(ErrClosed)
	}
}

// weight is what a record adds to the backlog.
func (r *record) weight() int64 { return int64(len(r.buf)) + opWeight*int64(len(r.ops)) }

// weightOf is about what the record of a message will weigh.
func weightOf(m *Message) int64 {
	n := opWeight + evpWeight*int64(len(m.Envelopes))
	if len(m.Body) <= smallBody {
		n += int64(len(m.Body))
	}
	return n
}

// hurry has the segment that is being written written out too, when no other is left: there is mail that
// waits to be accepted.
func (s *FS) hurry() {
	s.mu.RLock()
	none := len(s.closed) == 0
	s.mu.RUnlock()
	if none {
		s.j.add(nil, func(error) {})
	}
}

// wroteOut notes that a part of a segment was written out; all of it, with the part 1 of 1. At a second
// try only the end counts: how much of the first one is of use is not known.
func (s *FS) wroteOut(seg *segment, part, of int) {
	if seg.tried && part != of {
		return
	}
	n := min(seg.weight*int64(part)/int64(of), seg.weight-seg.credit) // at the end all that is left
	seg.credit += n
	if s.backlog.written(n) {
		s.hurry()
	}
}

// wroteNothing takes back what wroteOut noted of a segment that has to be written out anew.
func (s *FS) wroteNothing(seg *segment) {
	s.backlog.grow(seg.credit)
	seg.tried, seg.credit = true, 0
}

func (s *FS) refusing(on bool) {
	if on {
		s.log.Warnf("queue: no mail is accepted: too much of the journal is not written out")
		return
	}
	s.log.Infof("info: queue: the journal is written out again, and mail accepted")
}
