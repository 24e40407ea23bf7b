package daemon

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/queue"
)

// incoming holds the messages that are being received. Their envelopes come from lookup, but for those that
// the dispatcher made, everything else from the dispatcher, so either may be first.
type incoming struct {
	mu    sync.Mutex
	open  map[envelope.MessageID]*transaction
	swept time.Time
}

// transaction is one such message.
type transaction struct {
	envelopes []*envelope.Envelope
	index     []int              // of the RCPT that each envelope comes from
	want      int                // envelopes that were announced, -1 as long as none is
	finish    func(*transaction) // called once, when all are there; must not wait
	begun     time.Time
	late      *time.Timer // gives up waiting for them
}

// Bounds of what lookup and the dispatcher can make us keep.
const (
	maxReserve      = 1024
	maxTransactions = 65536
	maxSession      = 5 * time.Hour // no session lasts so long
	sweepTime       = 10 * time.Minute
	envelopeWait    = 2 * time.Minute // for envelopes that lookup has announced
)

var errBusy = errors.New("too many messages at a time")

// get gives the transaction of a message and makes it when it is not there yet.
func (in *incoming) get(id envelope.MessageID) (*transaction, error) {
	t := in.open[id]
	if t == nil {
		in.sweep()
		if len(in.open) >= maxTransactions {
			return nil, errBusy
		}
		t = &transaction{want: -1, begun: time.Now()}
		in.open[id] = t
	}
	return t, nil
}

// sweep forgets messages that nobody will end any more: envelopes that came when their
// session had given up waiting for them.
func (in *incoming) sweep() {
	now := time.Now()
	if now.Sub(in.swept) < sweepTime {
		return
	}
	in.swept = now
	for id, t := range in.open {
		if now.Sub(t.begun) > maxSession {
			delete(in.open, id)
		}
	}
}

// add takes envelopes in, and finishes the transaction when they were the last.
func (in *incoming) add(n *newEnvelopes) error {
	in.mu.Lock()
	t, err := in.get(n.Message)
	if err == nil && len(t.envelopes)+len(n.Envelopes) > queue.MaxEnvelopes {
		err = queue.ErrTooMany
	}
	if err != nil {
		in.mu.Unlock()
		return err
	}
	for _, e := range n.Envelopes {
		t.envelopes = append(t.envelopes, e)
		t.index = append(t.index, n.Index)
	}
	in.complete(n.Message, t)
	return nil
}

// end says how many envelopes there will be, and what is done then. When they do not come in time,
// missing is called instead, if it is not nil.
func (in *incoming) end(id envelope.MessageID, want int, finish func(*transaction), missing func()) error {
	in.mu.Lock()
	t, err := in.get(id)
	if err == nil && t.want >= 0 {
		err = errors.New("message ended twice")
	}
	if err != nil {
		in.mu.Unlock()
		return err
	}
	t.want, t.finish = want, finish
	if missing != nil && !t.whole() {
		t.late = time.AfterFunc(envelopeWait, func() {
			if in.forget(id, t) {
				missing()
			}
		})
	}
	in.complete(id, t)
	return nil
}

// forget gives a message up, unless it is whole by now or another transaction than t, which may be nil.
func (in *incoming) forget(id envelope.MessageID, t *transaction) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.open[id] == nil || t != nil && in.open[id] != t {
		return false
	}
	delete(in.open, id)
	return true
}

// whole reports whether no envelope is missing.
func (t *transaction) whole() bool { return t.want >= 0 && len(t.envelopes) >= t.want }

// complete releases the lock and finishes the transaction when nothing is missing.
func (in *incoming) complete(id envelope.MessageID, t *transaction) {
	done := t.whole()
	if done {
		delete(in.open, id)
		if t.late != nil {
			t.late.Stop()
		}
	}
	in.mu.Unlock()
	if done {
		t.finish(t)
	}
}

func (q *queueRole) addEnvelopes(r *ipc.Request) {
	var n newEnvelopes
	err := r.Decode(&n)
	if err == nil && slices.Contains(n.Envelopes, nil) {
		err = errors.New("no envelope where one should be")
	}
	if err == nil {
		err = q.incoming.add(&n)
	}
	if err != nil {
		q.log.Warnf("queue: envelopes of %s: %v", n.Message, err)
	}
}

func (q *queueRole) reserve(r *ipc.Request) {
	var req reserveRequest
	if err := r.Decode(&req); err != nil {
		r.Fail(err)
		return
	}
	if s, ok := q.store.(interface{ Room(int64) error }); ok && (req.Size > 0 || req.N <= 0) {
		if err := s.Room(req.Size); err != nil {
			q.unready(r, err)
			return
		}
	}
	if req.N <= 0 {
		r.Reply(&reserveReply{})
		return
	}
	ids, err := q.store.Reserve(min(req.N, maxReserve))
	if err != nil {
		q.unready(r, err)
		return
	}
	r.Reply(&reserveReply{IDs: ids})
}

