package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/mta"
	"github.com/godwit-mta/godwit/core/queue"
	"github.com/godwit-mta/godwit/core/scheduler"
)

// pauses are the parts of the server that smtpctl paused. They are kept in the spool, so
// that a restart changes nothing.
type pauses struct {
	mu    sync.Mutex
	file  *queue.Paused
	words []string
}

// The parts. Others are of the relay, see blockPart.
const (
	partMDA  = "mda"
	partMTA  = "mta"
	partSMTP = "smtp"
)

// open reads what was paused before. What cannot be read is told and holds nothing up.
func (p *pauses) open(dir string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	file, err := queue.OpenPaused(dir)
	if err != nil {
		return err
	}
	p.file = file
	p.words, err = file.Read()
	p.words = slices.DeleteFunc(p.words, func(w string) bool { return w != partMDA && w != partMTA && !ofDispatcher(w) })
	return err
}

// ofDispatcher reports whether a part is paused by the dispatcher.
func ofDispatcher(part string) bool {
	_, block := partBlock(part)
	return block || part == partSMTP
}

// blockPart names the part of the relay that a Block pauses: mta/SOURCE/DOMAIN, with * for all.
func blockPart(b mta.Block) string {
	source, domain, _ := strings.Cut(b.String(), " -> ")
	return partMTA + "/" + source + "/" + domain
}

// partBlock is the inverse of blockPart.
func partBlock(part string) (mta.Block, bool) {
	words := strings.Split(part, "/")
	if len(words) != 3 || words[0] != partMTA {
		return mta.Block{}, false
	}
	b, err := mta.ParseBlock(words[1], words[2])
	return b, err == nil
}

// blocks are the parts of the relay that are paused.
func (p *pauses) blocks() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.words), func(w string) bool { _, ok := partBlock(w); return !ok })
}

func (p *pauses) has(part string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.words, part)
}

// set makes durable whether a part is paused.
func (p *pauses) set(part string, on bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	words := slices.DeleteFunc(slices.Clone(p.words), func(w string) bool { return w == part })
	if on {
		words = append(words, part)
	}
	if len(words) == len(p.words) {
		return nil
	}
	if p.file == nil {
		return errors.New("the spool cannot keep it")
	}
	if err := p.file.Write(words); err != nil {
		return err
	}
	p.words = words
	return nil
}

func (p *pauses) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file != nil {
		p.file.Close()
		p.file = nil
	}
}

// pauseAtStart pauses what was paused before and what the command line says. The latter
// is not kept: it is said again at the next start or it does not hold.
func (q *queueRole) pauseAtStart(cfg *queueSettings) {
	if err := q.pauses.open(q.dir); err != nil {
		q.log.Warnf("queue: what is paused: %v", err)
	}
	for _, part := range []struct {
		name string
		kind scheduler.Kind
		told bool
	}{{partMDA, scheduler.Local, cfg.PausedMDA}, {partMTA, scheduler.Relay, cfg.PausedMTA}} {
		kept := q.pauses.has(part.name)
		if kept {
			q.log.Infof("info: %s is still paused", part.name)
		}
		if kept || part.told {
			q.sched.Pause(part.kind)
		}
	}
	if parts := q.pauses.blocks(); len(parts) > 0 { // before the first message
		q.log.Infof("info: %s is still paused", strings.Join(parts, ", "))
		if err := q.m.peers[Dispatcher].Send(kindPaused, &pausedParts{parts}); err != nil {
			q.log.Warnf("queue: what is paused: %v", err)
		}
	}
}

// pauseKind answers pause and resume of mda and mta.
func (q *queueRole) pauseKind(r *ipc.Request, op control.Op) {
	kind, part := scheduler.Local, partMDA
	if op == control.PauseMTA || op == control.ResumeMTA {
		kind, part = scheduler.Relay, partMTA
	}
	on := op == control.PauseMDA || op == control.PauseMTA
	if q.sched.Paused(kind) == on {
		r.Fail(errAlready)
		return
	}
	if err := q.pauses.set(part, on); err != nil {
		r.Fail(err)
		return
	}
	if on {
		done(r, q.sched.Pause(kind))
		q.log.Infof("info: %s paused", part)
		return
	}
	_ = q.m.parent.Send(kindResumed, &resumed{part})
	done(r, q.sched.Unpause(kind))
	q.log.Infof("info: %s resumed", part)
	q.nudge()
}

