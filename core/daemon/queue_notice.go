package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/godwit-mta/godwit/core/bounce"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/queue"
	"github.com/godwit-mta/godwit/core/scheduler"
	"github.com/godwit-mta/godwit/core/stats"
)

// lookupWait bounds a question to another process.
const lookupWait = time.Minute

// mostNotices is how many notices are made at a time, each with a part of its message in
// memory.
const mostNotices = 8

// notice tells a sender what became of recipients of one message: one notice for all of
// them. It is a new message; only when that is durable the envelopes go that asked for it,
// and only when these are gone it is delivered. So a crash leads to no second one: see
// resumeNotices.
func (q *queueRole) notice(envs []*envelope.Envelope) {
	select {
	case q.noticeSlots <- struct{}{}:
		defer func() { <-q.noticeSlots }()
	case <-q.ctx.Done():
		return
	}
	q.noticesUnderWay(1, len(envs))
	defer q.noticesUnderWay(-1, -len(envs))
	made, err := q.sendNotice(envs)
	if err == nil {
		q.finishNotice(envs, func() { q.enqueueNew(made) })
		return
	}
	first := envs[0]
	var refused *noticeRefused
	if errors.As(err, &refused) && refused.permanent {
		q.log.Warnf("queue: notice about message %s to <%s> dropped: %v", first.ID.Message(), first.Sender, err)
		q.stats.Counter(stats.BounceDropped).Add(1)
		q.finishNotice(envs, func() {})
		return
	}
	q.log.Warnf("queue: notice about message %s to <%s> put off: %v", first.ID.Message(), first.Sender, err)
	q.putOff(envs)
}

func (q *queueRole) noticesUnderWay(messages, envelopes int) {
	q.stats.Counter(stats.BounceSession).Add(int64(messages))
	q.stats.Counter(stats.BounceMessage).Add(int64(messages))
	q.stats.Counter(stats.BounceEnvelope).Add(int64(envelopes))
}

// finishNotice removes the envelopes that asked for a notice and does next when that is
// durable.
func (q *queueRole) finishNotice(envs []*envelope.Envelope, next func()) {
	out := outcome{after: []func(){next}} // first, so that there is always something in the queue
	for _, e := range envs {
		q.land(e.ID)
		q.remove(&out, e)
	}
	q.carryOut(&out)
	q.nudge()
}

// putOff tries a notice again later. LastTry stays: it tells of the recipient.
func (q *queueRole) putOff(envs []*envelope.Envelope) {
	var out outcome
	now := time.Now()
	for _, e := range envs {
		q.land(e.ID)
		e.Retry++
		e.Notice = 0
		due := scheduler.Backoff(scheduler.Bounce, askedAt(e), now, e.Retry, scheduler.Jitter(e.ID.Message(), e.Retry))
		out.changes = append(out.changes, queue.Change{Op: queue.Update, Envelope: e})
		out.after = append(out.after, func() {
			if !q.sched.Retry(e.ID, due, false) {
				q.drop(e.ID) // smtpctl remove came meanwhile
			}
		})
	}
	q.carryOut(&out)
	q.nudge()
}

// noticeRefused is a refusal to send a notice, by the rules or by the limits.
type noticeRefused struct {
	permanent bool
	text      string
}

func (e *noticeRefused) Error() string { return e.text }

// sendNotice builds the notice and commits it under a message id of its own. It gives its
// envelopes.
func (q *queueRole) sendNotice(envs []*envelope.Envelope) ([]*envelope.Envelope, error) {
	reserved, err := q.store.Reserve(1)
	if err != nil {
		return nil, err
	}
	id := reserved[0]
	made, err := q.commitNotice(id, envs)
	if err != nil {
		q.store.Release(id)
	}
	return made, err
}

func (q *queueRole) commitNotice(id envelope.MessageID, envs []*envelope.Envelope) ([]*envelope.Envelope, error) {
	about := envs[0]
	made, err := q.noticeEnvelopes(id, about)
	if err != nil {
		return nil, err
	}
	if err := q.mayTell(about, made); err != nil {
		return nil, err
	}
	text, err := q.buildNotice(envs)
	if err != nil {
		return nil, err
	}
	if err := q.announce(envs, id); err != nil {
		return nil, err
	}
	m := &queue.Message{ID: id, Body: text, Size: int64(len(text)), Envelopes: made}
	if err := q.store.Commit(m); err != nil {
		return nil, err
	}
	q.log.Infof("info: notice %s about message %s to <%s>", id, about.ID.Message(), about.Sender)
	q.stats.Counter(stats.BounceNotice).Add(1)
	return made, nil
}

// noticeEnvelopes asks where a notice to the sender of a message goes. It passes the rules
// as a message from this host with the null sender.
func (q *queueRole) noticeEnvelopes(id envelope.MessageID, about *envelope.Envelope) ([]*envelope.Envelope, error) {
	ctx, cancel := context.WithTimeout(q.ctx, lookupWait)
	defer cancel()
	req := recipientRequest{Message: id, Rcpt: about.Sender.String(), Notice: true, Flags: uint8(noticeFlags(about)),
		Session: session{Local: true, Helo: "localhost", SMTPName: q.settings().Hostname}}
	var reply recipientReply
	if err := q.m.peers[Lookup].Call(ctx, kindNoticeRecipient, &req, &reply); err != nil {
		return nil, err
	}
	if reply.Code != 0 {
		return nil, &noticeRefused{permanent: reply.Code >= 500, text: fmt.Sprintf("%d %s", reply.Code, reply.Text)}
	}
	done := make(chan *transaction, 1)
	if err := q.incoming.end(id, reply.Envelopes, func(t *transaction) { done <- t }, nil); err != nil {
		return nil, err
	}
	select {
	case t := <-done:
		return t.envelopes, nil
	case <-ctx.Done():
		q.incoming.forget(id, nil)
		return nil, ctx.Err()
	}
}

