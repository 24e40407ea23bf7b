package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/godwit-mta/godwit/compat/reexec"
	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/queue"
	"github.com/godwit-mta/godwit/core/scheduler"
	"github.com/godwit-mta/godwit/core/smtp"
	"github.com/godwit-mta/godwit/core/trace"
)

// What smtpctl asks of each role. Control has checked that it is permitted.

var errAlready = errors.New("command failed")

// done answers a command that has no other answer than that it was carried out.
func done(r *ipc.Request, ok bool) {
	if !ok {
		r.Fail(errAlready)
		return
	}
	r.Reply(nil)
}

func (p *parent) adminRequest(s *set, r *ipc.Request) {
	var req adminRequest
	if err := r.Decode(&req); err != nil {
		r.Fail(err)
		return
	}
	switch req.Op {
	case control.Stop:
		r.Reply(nil)
		p.stopOnce.Do(func() { close(p.stop) })
	case control.Reload:
		var err error
		p.inLoop(func() { err = p.reloadSet(s) })
		if err != nil {
			r.Fail(err)
			return
		}
		r.Reply(nil)
	case control.LogBrief, control.LogVerbose:
		p.log.SetVerbose(req.Op == control.LogVerbose)
		p.verbosity(s)
		r.Reply(nil)
	case control.Trace, control.Untrace:
		if err := traceWhat(p.log, &req.Request); err != nil {
			r.Fail(err)
			return
		}
		p.verbosity(s)
		r.Reply(nil)
	default:
		r.Fail(fmt.Errorf("parent: request %d", req.Op))
	}
}

// verbosity tells every member what to log.
func (p *parent) verbosity(s *set) {
	v := verbosityOf(p.log)
	for _, role := range members() {
		_ = s.members[role].conn.Send(kindVerbosity, &v)
	}
}

func (l *lookupRole) admin(r *ipc.Request) {
	var req adminRequest
	if err := r.Decode(&req); err != nil {
		r.Fail(err)
		return
	}
	if req.Op != control.UpdateTable {
		r.Fail(fmt.Errorf("lookup: request %d", req.Op))
		return
	}
	ctx, cancel := context.WithTimeout(l.ctx, adminWait)
	defer cancel()
	if err := l.cfg.get(0).tables.Reload(ctx, req.Name); err != nil {
		l.m.log.Warnf("table %q not updated: %v", req.Name, err)
		r.Fail(err)
		return
	}
	for _, cfg := range l.cfg.all() {
		cfg.forgetSources()
	}
	l.m.log.Infof("info: Table %q successfully updated", req.Name)
	r.Reply(nil)
}

func (d *dispatcherRole) admin(r *ipc.Request) {
	var req adminRequest
	if err := r.Decode(&req); err != nil {
		r.Fail(err)
		return
	}
	switch req.Op {
	case control.PauseSMTP:
		d.pauseSMTP(r, true)
	case control.ResumeSMTP:
		d.pauseSMTP(r, false)
	case control.ShowStatus:
		<-d.pauseKnown
		r.Reply(&control.Status{SMTP: d.paused.Load()})
	case control.Enqueue:
		d.enqueue(r, req.UID)
	default:
		d.relay.admin(r, &req)
	}
}

// enqueue gives a local program a session.
func (d *dispatcherRole) enqueue(r *ipc.Request, uid uint32) {
	if d.count.Add(1) > d.most {
		d.count.Add(-1)
		r.Fail(errors.New("too many sessions, try again later"))
		return
	}
	started := false
	defer func() {
		if !started {
			d.count.Add(-1)
		}
	}()
	ours, theirs, err := reexec.Socketpair()
	if err != nil {
		r.Fail(err)
		return
	}
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		theirs.Close()
		r.Fail(err)
		return
	}
	s := d.cfg.Load()
	peer := smtp.Peer{Socket: true, UID: int(uid), User: strconv.FormatUint(uint64(uid), 10)}
	started = true
	d.sessions.Go(func() {
		defer d.count.Add(-1)
		d.session(s, s.local, conn, peer, d.m.log.NewTrace())
	})
	r.Reply(nil, theirs)
}

