package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwit-mta/godwit/core/bounce"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/queue"
	"github.com/godwit-mta/godwit/core/scheduler"
	"github.com/godwit-mta/godwit/core/srs"
	"github.com/godwit-mta/godwit/core/stats"
	"github.com/godwit-mta/godwit/core/trace"
)

// queueRole keeps the messages, decides which envelope is due, starts deliveries and
// makes notices.
type queueRole struct {
	m     *member
	log   *trace.Logger
	dir   string
	stats stats.Counters

	cfg  atomic.Pointer[queueSettings]
	next *queueSettings

	opened   chan struct{} // closed when store is set, or cannot be
	store    queue.Store   // to be looked at after that
	sched    scheduler.Backend
	incoming incoming
	flightMu sync.Mutex
	flight   map[envelope.ID]*envelope.Envelope // handed out, without a result yet
	charges  map[envelope.ID]*charge            // memory that they hold
	agents   agents
	imports  imports
	bodies   bodies
	pauses   pauses
	reviews  sync.Mutex   // one review after the other
	changing sync.Mutex   // held by who changes envelopes that are not in flight
	adding   sync.RWMutex // what is added is by the configuration in use
	results  chan []envelope.Result
	wake     chan struct{}
	started  bool
	loaded   chan struct{} // closed when all is in the scheduler that was queued at the start
	shown    atomic.Int64  // octets of show queue since tidy
	listing  atomic.Pointer[listing]

	recording   recording
	gathering   gathering
	noticeSlots chan struct{}
	told        bounce.Limiter

	ctx     context.Context // ends when the role drains
	stop    context.CancelFunc
	running sync.WaitGroup
}

// queueSettings is a configuration in the form in which it is used.
type queueSettings struct {
	queueConfig
	actions  map[string]*config.Action
	wrappers map[string]string // commands by name
	srs      *srs.Codec
}

// oneWay reports whether all that an action relays goes to one place.
func oneWay(a *config.Action) bool { return a.Relay.Host+a.Relay.HostTable != "" }

func newQueue(m *member, dir string) *queueRole {
	ctx, cancel := context.WithCancel(context.Background())
	q := &queueRole{m: m, log: m.log, dir: dir, ctx: ctx, stop: cancel,
		results: make(chan []envelope.Result, 64), wake: make(chan struct{}, 1), noticeSlots: make(chan struct{}, mostNotices)}
	q.loaded = make(chan struct{})
	q.flight = make(map[envelope.ID]*envelope.Envelope)
	q.charges = make(map[envelope.ID]*charge)
	q.incoming.open = make(map[envelope.MessageID]*transaction)
	q.agents.init(q)
	return q
}

// prepare opens the store the first time: a spool that cannot be used is an error of the
// configuration.
func (q *queueRole) prepare(r *ipc.Request, _ []*os.File) error {
	s := &queueSettings{actions: make(map[string]*config.Action), wrappers: make(map[string]string)}
	if err := r.Decode(&s.queueConfig); err != nil {
		return err
	}
	for i := range s.Actions {
		s.actions[s.Actions[i].Name] = &s.Actions[i]
	}
	for _, w := range s.Wrappers {
		s.wrappers[w.Name] = w.Command
	}
	s.srs = srsCodec(&s.SRS)
	if q.sched == nil {
		if err := q.openBackends(s); err != nil {
			return err
		}
	} else {
		ctx, cancel := context.WithTimeout(q.ctx, reopenWait)
		defer cancel()
		if !q.waitOpen(ctx) {
			return errNotOpen
		}
	}
	if err := q.canEncode(&s.Encoding); err != nil {
		return err
	}
	q.next = s
	return nil
}