// noticeFlags are what a notice has to take with it: the address of its reader may need
// SMTPUTF8, and a message that needs TLS is not talked about without it where that can be
// (RFC 8689 section 5).
func noticeFlags(about *envelope.Envelope) envelope.Flags {
	f := about.Flags & envelope.RequireTLS
	if about.Sender.International() {
		f |= envelope.SMTPUTF8
	}
	return f
}

// mayTell counts notices that answer mail of strangers and go to other hosts: its sender may
// be forged, and the notices would all hit somebody who has nothing to do with it.
func (q *queueRole) mayTell(about *envelope.Envelope, made []*envelope.Envelope) error {
	local := func(e *envelope.Envelope) bool { return e.Type != envelope.MTA }
	if about.Flags&envelope.Authenticated != 0 || slices.ContainsFunc(made, local) {
		return nil
	}
	b := &q.settings().Bounce
	limits := bounce.Limits{Sender: b.MaxSender, Domain: b.MaxDomain, Total: b.MaxTotal}
	if why := q.told.Take(about.Sender, limits, time.Now()); why != "" {
		return &noticeRefused{permanent: true, text: why}
	}
	return nil
}

// announce writes into the envelopes that ask for a notice which message it is going to be.
func (q *queueRole) announce(envs []*envelope.Envelope, id envelope.MessageID) error {
	changes := make([]queue.Change, len(envs))
	for i, e := range envs {
		e.Notice = id
		changes[i] = queue.Change{Op: queue.Update, Envelope: e}
	}
	err := q.store.Apply(changes)
	if errors.Is(err, queue.ErrNotFound) { // smtpctl remove came meanwhile
		return nil
	}
	return err
}

// resumeBatch is how many envelopes are taken up together.
const resumeBatch = 256

// resumeNotices takes up what a crash interrupted, when all envelopes are loaded: notices
// that were never tried, and envelopes that had said which message their notice was going
// to be. If that message is there they are done with.
func (q *queueRole) resumeNotices(ids []envelope.ID) {
	for part := range slices.Chunk(ids, resumeBatch) {
		var out outcome
		for _, e := range q.envelopes(part, false) {
			switch {
			case e.Notice == 0:
			case q.stored(e.Notice):
				out.changes = append(out.changes, queue.Change{Op: queue.Remove, ID: e.ID})
				continue
			default:
				e.Notice = 0
				out.changes = append(out.changes, queue.Change{Op: queue.Update, Envelope: e})
			}
			out.after = append(out.after, func() { q.enqueue(e, e.LastTry.IsZero()) })
		}
		q.carryOut(&out)
	}
}

// stored reports whether a message is in the queue, even if it cannot be read now.
func (q *queueRole) stored(id envelope.MessageID) bool {
	body, err := q.store.Body(id)
	if err == nil {
		body.Close()
	}
	return !errors.Is(err, queue.ErrNotFound)
}

func (q *queueRole) buildNotice(envs []*envelope.Envelope) ([]byte, error) {
	body, err := q.store.Body(envs[0].ID.Message())
	if err != nil && queue.Temporary(err) {
		return nil, err
	}
	defer body.Close()
	var original io.Reader // nil when the message is lost: its sender is told all the same
	switch {
	case body.File != nil:
		original = io.NewSectionReader(body.File, 0, body.Size)
	case err == nil:
		original = bytes.NewReader(body.Bytes)
	}
	var text bytes.Buffer
	err = bounce.Build(&text, q.noticeAbout(envs), original)
	return text.Bytes(), err
}

// noticeAbout says what the notice has to say.
func (q *queueRole) noticeAbout(envs []*envelope.Envelope) *bounce.Notice {
	cfg := q.settings()
	first := envs[0]
	n := &bounce.Notice{Kind: first.BounceType, Host: cfg.Hostname, To: first.Sender, Date: time.Now(),
		Arrival: first.Created, EnvID: first.EnvID, Full: first.Ret == "FULL" && returnsAll(&cfg.Bounce, first),
		UTF8: first.Flags&envelope.SMTPUTF8 != 0, MaxFull: cfg.Bounce.MaxReturn, Delay: max(first.BounceDelay, first.LastTry.Sub(first.Created))}
	for _, e := range envs {
		if e.TTL == 0 { // written by OpenSMTPD
			e.TTL = cfg.QueueTTL
		}
		n.Recipients = append(n.Recipients, bounce.RecipientOf(e))
	}
	return n
}

// returnsAll reports whether the sender of a message may have the whole of it back.
func returnsAll(b *config.Bounce, e *envelope.Envelope) bool {
	if e.Flags&envelope.RequireTLS != 0 { // https://www.rfc-editor.org/rfc/rfc8689#section-5
		return false
	}
	switch b.ReturnFull {
	case config.ReturnAny:
		return true
	case config.ReturnAuthenticated:
		return e.Flags&envelope.Authenticated != 0
	}
	return false
}
