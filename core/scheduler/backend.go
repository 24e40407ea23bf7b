package scheduler

import (
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

// Backend is what the queue asks of a scheduler. All methods may be called by several
// goroutines, and none waits for long. *Scheduler is the usual one; its methods say what
// each of them means.
type Backend interface {
	Add(e Entry) bool
	AddAll(entries []Entry) int
	Next(enough int) []Batch
	NextWake() time.Time
	Done(id envelope.ID)
	Retry(id envelope.ID, due time.Time, unreached bool) bool
	Park(id envelope.ID, why Reason) bool
	Update(e Entry) bool
	Reached(kind Kind, group string, most int) int
	Doomed(id envelope.ID) bool

	Pause(kind Kind) bool
	Unpause(kind Kind) bool
	Paused(kind Kind) bool
	Suspend(r Range) int
	Resume(r Range) int
	Schedule(r Range) int
	Remove(r Range) (gone, doom []envelope.ID)
	List(r Range, most int) []Info
	Counts() Counts
	SetLimits(l Limits)
}

// Null takes envelopes and never hands one out: for measuring what stands before the
// scheduler. It is a Scheduler otherwise, so that the queue can be looked at and changed.
type Null struct{ *Scheduler }

// NewNull makes an empty scheduler.
func NewNull(clock func() time.Time) Null { return Null{New(Limits{}, clock)} }

// Next is of Backend: nothing is ever due.
func (Null) Next(int) []Batch { return nil }

// NextWake is of Backend.
func (Null) NextWake() time.Time { return time.Time{} }