func (q *queueRole) activate() {
	cfg := q.next
	q.next = nil
	q.adding.Lock()
	old := q.cfg.Swap(cfg)
	q.adding.Unlock()
	q.sched.SetLimits(cfg.limits())
	q.bodies.limit(cfg.MaxBodyMemory)
	if q.started {
		q.encodeAs(cfg.Encoding)
		q.running.Go(func() { q.review(old) })
		q.nudge()
		return
	}
	q.started = true
	q.pauseAtStart(cfg)
	for _, f := range []func(){q.load, q.schedule, q.settle} {
		q.running.Go(func() {
			if q.waitOpen(q.ctx) {
				f()
			}
		})
	}
}

func (q *queueRole) abandon() { q.next = nil }

// load schedules what was queued before; mail is accepted meanwhile.
func (q *queueRole) load() {
	done := q.m.procs.wide()
	q.loadWith(q.store.Load)
	done()
	close(q.loaded)
	s, ok := q.store.(unreadStore)
	for wait := firstReread; ok && s.Unread() > 0; wait = min(2*wait, lastReread) {
		select {
		case <-time.After(wait):
		case <-q.ctx.Done():
			return
		}
		q.loadWith(s.LoadAgain)
	}
}

// unreadStore is one whose disk may refuse to give a message, for a while or for good. Others are
// not kept from their mail by it.
type unreadStore interface {
	Unread() int
	LoadAgain(func(*envelope.Envelope) error) error
}

// Waits before what the disk did not give is tried again.
const (
	firstReread = time.Minute
	lastReread  = time.Hour
)

func (q *queueRole) loadWith(load func(func(*envelope.Envelope) error) error) {
	var notices []envelope.ID
	err := load(func(e *envelope.Envelope) error {
		if e.Notice != 0 || e.Flags&envelope.BounceMessage != 0 && e.LastTry.IsZero() {
			notices = append(notices, e.ID) // they depend on each other
		} else {
			q.enqueue(e, e.LastTry.IsZero())
		}
		return q.ctx.Err()
	})
	q.holdLocked()
	q.resumeNotices(notices)
	if err != nil && !errors.Is(err, context.Canceled) {
		q.log.Warnf("queue: %v", err)
	}
	q.nudge()
	q.tidy()
}

// tidy gives back the memory that reading or listing the queue needed.
func (q *queueRole) tidy() {
	q.thrifty(true)
	debug.FreeOSMemory()
}

// thrifty lets the collector run at a smaller growth than usual when there are many envelopes: what it keeps of them has no pointers,
// so that it costs next to nothing to look at, and the room that it leaves would cost as much as the envelopes. While they are
// listed it would run all the time.
func (q *queueRole) thrifty(on bool) {
	switch {
	case q.sched.Counts().Envelopes < manyEnvelopes:
	case on:
		debug.SetGCPercent(30)
	default:
		debug.SetGCPercent(100)
	}
}

const manyEnvelopes = 50_000

// handle lets what needs the store wait until that is open, and all that the same peer says after it.
func (q *queueRole) handle(from Role, r *ipc.Request) {
	if needsStore(from, r.Kind) && !q.waitOpen(q.ctx) {
		r.Fail(errNotOpen)
		return
	}
	switch {
	case r.Kind == kindEnvelopes && from == Lookup:
		q.addEnvelopes(r)
	case r.Kind == kindReserve && from == Dispatcher:
		r.Go(func() { q.reserve(r) })
	case r.Kind == kindBodyFile && from == Dispatcher:
		r.Go(func() { q.bodyFile(r) })
	case r.Kind == kindCommit && from == Dispatcher:
		q.commit(r)
	case r.Kind == kindAbort && from == Dispatcher:
		q.abort(r)
	case r.Kind == kindResults && from == Dispatcher:
		q.relayResults(r)
	case r.Kind == kindPause && from == Dispatcher:
		r.Go(func() { q.pausePart(r) })
	case r.Kind == kindReached && from == Dispatcher:
		q.reachable(r)
	case r.Kind == kindBody && from == Dispatcher:
		r.Go(func() { q.body(r) })
	case r.Kind == kindQuiet && from == Parent:
		if q.started {
			q.quiet()
		}
		r.Reply(nil)
	case r.Kind == kindStats:
		r.Reply(q.statsReply())
	case r.Kind == kindAdmin && from == Control:
		r.Go(func() { q.admin(r) })
	default:
		r.Fail(fmt.Errorf("queue: message %d of %s", r.Kind, from))
	}
}

