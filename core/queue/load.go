package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/godwit-mta/godwit/core/envelope"
)

// loadReaders is the number of goroutines that read files at start.
const loadReaders = 4

var (
	errNoMessage   = errors.New("the message is missing")
	errNoEnvelopes = errors.New("the message has no envelopes")
)

// loaded is one message that was read from files.
type loaded struct {
	id      envelope.MessageID
	e       *entry
	message bool
	evps    []*envelope.Envelope // the good ones; e has the bad ones too
	bad     map[envelope.ID]error
}

// Load is of Store. Commits and changes may go on meanwhile.
func (s *FS) Load(f func(*envelope.Envelope) error) error {
	s.mu.Lock()
	recovered := s.recovered
	s.recovered = nil
	s.mu.Unlock()
	for _, id := range recovered {
		if err := s.loadRecovered(id, f); err != nil {
			return err
		}
	}
	if err := s.loadFiles(f); err != nil {
		return err
	}
	s.mu.Lock()
	s.settled = nil
	s.mu.Unlock()
	return nil
}

// loadRecovered gives the envelopes of a message that was found in the journal.
func (s *FS) loadRecovered(id envelope.MessageID, f func(*envelope.Envelope) error) error {
	s.mu.RLock()
	var places []place
	missing := false
	if e := s.index.messages[id]; e != nil {
		places = append(places, e.evps...)
		missing = e.seg == inFile
	}
	s.mu.RUnlock()
	if missing {
		var err error
		if missing, err = s.missing(id); err != nil {
			return err
		}
	}
	for _, p := range places {
		evp := envelope.NewID(id, p.n)
		e, err := s.Envelope(evp)
		if err == nil && missing {
			err = errNoMessage
		}
		var failed *fs.PathError
		switch {
		case err == nil:
			if err := f(e); err != nil {
				return err
			}
		case errors.Is(err, ErrNotFound): // removed meanwhile
		case errors.As(err, &failed) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errTooLarge):
			return err
		default:
			if s.quarantine(evp, err) != nil {
				continue // it is tried again at the next start
			}
			if err := s.Apply([]Change{{Op: Remove, ID: evp}}); err != nil {
				return err
			}
		}
	}
	return nil
}

// missing reports whether a text that should have a file has none.
func (s *FS) missing(id envelope.MessageID) (bool, error) {
	// in this order: it may be moved from the one to the other just now
	for _, name := range [...]string{incomingFile(id), messageFile(id)} {
		if found, err := s.disk.Exists(name); found || err != nil {
			return false, err
		}
	}
	return true, nil
}

