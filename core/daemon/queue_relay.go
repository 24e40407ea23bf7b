package daemon

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/address"
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
	if c := q.charges[id]; c != nil {
		delete(q.charges, id)
		if c.left--; c.left == 0 {
			c.from.give(c.n)
		}
	}
	return e
}

// charge lets memory that was taken be given back when envelopes in flight are back.
func (q *queueRole) charge(from *budget, n int64, ids []envelope.ID) {
	q.flightMu.Lock()
	defer q.flightMu.Unlock()
	c := &charge{from: from, n: n}
	for _, id := range ids {
		if q.flight[id] != nil && q.charges[id] == nil {
			q.charges[id] = c
			c.left++
		}
	}
	if c.left == 0 {
		from.give(n)
	}
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

// joined puts the batches of a message into one whose action has a table of relays by
// domain: several domains may have the same relay. They take turns by domain all the same,
// so that one relay that hangs does not hold up the others.
func (q *queueRole) joined(batches []scheduler.Batch) []scheduler.Batch {
	type place struct {
		action  string
		message envelope.MessageID
	}
	var firsts map[place]int
	out := batches[:0]
	for _, b := range batches {
		action, _, _ := strings.Cut(b.Group, "\x00")
		if a := q.settings().actions[action]; b.Kind != scheduler.Relay || b.Expired || a == nil || a.Relay.DomainTable == "" {
			out = append(out, b)
			continue
		}
		at := place{action, b.Message}
		if i, ok := firsts[at]; ok {
			out[i].IDs = append(slices.Clone(out[i].IDs), b.IDs...)
			continue
		}
		if firsts == nil {
			firsts = make(map[place]int)
		}
		firsts[at] = len(out)
		out = append(out, b)
	}
	return out
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
	for _, sent := range q.bySender(envs) {
		task := relayTask{Action: first.Dispatcher, Sender: sent.sender, Envelopes: sent.envs, Size: body.Size}
		if body.File == nil && len(body.Bytes) <= inlineBody && q.bodies.waiting.try(body.Size) {
			task.Body = body.Bytes
			q.charge(&q.bodies.waiting, body.Size, idsOf(sent.envs))
		}
		if err := q.m.peers[Dispatcher].Send(kindRelay, &task); err != nil {
			q.refuseAll(sent.envs, "dispatcher: "+err.Error())
		}
	}
}

func idsOf(envs []*envelope.Envelope) []envelope.ID {
	ids := make([]envelope.ID, len(envs))
	for i, e := range envs {
		ids[i] = e.ID
	}
	return ids
}

// sentAs are envelopes of a message that are relayed with one sender.
type sentAs struct {
	sender address.Address
	envs   []*envelope.Envelope
}

// bySender divides envelopes of one message and action by the sender with which they go
// out. There is more than one only if senders are rewritten and the recipients came in
// under several domains.
func (q *queueRole) bySender(envs []*envelope.Envelope) []sentAs {
	list := make([]sentAs, 0, 1)
	now := time.Now()
	for _, e := range envs {
		sender := q.settings().relayedSender(e, now)
		i := slices.IndexFunc(list, func(s sentAs) bool { return s.sender == sender })
		if i < 0 {
			i = len(list)
			list = append(list, sentAs{sender: sender})
		}
		list[i].envs = append(list[i].envs, e)
	}
	return list
}

// relayedSender gives the sender with which an envelope goes out. A forwarded one is
// rewritten where the action asks for it (SRS), each for the domain that it came in under.
// That is done at each attempt, so that the day in it is the one on which the next server
// sees it, and notices of ours go to the sender as it was.
func (s *queueSettings) relayedSender(e *envelope.Envelope, now time.Time) address.Address {
	a := s.actions[e.Dispatcher]
	if s.srs == nil || a == nil || !a.Relay.SRS || a.Relay.MailFrom != "" || e.Sender.Null() || e.Rcpt == e.Dest {
		return e.Sender
	}
	return s.srs.Encode(e.Sender, e.Rcpt.Domain, now)
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
	if body.File == nil {
		if err := q.bodies.moving.wait(q.ctx, body.Size); err != nil {
			r.Fail(errEnding)
			return
		}
		q.charge(&q.bodies.moving, body.Size, req.Envelopes)
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
