package scheduler

import (
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

// The methods of Backend that change the book: the program is told after it.

// Add is of Backend.
func (p *Program) Add(e Entry) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	ok := p.Scheduler.Add(e)
	if ok {
		p.tellOf(e.ID)
	}
	return ok
}

// AddAll is of Backend.
func (p *Program) AddAll(entries []Entry) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n = p.Scheduler.AddAll(entries)
	for _, e := range entries {
		p.tellOf(e.ID)
	}
	return n
}

// Next is of Backend: it gives what the program has handed out.
func (p *Program) Next(enough int) []Batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.ready) && enough > 0 {
		enough -= len(p.ready[n].IDs)
		n++
	}
	batches := p.ready[:n:n]
	p.ready = p.ready[n:]
	return batches
}

// NextWake is of Backend. Wake is called when there is something to give.
func (p *Program) NextWake() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ready) > 0 {
		return time.Now()
	}
	return time.Time{}
}

// Done is of Backend.
func (p *Program) Done(id envelope.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Scheduler.Done(id)
	p.tellOf(id)
}

// Retry is of Backend.
func (p *Program) Retry(id envelope.ID, due time.Time, unreached bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	ok := p.Scheduler.Retry(id, due, unreached)
	p.tellOf(id)
	return ok
}

// Park is of Backend.
func (p *Program) Park(id envelope.ID, why Reason) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	ok := p.Scheduler.Park(id, why)
	p.tellOf(id)
	return ok
}

// Update is of Backend.
func (p *Program) Update(e Entry) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	ok := p.Scheduler.Update(e)
	p.tellOf(e.ID)
	return ok
}

// Reached is of Backend.
func (p *Program) Reached(kind Kind, group string, most int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.Scheduler.Reached(kind, group, most)
	if n > 0 {
		p.tellRange(All(), func(i *Info) bool { return i.Kind == kind && i.Group == group })
	}
	return n
}

// Pause is of Backend.
func (p *Program) Pause(kind Kind) bool { return p.changed(p.Scheduler.Pause(kind)) }

// Unpause is of Backend.
func (p *Program) Unpause(kind Kind) bool { return p.changed(p.Scheduler.Unpause(kind)) }

// changed has the program asked again.
func (p *Program) changed(ok bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lookAgain()
	return ok
}

// Suspend is of Backend.
func (p *Program) Suspend(r Range) int { return p.changeRange(r, p.Scheduler.Suspend) }

// Resume is of Backend.
func (p *Program) Resume(r Range) int { return p.changeRange(r, p.Scheduler.Resume) }

// Schedule is of Backend.
func (p *Program) Schedule(r Range) int { return p.changeRange(r, p.Scheduler.Schedule) }

// changeRange changes envelopes in the book and tells the program.
func (p *Program) changeRange(r Range, change func(Range) int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := change(r)
	p.tellRange(r, nil)
	return n
}

// Remove is of Backend.
func (p *Program) Remove(r Range) (gone, doom []envelope.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	gone, doom = p.Scheduler.Remove(r)
	p.tellOf(gone...)
	return gone, doom
}

// SetLimits is of Backend. Of the limits only that of all envelopes in flight is kept.
func (p *Program) SetLimits(l Limits) {
	p.Scheduler.SetLimits(l)
	p.changed(true)
}
