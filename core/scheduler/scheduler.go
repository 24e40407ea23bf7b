package scheduler

import (
	"math"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

// Kind is what is done with an envelope when it is due.
type Kind uint8

// The kinds.
const (
	Local Kind = iota
	Relay
	Bounce
	kinds
)

// String gives the name of a kind.
func (k Kind) String() string {
	if k < kinds {
		return [...]string{Local: "local", Relay: "relay", Bounce: "bounce"}[k]
	}
	return "unknown"
}

// State is where an entry is.
type State uint8

// The states.
const (
	Free     State = iota // not an entry
	Pending               // waits for its time
	Ready                 // is due and waits for its turn
	Expired               // waits to be handed out for the last time
	Inflight              // has been handed out
	Parked                // suspended
)

// Entry is an envelope as its owner describes it.
type Entry struct {
	ID        envelope.ID
	Kind      Kind
	Group     string    // what takes turns: the user, or the action and where it leads
	Due       time.Time // next attempt; a time in the past is now
	Expires   time.Time // after it no attempt is made; zero: never
	Reason    Reason    // why it cannot be tried now
	Suspended bool      // as by Suspend
	Unreached bool      // the last attempt did not get as far as its destination
}

// Batch is a set of recipients of one message and one group.
type Batch struct {
	Kind    Kind
	Group   string
	Message envelope.MessageID
	IDs     []envelope.ID // ascending
	Expired bool          // their time is over: to be bounced, not to be tried
}

// Range is the envelopes from First to Last, both included. The zero Range is empty.
type Range struct{ First, Last envelope.ID }

// One is the range of one envelope.
func One(id envelope.ID) Range { return Range{id, id} }

// Of is the range of all envelopes of a message.
func Of(m envelope.MessageID) Range {
	return Range{envelope.NewID(m, 0), envelope.NewID(m, ^uint32(0))}
}

// All is the range of all envelopes.
func All() Range { return Range{0, ^envelope.ID(0)} }

// Scheduler holds the entries. It is safe for use by several goroutines.
type Scheduler struct {
	mu      sync.Mutex
	limits  Limits
	clock   func() time.Time
	wall    func(time.Time) time.Time // a reading of clock as the system's clock shows it
	last    time.Time                 // what clock said when it was last asked
	elapsed time.Duration             // since New

	arena
	index    index
	heap     []uint32 // slots of pending entries
	expired  line     // slots of expired entries
	groups   groups
	flying   map[task]int // envelopes in flight
	turns    [lanes]turns
	laneTurn int
	inflight [kinds]int
	suspect  int // in flight to destinations that were not reached last time
	paused   [kinds]bool
	counts   Counts
	follows  bool // see follow
}

// New makes an empty scheduler. The clock is time.Now but for tests.
func New(limits Limits, clock func() time.Time) *Scheduler {
	s := &Scheduler{limits: limits.withDefaults(), clock: clock, last: clock(), flying: make(map[task]int)}
	s.wall = func(t time.Time) time.Time { return t.Round(0) }
	s.reset()
	return s
}

// reset gives the memory of a backlog back when the last entry has gone.
func (s *Scheduler) reset() {
	s.arena = arena{free: none}
	s.heap = nil
	s.index = index{}
	s.expired = emptyLine()
	s.groups = groups{}
	s.turns = [lanes]turns{}
}

// maxLife bounds the time to the expiry of an envelope.
const maxLife = 10 * 365 * 24 * time.Hour

// until turns a time into the scheduler's own, as of the last reading of the clock.
func (s *Scheduler) until(t time.Time) time.Duration {
	return s.elapsed + max(min(t.Sub(s.last), maxLife), -maxLife)
}

// set says when an entry is to be tried. That is at most MaxWait and its jitter away; for
// an entry which expires before it, and for one that is held, it is its expiry.
func (s *Scheduler) set(e *entry, due time.Duration) {
	due = min(due, s.elapsed+MaxWait+MaxWait/10)
	e.due = min(int64(due), e.expires)
	switch {
	case e.reason == NoHold:
	case e.reason.expires():
		e.due = e.expires
	default:
		e.due = math.MaxInt64
	}
}

// Add takes an envelope in. It gives false when the id is known already or no valid one.
func (s *Scheduler) Add(e Entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(e)
}

// AddAll takes the envelopes of a message in together: none is handed out before all are
// there. It gives how many were taken.
func (s *Scheduler) AddAll(entries []Entry) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		if s.add(e) {
			n++
		}
	}
	return n
}

func (s *Scheduler) add(e Entry) bool {
	i, j, known := s.index.find(e.ID)
	if known || e.ID == 0 || e.Kind >= kinds {
		return false
	}
	s.now()
	slot := s.alloc()
	if before, after := s.index.around(i, j); before.Message() != e.ID.Message() && after.Message() != e.ID.Message() {
		s.counts.Messages++
	}
	s.index.insert(i, j, e.ID, slot)
	*s.at(slot) = entry{id: e.ID, group: s.join(e.Kind, e.Group)}
	s.counts.Envelopes++
	s.fill(slot, &e)
	return true
}

