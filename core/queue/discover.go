package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"

	"github.com/godwit-mta/godwit/core/envelope"
)

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