// unready says why no message can be begun. That the disk is full each session says itself.
func (q *queueRole) unready(r *ipc.Request, err error) {
	if !errors.Is(err, queue.ErrNoSpace) {
		q.log.Warnf("queue: no message can be begun: %v", err)
	}
	r.Fail(err)
}

func (q *queueRole) bodyFile(r *ipc.Request) {
	var ref messageRef
	if err := r.Decode(&ref); err != nil {
		r.Fail(err)
		return
	}
	f, err := q.store.Create(ref.Message)
	if err != nil {
		q.log.Warnf("queue: message %s: %v", ref.Message, err)
		r.Fail(err)
		return
	}
	r.Reply(nil, f)
}

func (q *queueRole) abort(r *ipc.Request) {
	var ref messageRef
	if r.Decode(&ref) != nil {
		return
	}
	err := q.incoming.end(ref.Message, ref.Envelopes, func(*transaction) {
		q.running.Go(func() { q.store.Release(ref.Message) })
	}, nil)
	if err != nil {
		q.log.Warnf("queue: message %s: %v", ref.Message, err)
	}
}

// commit makes a message durable once all its envelopes are there.
func (q *queueRole) commit(r *ipc.Request) {
	req := new(commitRequest)
	err := r.Decode(req)
	if err == nil && len(req.Body) > smallMessage+maxAdded {
		err = errors.New("message too large for the memory")
	}
	if err != nil {
		r.Fail(err)
		return
	}
	if err := checkRelayed(req.Relayed); err != nil {
		q.log.Warnf("queue: message %s: %v", req.Message, err)
		r.Fail(err)
		return
	}
	r.Later()
	if req.Envelopes == 0 && len(req.Relayed) > 0 { // lookup was not asked
		q.accept(r, req, &transaction{})
		return
	}
	err = q.incoming.end(req.Message, req.Envelopes, func(t *transaction) { q.accept(r, req, t) }, func() {
		q.store.Release(req.Message)
		r.Reply(&commitReply{Error: "envelopes did not come"})
	})
	if err != nil {
		r.Reply(&commitReply{Error: err.Error()})
	}
}

// checkRelayed refuses what the dispatcher may not ask for: mail to be delivered on this host.
func checkRelayed(list []*envelope.Envelope) error {
	if len(list) > mostRelayed || slices.ContainsFunc(list, func(e *envelope.Envelope) bool { return e == nil || e.Type != envelope.MTA }) {
		return errors.New("envelopes that the dispatcher cannot make")
	}
	return nil
}

// first puts envelopes that came with the message, one for each of the first RCPTs, before those that lookup sent.
func (t *transaction) first(list []*envelope.Envelope) {
	if len(list) == 0 {
		return
	}
	index := make([]int, len(list), len(list)+len(t.index))
	for i := range index {
		index[i] = i
	}
	t.envelopes, t.index = append(list, t.envelopes...), append(index, t.index...)
}

// beginner is a store that commits without making its caller wait, when it can.
type beginner interface {
	Begin(m *queue.Message, done func(error)) bool
}

// accept commits a complete message and answers when it is durable.
func (q *queueRole) accept(r *ipc.Request, req *commitRequest, t *transaction) {
	sent := len(t.envelopes)
	t.first(req.Relayed)
	if req.TLSOptional { // https://www.rfc-editor.org/rfc/rfc8689#section-4.1
		for _, e := range t.envelopes {
			e.Flags |= envelope.TLSOptional
		}
	}
	if len(t.envelopes) == 0 || sent != req.Envelopes {
		q.running.Go(func() { q.store.Release(req.Message) })
		r.Reply(&commitReply{Error: "wrong number of envelopes"})
		return
	}
	m := &queue.Message{ID: req.Message, Body: req.Body, Size: req.Size, Envelopes: t.envelopes}
	done := func(err error) { r.Reply(q.accepted(m, t, err)) }
	if s, ok := q.store.(beginner); ok && s.Begin(m, done) {
		return
	}
	r.Go(func() { done(q.store.Commit(m)) })
}

// accepted schedules a message that is durable, and gives up one that is not.
func (q *queueRole) accepted(m *queue.Message, t *transaction, err error) *commitReply {
	if err != nil {
		q.running.Go(func() { q.store.Release(m.ID) })
		q.log.Warnf("queue: message %s cannot be stored: %v", m.ID, err)
		return &commitReply{NoSpace: errors.Is(err, queue.ErrNoSpace), Error: err.Error()}
	}
	reply := &commitReply{}
	q.enqueueNew(t.envelopes)
	for i, e := range t.envelopes {
		if i+1 == len(t.index) || t.index[i+1] != t.index[i] {
			reply.IDs = append(reply.IDs, e.ID)
		}
	}
	return reply
}