func (q *queueRole) admin(r *ipc.Request) {
	var req adminRequest
	if err := r.Decode(&req); err != nil {
		r.Fail(err)
		return
	}
	rng := scheduler.Range{First: req.First, Last: req.Last}
	if req.Op.Changes() && !q.waitLoaded() {
		r.Reply(&control.Count{Next: max(rng.First, 1)}) // the same again
		return
	}
	switch req.Op {
	case control.PauseMDA, control.PauseMTA, control.ResumeMDA, control.ResumeMTA:
		q.pauseKind(r, req.Op)
	case control.ShowStatus:
		r.Reply(&control.Status{MDA: q.sched.Paused(scheduler.Local), MTA: q.sched.Paused(scheduler.Relay)})
	case control.PauseEnvelope, control.ResumeEnvelope:
		q.suspend(r, rng, req.Op == control.PauseEnvelope)
	case control.QueueImport:
		q.importMessage(r)
	case control.QueueAction, control.QueueActionHeld:
		q.reassign(r, rng, req.Name, req.Op == control.QueueActionHeld)
	case control.Schedule:
		r.Reply(q.inParts(rng, q.sched.Schedule))
		q.nudge()
	case control.Remove:
		r.Reply(q.inParts(rng, q.removeRange))
	case control.ShowQueue:
		q.showPage(r, rng)
	case control.ShowEnvelope:
		q.showEnvelope(r, req.First)
	case control.ShowMessage:
		q.showMessage(r, req.First.Message())
	case control.Discover:
		q.discover(r, req.First.Message())
	default:
		r.Fail(fmt.Errorf("queue: request %d", req.Op))
	}
}

func (q *queueRole) isLoaded() bool {
	select {
	case <-q.loaded:
		return true
	default:
		return false
	}
}

// waitLoaded waits for what was queued at the start, for as long as a command may take.
func (q *queueRole) waitLoaded() bool {
	select {
	case <-q.loaded:
		return true
	case <-time.After(commandTime):
	case <-q.ctx.Done():
	}
	return false
}

// inParts changes the envelopes of a range with f, which says how many it changed.
func (q *queueRole) inParts(rng scheduler.Range, f func(scheduler.Range) int) *control.Count {
	n := 0
	next := q.stepsUntil(time.Now().Add(commandTime), rng, func(infos []scheduler.Info) { n += f(span(infos)) })
	return &control.Count{N: uint64(n), Next: next}
}

// removeRange removes envelopes; those in flight go when they come back.
func (q *queueRole) removeRange(rng scheduler.Range) int {
	gone, doomed := q.sched.Remove(rng)
	for _, id := range gone {
		if e, err := q.store.Envelope(id); err == nil {
			q.log.Infof("%s: Remove for %s: from=<%s>, to=<%s>, rcpt=<%s>, delay=%s, stat=Removed by administrator", e.Type, id,
				e.Sender, e.Dest, e.Rcpt, trace.Delay(time.Since(e.Created)))
		}
	}
	q.drop(gone...)
	return len(gone) + len(doomed)
}

func (q *queueRole) showEnvelope(r *ipc.Request, id envelope.ID) {
	e, err := q.store.Envelope(id)
	var text []byte
	if err == nil {
		text, err = e.AppendText(nil)
	}
	if err != nil {
		r.Fail(err)
		return
	}
	if infos := q.sched.List(scheduler.One(id), 1); len(infos) == 1 && infos[0].Reason != scheduler.NoHold {
		text = fmt.Appendf(text, "held: %s\n", control.HeldText(e, infos[0].Reason))
	}
	r.Reply(&control.Text{Text: string(text)})
}

func (q *queueRole) showMessage(r *ipc.Request, id envelope.MessageID) {
	body, err := q.store.Body(id)
	if err != nil {
		r.Fail(err)
		return
	}
	if body.File != nil {
		r.Reply(&control.Text{}, body.File)
		return
	}
	r.Reply(&control.Text{Text: string(body.Bytes)})
}

func (q *queueRole) discover(r *ipc.Request, id envelope.MessageID) {
	found, err := q.store.Discover(id)
	if err != nil && !errors.Is(err, queue.ErrNotFound) {
		r.Fail(err)
		return
	}
	n := uint64(0)
	for _, e := range found {
		if q.enqueue(e, e.LastTry.IsZero()) {
			n++
		}
	}
	q.nudge()
	r.Reply(&control.Count{N: n})
}