// fill gives an entry that is nowhere what its owner says of it, and puts it into its place.
func (s *Scheduler) fill(slot uint32, from *Entry) {
	e := s.at(slot)
	e.expires = int64(s.elapsed + maxLife)
	if !from.Expires.IsZero() {
		e.expires = int64(s.until(from.Expires))
	}
	e.flags &^= suspended
	if from.Suspended {
		e.flags |= suspended
	}
	s.mark(e, from.Unreached)
	s.hold(e, from.Reason)
	s.set(e, s.until(from.Due))
	s.wait(slot)
}

// Update describes an envelope anew. It gives false, and changes nothing, when the envelope
// is unknown or in flight.
func (s *Scheduler) Update(e Entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	slot, known := s.index.get(e.ID)
	if !known || s.at(slot).state == Inflight || e.Kind >= kinds {
		return false
	}
	s.now()
	s.leave(slot)
	old := s.at(slot).group
	s.mark(s.at(slot), false)
	s.at(slot).group = s.join(e.Kind, e.Group)
	s.groups.part(old)
	s.fill(slot, &e)
	return true
}

// any reports whether there is an envelope in r.
func (s *Scheduler) any(r Range) (found bool) {
	s.index.ascend(r.First, r.Last, func(envelope.ID, uint32) bool {
		found = true
		return false
	})
	return found
}

// wait puts an entry that is nowhere to where it belongs.
func (s *Scheduler) wait(slot uint32) {
	e := s.at(slot)
	switch {
	case e.flags&suspended != 0:
		e.state = Parked
		s.counts.Suspended++
	case e.due > int64(s.elapsed):
		e.state = Pending
		s.counts.Pending++
		s.push(slot)
	default:
		s.ready(slot)
	}
}

// ready puts a due entry in line.
func (s *Scheduler) ready(slot uint32) {
	e := s.at(slot)
	if e.due >= e.expires {
		e.state = Expired
		s.counts.Expired++
		s.enqueue(&s.expired, slot)
		return
	}
	e.state = Ready
	s.counts.Ready++
	s.enqueue(&s.groups.at(e.group).ready, slot)
	s.offer(e.group)
}

// leave takes an entry from where it is.
func (s *Scheduler) leave(slot uint32) {
	e := s.at(slot)
	switch e.state {
	case Pending:
		s.counts.Pending--
		s.unheap(int(e.next))
	case Ready:
		s.counts.Ready--
		s.dequeue(&s.groups.at(e.group).ready, slot)
	case Expired:
		s.counts.Expired--
		s.dequeue(&s.expired, slot)
	case Inflight:
		s.land(e)
	case Parked:
		s.counts.Suspended--
	}
	e.state = Free
}

// drop forgets an entry.
func (s *Scheduler) drop(slot uint32) {
	s.leave(slot)
	e := s.at(slot)
	id := e.id
	s.mark(e, false)
	s.hold(e, NoHold)
	s.groups.part(e.group)
	s.index.remove(id)
	s.release(slot)
	s.counts.Envelopes--
	if !s.any(Of(id.Message())) {
		s.counts.Messages--
	}
	if s.counts.Envelopes == 0 {
		s.reset()
	}
}

// Done forgets an envelope that was in flight and is finished: delivered, failed or expired.
func (s *Scheduler) Done(id envelope.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slot, ok := s.index.get(id); ok {
		s.drop(slot)
	}
}

// Retry takes an envelope back that was in flight, to be tried again at due. With unreached
// the attempt did not get as far as its destination: Reached makes it due earlier. It gives
// false when the envelope is no longer wanted, because Remove was called for it meanwhile or
// it is unknown; it is then forgotten and its owner has to delete it.
func (s *Scheduler) Retry(id envelope.ID, due time.Time, unreached bool) bool {
	return s.back(id, func(e *entry) {
		s.mark(e, unreached)
		s.set(e, s.until(due))
	})
}

// Park takes an envelope back that was in flight and cannot be tried, until Update says
// otherwise. It gives false as Retry does.
func (s *Scheduler) Park(id envelope.ID, why Reason) bool {
	return s.back(id, func(e *entry) {
		s.hold(e, why)
		s.set(e, s.elapsed)
	})
}

// back takes an envelope back that was in flight. change says what becomes of it.
func (s *Scheduler) back(id envelope.ID, change func(*entry)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	slot, ok := s.index.get(id)
	if !ok {
		return false
	}
	e := s.at(slot)
	if e.state != Inflight {
		return true
	}
	if e.flags&doomed != 0 {
		s.drop(slot)
		return false
	}
	s.now()
	s.leave(slot)
	change(e)
	s.wait(slot)
	return true
}
