package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/godwit-mta/godwit/core/envelope"
)

// loadReaders is the number of goroutines that read files at start.
const loadReaders = 4

var (
	errNoMessage   = errors.New("the message is missing")
	errNoEnvelopes = errors.New("the message has no envelopes")
	errUnclaimed   = errors.New("the journal is damaged and does not say whose it is")
)

// loaded is one message that was read from files, or what could not be: a message or, without id,
// a bucket.
type loaded struct {
	id      envelope.MessageID
	dir     string
	err     error // of the disk
	e       *entry
	message bool
	evps    []*envelope.Envelope // the good ones; e has the bad ones too
	bad     map[envelope.ID]error
	locked  map[envelope.ID]error // whose keys are missing
	record  []byte                // for the cache; empty: it is not to be there
}

// Load is of Store. Commits and changes may go on meanwhile.
func (s *FS) Load(f func(*envelope.Envelope) error) error {
	s.mu.Lock()
	recovered := s.recovered
	s.recovered = nil
	s.mu.Unlock()
	again, unlisted, err := s.loadJournal(recovered, f)
	if err != nil {
		return err
	}
	if err := s.loadFiles(f); err != nil {
		return err
	}
	for _, id := range again {
		failed, err := s.loadRecovered([]envelope.ID{id}, f)
		if err != nil {
			return err
		}
		s.unread.add(failed...)
	}
	for _, id := range unlisted {
		if err := s.loadAnew(id, f); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.index.settled = nil
	s.mu.Unlock()
	return nil
}

// loadJournal gives the messages of which the journal speaks, with several goroutines of which one at a time calls f.
// It returns what the disk did not give.
func (s *FS) loadJournal(ids []envelope.MessageID, f func(*envelope.Envelope) error) (again []envelope.ID, unlisted []envelope.MessageID, err error) {
	var mu sync.Mutex // of the results, and of f
	give := func(e *envelope.Envelope) error {
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			err = f(e)
		}
		return err
	}
	var next atomic.Int64
	var readers sync.WaitGroup
	for range min(loadReaders, len(ids)) {
		readers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(ids); i = int(next.Add(1)) - 1 {
				failed, listed, e := s.loadOne(ids[i], give)
				mu.Lock()
				again = append(again, failed...)
				if !listed {
					unlisted = append(unlisted, ids[i])
				}
				if err == nil {
					err = e
				}
				stop := err != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	readers.Wait()
	return again, unlisted, err
}

// loadOne gives one of them.
func (s *FS) loadOne(id envelope.MessageID, f func(*envelope.Envelope) error) (failed []envelope.ID, listed bool, err error) {
	evps, err := s.envelopes(id)
	if err != nil {
		return nil, false, s.cannotLoad(id, err)
	}
	failed, err = s.loadRecovered(evps, f)
	return failed, true, err
}

// loadAnew gives what there is of a message now.
func (s *FS) loadAnew(id envelope.MessageID, f func(*envelope.Envelope) error) error {
	evps, err := s.envelopes(id)
	if err != nil {
		s.unread.add(envelope.NewID(id, 0))
		return s.cannotLoad(id, err)
	}
	failed, err := s.loadRecovered(evps, f)
	s.unread.add(failed...)
	return err
}

// envelopes gives those of a message.
func (s *FS) envelopes(id envelope.MessageID) (list []envelope.ID, err error) {
	if err := s.complete(id); err != nil {
		return nil, err
	}
	s.mu.RLock()
	filed := s.index.filed(id)
	var evps []place
	if e := s.index.messages[id]; e != nil {
		evps = slices.Clone(e.evps)
	}
	s.mu.RUnlock()
	if filed { // its segment was written out
		e, _, err := s.list(id)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		evps = e.evps
	}
	for _, p := range evps {
		list = append(list, envelope.NewID(id, p.n))
	}
	return list, nil
}

// loadRecovered gives envelopes of one message that was found in the journal. Those that the disk
// did not give are returned.
func (s *FS) loadRecovered(evps []envelope.ID, f func(*envelope.Envelope) error) (failed []envelope.ID, err error) {
	if len(evps) == 0 {
		return nil, nil
	}
	missing, err := s.missing(evps[0].Message())
	if err != nil {
		return evps, s.cannotLoad(evps[0].Message(), err)
	}
	for _, id := range evps {
		e, err := s.Envelope(id)
		if err == nil && missing {
			err = errNoMessage
		}
		var disk *fs.PathError
		switch {
		case err == nil:
			err = f(e)
		case errors.Is(err, ErrNotFound): // removed meanwhile
			err = nil
		case isLocked(err):
			s.lock(id, err)
			err = nil
		case errors.As(err, &disk) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errTooLarge):
			failed = append(failed, id)
			err = s.cannotLoad(id.Message(), err)
		default:
			err = s.dismiss(id, err)
		}
		if err != nil {
			return nil, err
		}
	}
	return failed, nil
}

// dismiss takes an envelope that cannot be read out of the queue, if it can be kept in corrupt/.
func (s *FS) dismiss(id envelope.ID, reason error) error {
	if s.quarantine(id, reason) != nil {
		return nil // it is tried again at the next start
	}
	if err := s.Apply([]Change{{Op: Remove, ID: id}}); err != nil {
		return s.cannotLoad(id.Message(), err)
	}
	return nil
}

// cannotLoad tells that a message could not be loaded, which does not keep others from it. It fails
// when the reason is that the store is closed.
func (s *FS) cannotLoad(id envelope.MessageID, err error) error {
	if s.isClosed() {
		return ErrClosed
	}
	s.log.Warnf("queue: message %v cannot be loaded: %v", id, err)
	return nil
}

func (s *FS) isClosed() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// missing reports whether the text of a message should have a file and has none.
func (s *FS) missing(id envelope.MessageID) (bool, error) {
	s.mu.RLock()
	e := s.index.messages[id]
	inFiles := e != nil && e.seg == inFile || s.index.filed(id)
	s.mu.RUnlock()
	if !inFiles {
		return false, nil
	}
	// in this order: it may be moved from the one to the other just now
	for _, name := range [...]string{incomingFile(id), messageFile(id), textFile(id, true)} {
		if found, err := s.disk.Exists(name); found || err != nil {
			return false, err
		}
	}
	return true, nil
}

// loadFiles reads queue/. What the disk did not give is tried once more at the end.
func (s *FS) loadFiles(f func(*envelope.Envelope) error) error {
	names, err := s.disk.ReadDir(queueDir)
	if err != nil {
		names, err = s.disk.ReadDir(queueDir)
	}
	if err != nil {
		if s.isClosed() {
			return ErrClosed
		}
		s.log.Warnf("queue: %s cannot be loaded: %v", queueDir, err)
		s.unread.addDir(queueDir)
		return nil
	}
	var buckets []string
	for _, name := range names {
		if isBucket(name) {
			buckets = append(buckets, queueDir+"/"+name)
		} else {
			s.log.Warnf("queue: %s/%s is no part of the queue", queueDir, name)
		}
	}
	failed, err := s.loadBuckets(buckets, f)
	if err != nil {
		return err
	}
	buckets = nil
	for _, l := range failed {
		if l.id == 0 {
			buckets = append(buckets, l.dir)
		} else if err := s.loadMessage(l.id, f); err != nil {
			return err
		}
	}
	return s.loadLast(buckets, f)
}

// loadLast reads buckets for the last time, for now.
func (s *FS) loadLast(buckets []string, f func(*envelope.Envelope) error) error {
	failed, err := s.loadBuckets(buckets, f)
	for _, l := range failed {
		if l.id == 0 {
			s.unread.addDir(l.dir)
		} else {
			s.unread.add(envelope.NewID(l.id, 0))
		}
	}
	return err
}

// loadMessage reads a message for the last time, for now.
func (s *FS) loadMessage(id envelope.MessageID, f func(*envelope.Envelope) error) error {
	l := s.readMessage(id)
	switch {
	case l.err == nil:
		return s.takeIn(l, f)
	case errors.Is(l.err, fs.ErrNotExist):
		return nil
	}
	s.unread.add(envelope.NewID(id, 0))
	return s.cannotLoad(id, l.err)
}

// loadBuckets reads buckets with several goroutines. It returns what the disk did not give.
func (s *FS) loadBuckets(buckets []string, f func(*envelope.Envelope) error) (failed []*loaded, err error) {
	todo := make(chan string, len(buckets))
	for _, dir := range buckets {
		todo <- dir
	}
	close(todo)
	found, stop := make(chan *loaded, 64), make(chan struct{})
	defer close(stop)
	var readers sync.WaitGroup
	for range min(loadReaders, len(buckets)) {
		readers.Go(func() { s.readBuckets(todo, found, stop) })
	}
	go func() {
		readers.Wait()
		close(found)
	}()
	for l := range found {
		switch {
		case l.err == nil:
			err = s.takeIn(l, f)
		case s.isClosed():
			err = ErrClosed
		default:
			s.log.Warnf("queue: %s cannot be loaded: %v", l.dir, l.err)
			failed = append(failed, l)
		}
		if err != nil {
			return nil, err
		}
	}
	return failed, nil
}

// readBuckets reads the messages of the buckets in todo.
func (s *FS) readBuckets(todo <-chan string, found chan<- *loaded, stop <-chan struct{}) {
	for dir := range todo {
		names, err := s.disk.ReadDir(dir)
		cached, live, fresh := s.cache.readFirst(dir), int64(0), []byte(nil)
		if err != nil && !send(found, stop, &loaded{dir: dir, err: err}) {
			return
		}
		for _, name := range names {
			id, err := envelope.ParseMessageID(name)
			if err != nil || id == 0 || bucket(id) != dir {
				s.log.Warnf("queue: %s/%s is no part of the queue", dir, name)
				continue
			}
			if known, anew := s.known(id); known && !anew {
				continue
			}
			record := cached.messages[id]
			l := s.recall(id, record)
			if l == nil {
				l = s.readMessage(id)
				record, fresh = l.record, append(fresh, l.record...)
			}
			live += int64(len(record))
			if !errors.Is(l.err, fs.ErrNotExist) && !send(found, stop, l) {
				return
			}
		}
		s.cache.settle(dir, cached, fresh, live, s.codec.Load().first != nil)
	}
}

func send(found chan<- *loaded, stop <-chan struct{}, l *loaded) bool {
	select {
	case found <- l:
		return true
	case <-stop:
		return false
	}
}

// known reports whether the journal has or had something to say about a message: then what was read in
// its files means nothing. anew: it has to be loaded nevertheless, as it is now.
func (s *FS) known(id envelope.MessageID) (known, anew bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.index.messages[id]; e != nil {
		return true, e.unloaded
	}
	anew, known = s.index.settled[id]
	return known || s.index.mentioned(id), anew
}

// readMessage reads the envelopes of a message.
func (s *FS) readMessage(id envelope.MessageID) *loaded {
	l := &loaded{id: id, dir: messageDir(id), bad: make(map[envelope.ID]error), locked: make(map[envelope.ID]error)}
	copied := &cachedMessage{id: id}
	whole := s.cache.sees(messageDir(id), &copied.dir)
	if l.e, l.message, l.err = s.list(id); l.err != nil {
		return l
	}
	l.err = s.readEnvelopes(l, copied)
	if whole && l.err == nil && l.message && len(l.evps) > 0 && len(copied.evps) == len(l.e.evps) && len(l.evps) == len(l.e.evps) {
		copied.coded = l.e.coded
		l.record = appendCached(nil, copied)
	}
	return l
}

// readEnvelopes reads those of l.e. The good ones go to copied as well.
func (s *FS) readEnvelopes(l *loaded, copied *cachedMessage) error {
	id, e := l.id, l.e
	there := e.evps[:0]
	for _, p := range e.evps {
		evp := envelope.NewID(id, p.n)
		c := cachedEnvelope{n: p.n}
		seen := s.cache.sees(envelopeFile(evp), &c.stamp)
		text, err := s.disk.ReadFile(envelopeFile(evp), envelope.MaxText+maxGrowth)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil && !errors.Is(err, errTooLarge) {
			return err
		}
		there = append(there, p)
		var env *envelope.Envelope
		if err == nil {
			env, err = s.parse(evp, text)
		}
		if isLocked(err) {
			l.locked[evp] = err
			continue
		}
		if err == nil && !l.message {
			err = errNoMessage
		}
		if err != nil {
			l.bad[evp] = err
			continue
		}
		l.evps = append(l.evps, env)
		if c.text = text; seen {
			copied.evps = append(copied.evps, c)
		}
	}
	e.evps = there
	return nil
}

// takeIn gives the envelopes of a message that was read, unless the journal got to know it in the
// meantime. An envelope that cannot be read stays where it is, and with it the message, until it is
// safe in corrupt/.
func (s *FS) takeIn(l *loaded, f func(*envelope.Envelope) error) error {
	switch known, anew := s.known(l.id); {
	case anew:
		return s.loadAnew(l.id, f)
	case known:
		return nil
	}
	left := len(l.e.evps)
	for id, err := range l.bad {
		if s.quarantine(id, err) == nil {
			left--
		}
	}
	if left == 0 {
		s.setMessageAside(l)
	}
	for id, err := range l.locked {
		s.lock(id, err)
	}
	for _, e := range l.evps {
		if err := f(e); err != nil {
			return err
		}
	}
	return nil
}

// setMessageAside moves the directory of a message without envelopes to corrupt/. It cannot be
// what an interrupted removal left: the journal would know it.
func (s *FS) setMessageAside(l *loaded) {
	s.out.Lock()
	defer s.out.Unlock()
	if len(l.bad) > 0 && s.removeMessage(l.id) == nil {
		return // the message is in corrupt/ with the envelopes
	}
	name, err := s.moveAside(messageDir(l.id), l.id.String())
	if err == nil {
		err = s.writeFile(name+reasonSuffix, []byte(errNoEnvelopes.Error()+"\n"))
	}
	if err != nil {
		s.log.Warnf("queue: message %v: %v; it cannot be moved to %s: %v", l.id, errNoEnvelopes, corruptDir, err)
		return
	}
	s.log.Warnf("queue: message %v: %v; moved to %s", l.id, errNoEnvelopes, corruptDir)
}

// Discover is of Store. Files and names are made durable first. Envelopes that cannot be read
// are left where they are and reported: whoever put them there is looking.
func (s *FS) Discover(id envelope.MessageID) ([]*envelope.Envelope, error) {
	l := s.readMessage(id)
	if errors.Is(l.err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if l.err != nil {
		return nil, l.err
	}
	maps.Copy(l.bad, l.locked)
	for evp, err := range l.bad {
		return nil, fmt.Errorf("envelope %v: %w", evp, err)
	}
	if err := s.syncMessage(l); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.discover(l), nil
}

// syncMessage makes durable what somebody else put there.
func (s *FS) syncMessage(l *loaded) error {
	files := []string{textFile(l.id, l.e.coded)}
	for _, e := range l.evps {
		files = append(files, envelopeFile(e.ID))
	}
	for _, name := range files {
		f, err := s.disk.Open(name)
		if err != nil {
			return err
		}
		err = f.Sync()
		f.Close()
		if err != nil {
			return err
		}
	}
	for _, dir := range [...]string{messageDir(l.id), bucket(l.id), queueDir} {
		if err := s.disk.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// discover gives what was read. Files of a message of which the journal still speaks may be about to
// be removed: those are for the next time.
func (s *FS) discover(l *loaded) []*envelope.Envelope {
	if !s.index.filed(l.id) {
		return nil
	}
	if s.index.settled != nil {
		s.index.settled[l.id] = false // Load need not give it
	}
	return l.evps
}
