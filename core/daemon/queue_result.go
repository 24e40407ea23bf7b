package daemon

import (
	"errors"
	"slices"
	"time"

	"github.com/godwit-mta/godwit/core/bounce"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/queue"
	"github.com/godwit-mta/godwit/core/scheduler"
	"github.com/godwit-mta/godwit/core/stats"
	"github.com/godwit-mta/godwit/core/trace"
)

// maxResults is how many results one message of the dispatcher may hold.
const maxResults = 10000

func (q *queueRole) relayResults(r *ipc.Request) {
	var res results
	if err := r.Decode(&res); err != nil || len(res.Results) > maxResults {
		q.log.Warnf("queue: results of the dispatcher: %v", err)
		return
	}
	res.Results = slices.DeleteFunc(res.Results, func(r envelope.Result) bool {
		e, ok := q.flying(r.ID)
		return !ok || e.Type != envelope.MTA // it may speak of what it relays, and of nothing else
	})
	for i := range res.Results {
		r := &res.Results[i]
		r.MTA = envelope.CleanErrorLine(r.MTA)
		if r.EscClass > 5 || r.EscCode > 9999 {
			r.EscClass, r.EscCode = 0, 0
		}
	}
	// Never waits for long: what is in flight is bounded, and settle takes all there is.
	select {
	case q.results <- res.Results:
	default:
		q.running.Go(func() { q.hand(res.Results) })
	}
}

// hand gives results to settle.
func (q *queueRole) hand(res []envelope.Result) {
	select {
	case q.results <- res:
	case <-q.ctx.Done():
	}
}

// settle records what became of envelopes. What came meanwhile is recorded together.
func (q *queueRole) settle() {
	for {
		select {
		case res := <-q.results:
			q.record(q.gather(res))
		case <-q.ctx.Done():
			if res := q.gather(nil); len(res) > 0 {
				q.record(res)
			}
			return
		}
	}
}

func (q *queueRole) gather(res []envelope.Result) []envelope.Result {
	for len(res) < maxResults {
		select {
		case more := <-q.results:
			res = append(res, more...)
		default:
			return res
		}
	}
	return res
}

// outcome is what a result means: the changes to be made durable and what the scheduler
// is told after that.
type outcome struct {
	changes []queue.Change
	after   []func()
}

func (q *queueRole) record(res []envelope.Result) {
	var out outcome
	for i := range res {
		if e := q.land(res[i].ID); e != nil {
			q.judge(&out, e, &res[i])
		}
	}
	q.carryOut(&out)
	q.nudge()
}

// carryOut makes changes durable and only then acts on them. As long as the disk does not
// take them the envelopes stay in flight: nothing is tried twice and nothing is forgotten.
func (q *queueRole) carryOut(out *outcome) {
	err := q.untilRecorded(func() error { return q.store.Apply(out.changes) })
	switch {
	case queue.Temporary(err):
		return // the role ends
	case err != nil && !errors.Is(err, queue.ErrNotFound): // what is gone already needs no change
		q.log.Warnf("queue: a result cannot be recorded: %v", err) // the others were
	}
	for _, f := range out.after {
		f()
	}
}

// judge decides what follows from one result.
func (q *queueRole) judge(out *outcome, e *envelope.Envelope, r *envelope.Result) {
	if q.sched.Doomed(e.ID) { // smtpctl remove: nobody is told
		q.remove(out, e)
		return
	}
	e.LastTry = time.Now()
	e.Retry++
	e.EscClass, e.EscCode, e.Remote = r.EscClass, r.EscCode, r.MTA
	if e.Type == envelope.MTA && (r.Status == envelope.Delivered || r.Status == envelope.PermFail && r.MTA != "") {
		out.after = append(out.after, func() { q.arrived(e) })
	}
	switch r.Status {
	case envelope.Delivered:
		q.stats.Counter("scheduler.delivery.ok").Add(1)
		// A server that knows DSN got the wish and tells by itself (RFC 3461 section 5.2.2).
		if final := e.Type == envelope.MDA || r.Final; (final || r.NoDSN) && bounce.Wanted(e, envelope.BounceDelivered) {
			kind := envelope.BounceDelivered
			if !final {
				kind = envelope.BounceRelayed
			}
			e.ErrorLine = envelope.CleanErrorLine(r.Text)
			q.turnIntoNotice(out, e, kind)
			return
		}
		q.remove(out, e)
	case envelope.TempFail:
		q.stats.Counter("scheduler.delivery.tempfail").Add(1)
		e.ErrorLine = envelope.CleanErrorLine(r.Text)
		q.again(out, e, r.Unreached)
	case envelope.Loop:
		q.stats.Counter("scheduler.delivery.loop").Add(1)
		q.fail(out, e, r.Text)
	default:
		q.stats.Counter("scheduler.delivery.permfail").Add(1)
		q.fail(out, e, r.Text)
	}
}

func (q *queueRole) remove(out *outcome, e *envelope.Envelope) {
	out.changes = append(out.changes, queue.Change{Op: queue.Remove, ID: e.ID})
	out.after = append(out.after, func() { q.sched.Done(e.ID) })
}

