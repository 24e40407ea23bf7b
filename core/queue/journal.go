package queue

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/trace"
)

// maxBatch is how much is written before a sync, in octets; one record may be larger.
const maxBatch = 8 << 20

// maxAhead is how much room for records is written with zeros at a time, in octets. A sync of what
// lies in such room is half the work: the file neither grows nor gets blocks. The first room of a segment is
// minAhead, and each further one doubles it.
const (
	minAhead = 16 << 10
	maxAhead = 256 << 10
)

// journal writes records. One goroutine takes what waits, writes it with one write, syncs
// once and answers all.
type journal struct {
	disk   disk
	log    *trace.Logger
	size   int64
	age    time.Duration
	ahead  int // maxAhead, or less in tests
	keeper keeper

	mu      sync.Mutex
	waiting []request
	closed  bool
	wake    chan struct{}
	done    chan struct{}

	// of the writer alone
	cur     *segment
	next    uint32
	buf     []byte
	old     *time.Timer
	refused bool // the last batch, which is logged once
}

// keeper is told by the writer, in the order of the journal, what became durable.
type keeper interface {
	opened(*segment)
	applied(seg *segment, at int64, r *record) error
	failed(seg *segment, r *record) // it may or may not be in the journal
	full(*segment)                  // nothing will be written to it any more
	together(answer func())         // calls answer, which answers a whole batch
}

// request is a record that waits for its sync; without a record it asks for a new segment, or for room in
// the one that is being written.
// done is called by the writer and must not wait.
type request struct {
	rec  *record
	room bool
	done func(error)
}

func newJournal(d disk, k keeper, log *trace.Logger, opts Options, next uint32) *journal {
	j := &journal{disk: d, log: log, size: opts.SegmentSize, age: opts.SegmentAge, ahead: opts.ahead, keeper: k,
		wake: make(chan struct{}, 1), done: make(chan struct{}), next: next, old: time.NewTimer(time.Hour)}
	j.old.Stop()
	go j.run()
	return j
}

// add queues a record; done is told what became of it.
func (j *journal) add(r *record, done func(error)) { j.queue(request{rec: r, done: done}) }

func (j *journal) queue(r request) {
	j.mu.Lock()
	closed := j.closed
	if !closed {
		j.waiting = append(j.waiting, r)
		j.signal()
	}
	j.mu.Unlock()
	if closed {
		r.done(ErrClosed)
	}
}

// ready makes room for records, as far as none is left.
func (j *journal) ready() error {
	answer := make(chan error, 1)
	j.queue(request{room: true, done: func(err error) { answer <- err }})
	return <-answer
}

// put queues a record and gives what is to be waited for.
func (j *journal) put(r *record) <-chan error {
	answer := make(chan error, 1)
	j.add(r, func(err error) { answer <- err })
	return answer
}

func (j *journal) signal() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// rotate ends the segment that is being written.
func (j *journal) rotate() error { return <-j.put(nil) }

// close writes what waits and ends the last segment.
func (j *journal) close() {
	j.mu.Lock()
	j.closed = true
	j.signal()
	j.mu.Unlock()
	<-j.done
}

func (j *journal) run() {
	defer close(j.done)
	for {
		select {
		case <-j.wake:
		case <-j.old.C:
			j.end()
		}
		for {
			batch, closed := j.take()
			if len(batch) > 0 {
				j.write(batch)
				continue
			}
			if closed {
				j.end()
				return
			}
			break
		}
	}
}

// take gives the next requests: one that ends the segment alone, or as many records as go
// into one write.
func (j *journal) take() (batch []request, closed bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	n, size := 0, 0
	for ; n < len(j.waiting); n++ {
		r := j.waiting[n].rec
		if r == nil {
			n = max(n, 1)
			break
		}
		if size += len(r.buf); n > 0 && size > maxBatch {
			break
		}
	}
	batch = j.waiting[:n:n]
	if j.waiting = j.waiting[n:]; len(j.waiting) == 0 {
		j.waiting = nil
	}
	return batch, j.closed
}

// write makes a batch durable and answers it.
func (j *journal) write(batch []request) {
	if batch[0].room {
		batch[0].done(j.makeRoom())
		return
	}
	if batch[0].rec == nil {
		j.end()
		batch[0].done(nil)
		return
	}
	err := j.begin()
	if err == nil {
		err = j.append(batch)
	}
	if err != nil {
		for _, req := range batch {
			req.done(err)
		}
		return
	}
	j.keeper.together(func() { j.answer(batch) })
	if j.cur.size >= j.size {
		j.end()
	}
}

// answer tells who waits for a batch that it is durable.
func (j *journal) answer(batch []request) {
	at := j.cur.size
	for _, req := range batch {
		err := j.keeper.applied(j.cur, at, req.rec)
		at += int64(len(req.rec.buf))
		req.done(err)
	}
	j.cur.size = at
}

// begin makes a segment when there is none.
func (j *journal) begin() error {
	if j.cur != nil {
		return nil
	}
	if j.next == 0 {
		return errors.New("the journal's numbers are used up")
	}
	seg := &segment{number: j.next, nonce: rand.Uint64(), touched: make(map[envelope.MessageID]touch)}
	j.next++ // also after an error: the file may stay, and no two may have one number
	f, err := j.disk.Create(seg.name())
	if err != nil {
		return err
	}
	if err := j.disk.SyncDir(journalDir); err != nil {
		f.Close()
		j.disk.Remove(seg.name())
		return err
	}
	seg.f = f
	j.cur = seg
	j.keeper.opened(seg)
	j.old.Reset(j.age)
	return nil
}

// makeRoom writes room for records and syncs it.
func (j *journal) makeRoom() error {
	if err := j.begin(); err != nil || j.cur.room > j.cur.size {
		return err
	}
	n, err := j.cur.f.WriteAt(make([]byte, minAhead), j.cur.size)
	j.cur.room = j.cur.size + int64(n)
	if err == nil {
		err = j.cur.f.Sync()
	}
	if err != nil {
		j.end()
	}
	return err
}

// append writes and syncs a batch at the end of the segment. After an error the segment is
// given up: what the kernel and the disk made of the batch cannot be known.
func (j *journal) append(batch []request) error {
	at := j.cur.size
	j.buf = j.buf[:0]
	for _, req := range batch {
		req.rec.header(j.cur, at)
		j.buf = append(j.buf, req.rec.buf...)
	}
	records := len(j.buf)
	if at+int64(records) > j.cur.room {
		j.buf = append(j.buf, make([]byte, min(j.ahead, max(minAhead, int(j.cur.room))))...)
	}
	n, err := j.cur.f.WriteAt(j.buf, at)
	j.cur.room = max(j.cur.room, at+int64(n))
	if n >= records { // a disk that is full may take them, but not all of the room
		err = nil
	}
	if err == nil {
		err = j.cur.f.Sync()
	}
	if cap(j.buf) > maxBatch {
		j.buf = nil
	}
	if err == nil {
		j.refused = false
		return nil
	}
	if !j.refused {
		j.log.Warnf("queue: journal: %v", err)
	}
	j.refused = true
	for _, req := range batch {
		j.keeper.failed(j.cur, req.rec)
	}
	j.cur.f.Truncate(at) // so that what was refused does not come back, if it can be done
	j.end()
	return err
}

// end closes the segment that is being written.
func (j *journal) end() {
	if j.cur == nil {
		return
	}
	j.old.Stop()
	if j.cur.room > j.cur.size {
		j.cur.f.Truncate(j.cur.size) // gives back the room; what a crash leaves of it means nothing
	}
	j.keeper.full(j.cur)
	j.cur = nil
}