func needsStore(from Role, kind ipc.Kind) bool {
	switch kind {
	case kindEnvelopes:
		return from == Lookup
	case kindReserve, kindBodyFile, kindCommit, kindAbort, kindResults, kindReached, kindBody:
		return from == Dispatcher
	case kindAdmin:
		return from == Control
	}
	return false
}

// quiet begins nothing new.
func (q *queueRole) quiet() {
	q.sched.Pause(scheduler.Local)
	q.sched.Pause(scheduler.Relay)
	q.sched.Pause(scheduler.Bounce)
}

// drain waits for what is under way and writes everything out.
func (q *queueRole) drain(ctx context.Context) {
	if !q.started {
		return
	}
	q.quiet()
	q.agents.closeAll() // what no agent has begun stays in the store
	delivered := make(chan struct{})
	go func() { q.agents.running.Wait(); close(delivered) }()
	select {
	case <-delivered:
	case <-ctx.Done():
	}
	q.stop() // settle records what is left and ends
	q.running.Wait()
	q.pauses.close()
	q.sayLost()
	if q.waitOpen(ctx) {
		defer q.m.procs.wide()() // much may be written out
		if err := q.store.Close(); err != nil {
			q.log.Warnf("queue: %v", err)
		}
	}
	q.halt()
}

// Close is for the end without a drain: the journal keeps what it has.
func (q *queueRole) Close() error {
	q.stop()
	q.agents.closeAll()
	if q.sched == nil { // it never began
		return nil
	}
	<-q.opened
	q.halt()
	if s, ok := q.store.(interface{ Halt() error }); ok {
		if err := s.Halt(); !errors.Is(err, queue.ErrClosed) {
			return err
		}
	}
	return nil
}

// nudge makes the scheduler's loop look again.
func (q *queueRole) nudge() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// enqueue schedules an envelope: at once when it is new, otherwise on the curve of its
// attempts so far.
func (q *queueRole) enqueue(e *envelope.Envelope, now bool) bool {
	q.adding.RLock()
	defer q.adding.RUnlock()
	return q.sched.Add(q.entry(e, now))
}

// enqueueNew schedules the envelopes of a new message, which stay together.
func (q *queueRole) enqueueNew(envs []*envelope.Envelope) {
	q.adding.RLock()
	defer q.adding.RUnlock()
	entries := make([]scheduler.Entry, len(envs))
	for i, e := range envs {
		entries[i] = q.entry(e, true)
	}
	q.sched.AddAll(entries)
	q.nudge()
}

func (q *queueRole) entry(e *envelope.Envelope, now bool) scheduler.Entry {
	if e.Type == envelope.Bounce {
		return q.askedEntry(e)
	}
	kind, group := q.place(e)
	ttl := e.TTL
	if ttl == 0 { // written by OpenSMTPD
		ttl = q.settings().QueueTTL
	}
	at := time.Now()
	due := at
	if !now {
		due = q.beforeWarning(e, q.later(kind, e))
	}
	return scheduler.Entry{ID: e.ID, Kind: kind, Group: group, Due: due, Expires: scheduler.Expiry(e.Created, at, ttl),
		Reason: q.settings().hindrance(e), Suspended: e.Flags&envelope.Suspended != 0, Unreached: wasUnreached(e)}
}