// again puts an envelope back, and tells the sender when it has been waiting for long.
func (q *queueRole) again(out *outcome, e *envelope.Envelope, unreached bool) {
	if d := q.delayDue(e); d > 0 {
		e.LastBounce = e.LastTry
		notice := *e
		notice.ID = envelope.NewID(e.ID.Message(), 0)
		notice.Type, notice.BounceType = envelope.Bounce, envelope.BounceDelayed
		notice.BounceDelay, notice.Retry = d, 0
		notice.BounceTTL = max(0, e.Expires().Sub(e.LastTry)).Truncate(time.Second)
		q.stats.Counter(stats.QueueBounce).Add(1)
		out.changes = append(out.changes, queue.Change{Op: queue.Add, Envelope: &notice})
		out.after = append(out.after, func() { q.enqueue(&notice, true) })
	}
	q.retry(out, e, unreached)
}

// retry records an attempt and puts the envelope back for the next one.
func (q *queueRole) retry(out *outcome, e *envelope.Envelope, unreached bool) {
	if infos := q.sched.List(scheduler.One(e.ID), 1); len(infos) == 1 {
		setSuspended(e, infos[0].Suspended)
	}
	out.changes = append(out.changes, queue.Change{Op: queue.Update, Envelope: e})
	out.after = append(out.after, func() {
		kind, _ := q.place(e)
		if !q.sched.Retry(e.ID, q.beforeWarning(e, q.later(kind, e)), unreached) {
			q.drop(e.ID) // smtpctl remove came while it was in flight
		}
	})
}

// delayDue gives the warn interval that has passed since the last delay notice.
func (q *queueRole) delayDue(e *envelope.Envelope) time.Duration {
	if !bounce.Wanted(e, envelope.BounceDelayed) {
		return 0
	}
	age, told := e.LastTry.Sub(e.Created), toldAt(e)
	var due time.Duration
	for _, w := range q.settings().WarnIntervals {
		if age >= w && told < w {
			due = max(due, w)
		}
	}
	return due
}

// toldAt gives the age at which an envelope had its last delay notice, 0 when it had none.
func toldAt(e *envelope.Envelope) time.Duration {
	if e.LastBounce.IsZero() {
		return 0
	}
	return e.LastBounce.Sub(e.Created)
}

// beforeWarning puts the next attempt to the time of a delay notice that lies before it: the
// sender is told when it is due, and not before that was tried.
func (q *queueRole) beforeWarning(e *envelope.Envelope, next time.Time) time.Time {
	if !bounce.Wanted(e, envelope.BounceDelayed) {
		return next
	}
	age, told := time.Since(e.Created), toldAt(e)
	for _, w := range q.settings().WarnIntervals {
		if at := e.Created.Add(w); w > age && w > told && at.Before(next) {
			next = at
		}
	}
	return next
}

// fail ends an envelope: the sender gets a notice, unless there is nobody to get it.
func (q *queueRole) fail(out *outcome, e *envelope.Envelope, text string) {
	e.ErrorLine = envelope.CleanErrorLine(text)
	if bounce.Wanted(e, envelope.BounceFailed) {
		q.turnIntoNotice(out, e, envelope.BounceFailed)
		return
	}
	switch {
	case e.Flags&envelope.BounceMessage != 0:
		q.log.Warnf("queue: double bounce! evpid=%s to=<%s> stat=%q", e.ID, e.Dest, e.ErrorLine)
	case e.Sender.Null():
		q.log.Warnf("queue: no return path! evpid=%s to=<%s> stat=%q", e.ID, e.Dest, e.ErrorLine)
	}
	q.remove(out, e)
}

// turnIntoNotice makes of an envelope the notice about it, in one durable step.
func (q *queueRole) turnIntoNotice(out *outcome, e *envelope.Envelope, kind envelope.BounceType) {
	n := *e
	n.Type, n.BounceType = envelope.Bounce, kind
	n.Retry = 0
	n.LastBounce = time.Now()
	q.stats.Counter(stats.QueueBounce).Add(1)
	out.changes = append(out.changes, queue.Change{Op: queue.Update, Envelope: &n})
	out.after = append(out.after, func() {
		q.sched.Done(n.ID)
		q.enqueue(&n, true)
	})
}

// drop removes an envelope that nobody wants any more.
func (q *queueRole) drop(ids ...envelope.ID) {
	changes := make([]queue.Change, len(ids))
	for i, id := range ids {
		changes[i] = queue.Change{Op: queue.Remove, ID: id}
	}
	q.carryOut(&outcome{changes: changes})
}

// expire ends envelopes whose time is over.
func (q *queueRole) expire(envs []*envelope.Envelope) {
	var out outcome
	for _, e := range envs {
		q.land(e.ID)
		q.stats.Counter("scheduler.envelope.expired").Add(1)
		what := "relay"
		switch e.Type {
		case envelope.MDA:
			what = "delivery"
		case envelope.Bounce:
			what = "notice"
		}
		q.log.Infof("%s: Expire for %s: from=<%s>, to=<%s>, rcpt=<%s>, delay=%s, stat=%s", what, e.ID,
			e.Sender, e.Dest, e.Rcpt, trace.Delay(time.Since(e.Created)), e.ErrorLine)
		if e.Type == envelope.Bounce {
			q.remove(&out, e)
			continue
		}
		e.EscClass, e.EscCode = 5, 407
		q.fail(&out, e, bounce.ExpiredText(e.ErrorLine))
	}
	q.carryOut(&out)
}
