package queue

import (
	"errors"
	"io/fs"
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
