package daemon

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/godwit-mta/godwit/core/bounce"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/queue"
)

// lookupWait bounds a question to another process.
const lookupWait = time.Minute

// notice tells a sender what became of recipients of one message: one notice for all of
// them. It is a new message; only when that is durable the envelopes go that asked for it.
func (q *queueRole) notice(envs []*envelope.Envelope) {
	err := q.sendNotice(envs)
	if err == nil {
		q.finishNotice(envs)
		return
	}
	first := envs[0]
	if refused, ok := err.(*noticeRefused); ok && refused.permanent {
		q.log.Warnf("queue: notice about message %s to <%s> dropped: %v", first.ID.Message(), first.Sender, err)
		q.finishNotice(envs)
		return
	}
	q.log.Warnf("queue: notice about message %s to <%s> put off: %v", first.ID.Message(), first.Sender, err)
	q.putOff(envs)
}

func (q *queueRole) finishNotice(envs []*envelope.Envelope) {
	var out outcome
	for _, e := range envs {
		q.land(e.ID)
		q.remove(&out, e)
	}
	q.carryOut(&out)
	q.nudge()
}

func (q *queueRole) putOff(envs []*envelope.Envelope) {
	var out outcome
	for _, e := range envs {
		q.land(e.ID)
		e.Retry++
		e.LastTry = time.Now()
		q.retry(&out, e)
	}
	q.carryOut(&out)
	q.nudge()
}

// noticeRefused is the refusal of the rules to take a notice.
type noticeRefused struct {
	permanent bool
	text      string
}

func (e *noticeRefused) Error() string { return e.text }

// sendNotice builds the notice and commits it under a message id of its own.
func (q *queueRole) sendNotice(envs []*envelope.Envelope) error {
	reserved, err := q.store.Reserve(1)
	if err != nil {
		return err
	}
	id := reserved[0]
	text, err := q.buildNotice(envs)
	if err == nil {
		err = q.commitNotice(id, envs[0], text)
	}
	if err != nil {
		q.store.Release(id)
	}
	return err
}

func (q *queueRole) commitNotice(id envelope.MessageID, about *envelope.Envelope, text []byte) error {
	hostname := q.settings().Hostname
	ctx, cancel := context.WithTimeout(q.ctx, lookupWait)
	defer cancel()
	req := recipientRequest{Message: id, Rcpt: about.Sender.String(), Notice: true,
		Session: session{Local: true, Helo: "localhost", SMTPName: hostname}}
	var reply recipientReply
	if err := q.m.peers[Lookup].Call(ctx, kindNoticeRecipient, &req, &reply); err != nil {
		return err
	}
	if reply.Code != 0 {
		return &noticeRefused{permanent: reply.Code >= 500, text: fmt.Sprintf("%d %s", reply.Code, reply.Text)}
	}
	done := make(chan *transaction, 1)
	if err := q.incoming.end(id, reply.Envelopes, func(t *transaction) { done <- t }); err != nil {
		return err
	}
	select {
	case t := <-done:
		m := &queue.Message{ID: id, Body: text, Size: int64(len(text)), Envelopes: t.envelopes}
		if err := q.store.Commit(m); err != nil {
			return err
		}
		q.enqueueNew(t.envelopes)
		q.log.Infof("info: notice %s about message %s to <%s>", id, about.ID.Message(), about.Sender)
		q.stats.Counter("bounce.message").Add(1)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
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
	first := envs[0]
	n := &bounce.Notice{Kind: first.BounceType, Host: q.settings().Hostname, To: first.Sender, Date: time.Now(),
		Arrival: first.Created, EnvID: first.EnvID, Full: first.Ret == "FULL", Delay: first.BounceDelay}
	for _, e := range envs {
		r := bounce.RecipientOf(e)
		r.MTA = e.Hostname // see turnIntoNotice
		r.Relayed = r.MTA != ""
		n.Recipients = append(n.Recipients, r)
	}
	var text bytes.Buffer
	err = bounce.Build(&text, n, original)
	return text.Bytes(), err
}