// loadFiles reads queue/ with several goroutines.
func (s *FS) loadFiles(f func(*envelope.Envelope) error) error {
	buckets, err := s.disk.ReadDir(queueDir)
	if err != nil {
		return err
	}
	todo := make(chan string, len(buckets))
	for _, name := range buckets {
		if isBucket(name) {
			todo <- queueDir + "/" + name
		} else {
			s.log.Warnf("queue: %s/%s is no part of the queue", queueDir, name)
		}
	}
	close(todo)
	found, stop := make(chan *loaded, 64), make(chan struct{})
	defer close(stop)
	var readers sync.WaitGroup
	errs := make([]error, loadReaders)
	for i := range loadReaders {
		readers.Go(func() { errs[i] = s.readBuckets(todo, found, stop) })
	}
	go func() {
		readers.Wait()
		close(found)
	}()
	for l := range found {
		if err := s.takeIn(l, f); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

// readBuckets reads the messages of the buckets in todo.
func (s *FS) readBuckets(todo <-chan string, found chan<- *loaded, stop <-chan struct{}) error {
	for dir := range todo {
		names, err := s.disk.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, name := range names {
			id, err := envelope.ParseMessageID(name)
			if err != nil || bucket(id) != dir {
				s.log.Warnf("queue: %s/%s is no part of the queue", dir, name)
				continue
			}
			if s.known(id) {
				continue
			}
			l, err := s.readMessage(id)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			select {
			case found <- l:
			case <-stop:
				return nil
			}
		}
	}
	return nil
}

// known reports whether the journal has or had something to say about a message: then its
// files are not looked at.
func (s *FS) known(id envelope.MessageID) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.isKnown(id)
}

func (s *FS) isKnown(id envelope.MessageID) bool {
	_, settled := s.settled[id]
	return settled || s.index.messages[id] != nil || s.index.mentioned(id)
}

// readMessage reads the envelopes of a message. An error is one of the disk.
func (s *FS) readMessage(id envelope.MessageID) (*loaded, error) {
	e, message, err := s.list(id)
	if err != nil {
		return nil, err
	}
	l := &loaded{id: id, e: e, message: message, bad: make(map[envelope.ID]error)}
	there := e.evps[:0]
	for _, p := range e.evps {
		evp := envelope.NewID(id, p.n)
		text, err := s.disk.ReadFile(envelopeFile(evp), envelope.MaxText)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil && !errors.Is(err, errTooLarge) {
			return nil, err
		}
		there = append(there, p)
		var env *envelope.Envelope
		if err == nil {
			env, err = s.parse(evp, text)
		}
		if err == nil && !message {
			err = errNoMessage
		}
		if err != nil {
			l.bad[evp] = err
			continue
		}
		l.evps = append(l.evps, env)
	}
	e.evps = there
	return l, nil
}

// takeIn puts a message that was read into the index, unless the journal got to know it
// in the meantime. An envelope that cannot be read stays in the index, and with it the message,
// until it is safe in corrupt/.
func (s *FS) takeIn(l *loaded, f func(*envelope.Envelope) error) error {
	s.mu.Lock()
	known := s.isKnown(l.id)
	if !known && len(l.e.evps) > 0 {
		s.index.messages[l.id] = l.e
	}
	s.mu.Unlock()
	if known {
		return nil
	}
	left := len(l.e.evps)
	for id, err := range l.bad {
		if s.quarantine(id, err) == nil {
			s.forget(id)
			left--
		}
	}
	if left == 0 {
		s.setMessageAside(l)
	}
	for _, e := range l.evps {
		if err := f(e); err != nil {
			return err
		}
	}
	return nil
}

// forget takes an envelope whose file went to corrupt/ out of the index.
func (s *FS) forget(id envelope.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.index.messages[id.Message()]
	if e == nil {
		return
	}
	if i := e.find(id); i >= 0 {
		e.evps = slices.Delete(e.evps, i, i+1)
	}
	if len(e.evps) == 0 {
		delete(s.index.messages, id.Message())
	}
}

// setMessageAside moves the directory of a message without envelopes to corrupt/. It cannot be
// what an interrupted removal left: the journal would know it.
func (s *FS) setMessageAside(l *loaded) {
	s.out.Lock()
	defer s.out.Unlock()
	if len(l.bad) > 0 && s.removeMessage(l.id) == nil {
		return // the message is in corrupt/ with the envelopes
	}
	name, err := s.freeName(l.id.String())
	if err == nil {
		err = s.disk.Rename(messageDir(l.id), name)
	}
	if err == nil {
		err = s.writeFile(name+reasonSuffix, []byte(errNoEnvelopes.Error()+"\n"))
	}
	if err != nil {
		s.log.Warnf("queue: message %v: %v; it cannot be moved to %s: %v", l.id, errNoEnvelopes, corruptDir, err)
		return
	}
	s.log.Warnf("queue: message %v: %v; moved to %s", l.id, errNoEnvelopes, corruptDir)
}

// Discover is of Store. The names are made durable first. Envelopes that cannot be read
// are left where they are and reported: whoever put them there is looking.
func (s *FS) Discover(id envelope.MessageID) ([]*envelope.Envelope, error) {
	l, err := s.readMessage(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	for evp, err := range l.bad {
		return nil, fmt.Errorf("envelope %v: %w", evp, err)
	}
	for _, dir := range [...]string{messageDir(id), bucket(id), queueDir} {
		if err := s.disk.SyncDir(dir); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.discover(l), nil
}

// discover joins what was read to the index. Files of a message of which the journal still
// speaks may be about to be removed: those are for the next time.
func (s *FS) discover(l *loaded) []*envelope.Envelope {
	if s.index.mentioned(l.id) {
		return nil
	}
	e := s.index.messages[l.id]
	if e == nil && len(l.evps) > 0 {
		s.index.messages[l.id] = l.e
		return l.evps
	}
	var fresh []*envelope.Envelope
	for i, env := range l.evps {
		if e.find(env.ID) < 0 {
			e.evps = append(e.evps, l.e.evps[i])
			fresh = append(fresh, env)
		}
	}
	return fresh
}
