package queue

import (
	"errors"
	"io/fs"
	"sync"

	"github.com/godwit-mta/godwit/core/envelope"
)

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
		files := s.cache.look(dir, cached)
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
			l := s.recall(files, id, record)
			if l == nil {
				l = s.readMessage(id)
				record, fresh = l.record, append(fresh, l.record...)
			}
			live += int64(len(record))
			if !errors.Is(l.err, fs.ErrNotExist) && !send(found, stop, l) {
				return
			}
		}
		if files != nil {
			files.Close()
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