// wasUnreached tells by what an envelope keeps whether its last attempt did not get as far as
// its destination: RFC 3463 section 3.5 has subject 4 for the network and routing.
func wasUnreached(e *envelope.Envelope) bool {
	return e.Type == envelope.MTA && !e.LastTry.IsZero() && e.EscClass == 4 && e.EscCode/100 == 4
}

// place gives what takes turns with what.
func (q *queueRole) place(e *envelope.Envelope) (scheduler.Kind, string) {
	switch e.Type {
	case envelope.Bounce:
		return scheduler.Bounce, noticeGroup(e)
	case envelope.MDA:
		return scheduler.Local, e.Dispatcher + "\x00" + e.MDAUser
	}
	return scheduler.Relay, q.settings().destination(e.Dispatcher, e.Dest.Domain)
}

// destination gives the group of what an action relays to a domain.
func (s *queueSettings) destination(action, domain string) string {
	if a := s.actions[action]; a != nil && oneWay(a) {
		return action
	}
	return action + "\x00" + domain
}

// settings gives the configuration in use; during the first preparation that is the one
// being prepared.
func (q *queueRole) settings() *queueSettings { return q.cfg.Load() }

// schedule hands out what is due until the role ends.
func (q *queueRole) schedule() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	q.awaitRecording()
	for {
		for q.ctx.Err() == nil && !q.recording.fails() {
			batches := q.sched.Next(max(1, q.settings().Scheduler.MaxSchedule))
			if len(batches) == 0 {
				break
			}
			batches = q.joined(batches)
			for i := range batches {
				q.start(&batches[i])
			}
		}
		wait := time.Minute
		if at := q.sched.NextWake(); !at.IsZero() && !q.recording.fails() {
			wait = min(wait, max(0, time.Until(at)))
		}
		timer.Reset(wait)
		select {
		case <-q.ctx.Done():
			return
		case <-q.wake:
		case <-timer.C:
		}
	}
}

// start begins what a batch is due for.
func (q *queueRole) start(b *scheduler.Batch) {
	envs := q.envelopes(b.IDs, b.Expired)
	if !b.Expired {
		envs = q.feasible(envs)
	}
	if len(envs) == 0 {
		return
	}
	q.fly(envs)
	if b.Expired {
		q.expire(envs)
		return
	}
	switch b.Kind {
	case scheduler.Local:
		q.deliver(envs)
	case scheduler.Relay:
		q.relay(envs)
	case scheduler.Bounce:
		q.running.Go(func() { q.notice(envs) })
	}
}

// envelopes reads the envelopes of a batch; one that cannot be read is tried again later.
func (q *queueRole) envelopes(ids []envelope.ID, expired bool) []*envelope.Envelope {
	envs := make([]*envelope.Envelope, 0, len(ids))
	for _, id := range ids {
		e, err := q.store.Envelope(id)
		switch {
		case err == nil:
			envs = append(envs, e)
		case errors.Is(err, queue.ErrNotFound):
			q.sched.Done(id)
		case isLocked(err) && q.sched.Park(id, scheduler.NoKey):
			q.log.Warnf("queue: envelope %s is held: %v", id, err)
		default:
			q.log.Warnf("queue: envelope %s: %v", id, err)
			if expired { // it stays on the disk; nothing can be told to its sender
				q.sched.Done(id)
				continue
			}
			q.sched.Retry(id, time.Now().Add(scheduler.LocalBase), false)
		}
	}
	return envs
}

func (q *queueRole) statsReply() *statsReply {
	values := q.stats.Snapshot()
	if q.sched != nil {
		n := q.sched.Counts()
		values = append(values, stats.Value{Name: stats.Envelope, Value: int64(n.Envelopes)},
			stats.Value{Name: stats.EnvelopeInflight, Value: int64(n.Inflight)},
			stats.Value{Name: stats.RAMQueueEnvelope, Value: int64(n.Envelopes)},
			stats.Value{Name: stats.RAMQueueMessage, Value: int64(n.Messages)})
	}
	return &statsReply{values}
}