// pausePart makes durable whether the dispatcher has a part paused, or tells it what was.
func (q *queueRole) pausePart(r *ipc.Request) {
	var req partPause
	if err := r.Decode(&req); err != nil {
		r.Fail(err)
		return
	}
	if !ofDispatcher(req.Part) {
		r.Fail(fmt.Errorf("queue: there is no part %q", req.Part))
		return
	}
	if req.Set {
		if err := q.pauses.set(req.Part, req.Paused); err != nil {
			r.Fail(err)
			return
		}
		if req.Part == partSMTP && !req.Paused {
			_ = q.m.parent.Send(kindResumed, &resumed{partSMTP})
		}
	}
	req.Paused = q.pauses.has(req.Part)
	r.Reply(&req)
}

// suspend pauses or resumes envelopes, which their files say from then on. One in flight
// says it when it comes back.
func (q *queueRole) suspend(r *ipc.Request, rng scheduler.Range, on bool) {
	n, err := 0, error(nil)
	next := q.stepsUntil(time.Now().Add(commandTime), rng, q.alone(func(infos []scheduler.Info) {
		if err != nil {
			return
		}
		part := span(infos)
		if on {
			n += q.sched.Suspend(part)
		}
		if err = q.writeSuspended(part, on); err == nil && !on {
			n += q.sched.Resume(part)
		}
	}))
	q.nudge()
	if err != nil {
		r.Fail(err)
		return
	}
	r.Reply(&control.Count{N: uint64(n), Next: next})
}

// writeSuspended writes it into the envelopes of a range that rest.
func (q *queueRole) writeSuspended(part scheduler.Range, on bool) error {
	var changes []queue.Change
	for _, info := range q.sched.List(part, maxStep) {
		if !info.Suspended || info.State == scheduler.Inflight {
			continue
		}
		e, err := q.store.Envelope(info.ID)
		if err != nil || setSuspended(e, on) {
			continue // gone, not to be read, or as it should be
		}
		changes = append(changes, queue.Change{Op: queue.Update, Envelope: e})
	}
	if len(changes) == 0 {
		return nil
	}
	if err := q.store.Apply(changes); err != nil && !errors.Is(err, queue.ErrNotFound) {
		return err
	}
	return nil
}

// setSuspended sets the flag and reports whether it was so already.
func setSuspended(e *envelope.Envelope, on bool) (was bool) {
	before := e.Flags
	if e.Flags &^= envelope.Suspended; on {
		e.Flags |= envelope.Suspended
	}
	return e.Flags == before
}

// pauseSMTP answers pause and resume of smtp. The queue keeps it.
func (d *dispatcherRole) pauseSMTP(r *ipc.Request, on bool) {
	<-d.pauseKnown
	d.pausing.Lock()
	defer d.pausing.Unlock()
	if d.paused.Load() == on {
		r.Fail(errAlready)
		return
	}
	if err := d.keepPause(partSMTP, on); err != nil {
		r.Fail(err)
		return
	}
	d.paused.Store(on)
	word := "resumed"
	if on {
		word = "paused"
	}
	d.m.log.Infof("info: smtp %s", word)
	r.Reply(nil)
}

// keepPause has the queue make it durable. The caller holds pausing.
func (d *dispatcherRole) keepPause(part string, on bool) error {
	ctx, cancel := context.WithTimeout(d.ctx, adminWait)
	defer cancel()
	return d.m.peers[Queue].Call(ctx, kindPause, &partPause{Part: part, Set: true, Paused: on}, new(partPause))
}

// learnPaused asks the queue whether sessions are taken. Until it has answered none is.
func (d *dispatcherRole) learnPaused(told bool) {
	defer close(d.pauseKnown)
	ctx, cancel := context.WithTimeout(d.ctx, startWait)
	defer cancel()
	var reply partPause
	err := d.m.peers[Queue].Call(ctx, kindPause, &partPause{Part: partSMTP}, &reply)
	if err != nil && d.ctx.Err() == nil {
		d.m.log.Warnf("smtp: queue: %v", err)
	}
	if reply.Paused {
		d.m.log.Infof("info: smtp is still paused")
	}
	if told || reply.Paused {
		d.paused.Store(true)
	}
}

// startWait is how long the queue may take to start.
const startWait = time.Minute
