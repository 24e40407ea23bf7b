package daemon

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/queue"
	"github.com/godwit-mta/godwit/core/scheduler"
)

// inlineBody is the largest message that goes along with a task, in octets. Larger ones are
// asked for when their transaction begins, so that what waits in the dispatcher is small.
const inlineBody = 8 << 10

// fly notes that envelopes are in flight and keeps them until their results come.
func (q *queueRole) fly(envs []*envelope.Envelope) {
	q.flightMu.Lock()
	defer q.flightMu.Unlock()
	for _, e := range envs {
		q.flight[e.ID] = e
	}
}

// land gives an envelope that was in flight, once.
func (q *queueRole) land(id envelope.ID) *envelope.Envelope {
	q.flightMu.Lock()
	defer q.flightMu.Unlock()
	e := q.flight[id]
	delete(q.flight, id)
	return e
}

// flying gives a copy of an envelope that is in flight.
func (q *queueRole) flying(id envelope.ID) (e envelope.Envelope, ok bool) {
	q.flightMu.Lock()
	defer q.flightMu.Unlock()
	if p := q.flight[id]; p != nil {
		return *p, true
	}
	return e, false
}

// relay hands a batch to the dispatcher.
func (q *queueRole) relay(envs []*envelope.Envelope) {
	first := envs[0]
	if q.settings().actions[first.Dispatcher] == nil {
		q.refuseAll(envs, fmt.Sprintf("no action %q in the configuration", first.Dispatcher))
		return
	}
	body, err := q.store.Body(first.ID.Message())
	if err != nil {
		q.refuseAll(envs, "message cannot be read: "+err.Error())
		return
	}
	body.Close()
	task := relayTask{Action: first.Dispatcher, Envelopes: envs, Size: body.Size}
	if body.File == nil && len(body.Bytes) <= inlineBody {
		task.Body = body.Bytes
	}
	if err := q.m.peers[Dispatcher].Send(kindRelay, &task); err != nil {
		q.refuseAll(envs, "dispatcher: "+err.Error())
	}
}

// refuseAll makes envelopes wait for a later attempt.
func (q *queueRole) refuseAll(envs []*envelope.Envelope, why string) {
	q.log.Warnf("queue: message %s: %s", envs[0].ID.Message(), why)
	res := make([]envelope.Result, len(envs))
	for i, e := range envs {
		res[i] = envelope.Result{ID: e.ID, Status: envelope.TempFail, Text: why}
	}
	q.running.Go(func() { q.hand(res) })
}

var errNotFlying = errors.New("envelope is not being relayed")

// relaying reports whether one of the envelopes, which are of one message, is in flight to
// the dispatcher.
func (q *queueRole) relaying(ids []envelope.ID) bool {
	for _, id := range ids {
		if id.Message() != ids[0].Message() {
			return false
		}
		if e, ok := q.flying(id); ok && e.Type == envelope.MTA {
			return true
		}
	}
	return false
}

// body gives the dispatcher a message that it is relaying, and no other.
func (q *queueRole) body(r *ipc.Request) {
	var req bodyRequest
	if err := r.Decode(&req); err != nil {
		r.Fail(err)
		return
	}
	if !q.relaying(req.Envelopes) {
		r.Fail(errNotFlying)
		return
	}
	body, err := q.store.Body(req.Envelopes[0].Message())
	if err != nil {
		r.Fail(err)
		return
	}
	bytes, files := readable(body)
	r.Reply(&bodyReply{Body: bytes}, files...)
}

// readable gives the parts of a message for another process.
func readable(b queue.Body) ([]byte, []*os.File) {
	if b.File != nil {
		return nil, []*os.File{b.File}
	}
	return b.Bytes, nil
}

// later gives the time of the next attempt of an envelope.
func (q *queueRole) later(kind scheduler.Kind, e *envelope.Envelope) time.Time {
	return scheduler.Backoff(kind, e.Created, time.Now(), e.Retry, scheduler.Jitter(e.ID.Message(), e.Retry))
}
