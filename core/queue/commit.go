package queue

import (
	"errors"
	"io/fs"
	"math/rand/v2"

	"github.com/godwit-mta/godwit/core/envelope"
)

// Commit is of Store. Bodies of more than 64 KiB that were kept in memory go into a file.
func (s *FS) Commit(m *Message) error {
	if err := s.admit(m); err != nil {
		return err
	}
	weight := weightOf(m)
	if err := s.backlog.wait(weight); err != nil {
		return s.concluded(m, err)
	}
	r, err := s.record(m)
	if err == nil {
		err = <-s.j.put(r)
	}
	s.backlog.leave(weight)
	return s.concluded(m, err)
}

// Begin is Commit for who does not wait: done is told the outcome, maybe before Begin returns. It is called by
// the goroutine that writes the journal and must not wait. When there is more to wait for than the journal,
// because the text is large or has to be encoded, Begin does nothing and gives false.
func (s *FS) Begin(m *Message, done func(error)) bool {
	if m.Body == nil || len(m.Body) > smallBody || s.codec.Load().encodes() {
		return false
	}
	if err := s.admit(m); err != nil {
		done(err)
		return true
	}
	r, err := s.record(m) // has the text: whose memory that is need not be kept
	if err != nil {
		done(s.concluded(m, err))
		return true
	}
	weight := weightOf(m)
	s.backlog.enter(weight, func(err error) {
		if err != nil {
			done(s.concluded(m, err))
			return
		}
		s.j.add(r, func(err error) {
			s.backlog.leave(weight)
			done(s.concluded(m, err))
		})
	})
	return true
}

// admit checks a message and claims its id.
func (s *FS) admit(m *Message) error {
	if m.ID == 0 || len(m.Envelopes) == 0 {
		return errEmpty
	}
	if err := s.take(written(m), true); err != nil {
		return err
	}
	return s.claim(m.ID, true)
}

// concluded ends what admit began.
func (s *FS) concluded(m *Message, err error) error {
	if err == nil {
		s.endStream(m.ID)
	}
	s.mu.Lock()
	if err == nil {
		delete(s.reserved, m.ID)
	} else {
		s.reserved[m.ID] = false
	}
	s.mu.Unlock()
	return spaceError(err)
}

// written is about what a message takes in the journal and then in files. A text that was streamed is on the disk
// already, and counted.
func written(m *Message) int64 {
	return 2*int64(len(m.Body)) + fsBlock*int64(len(m.Envelopes)+1)
}

// record makes the record of a message, after syncing a text that is not in it.
func (s *FS) record(m *Message) (*record, error) {
	body, size, coded, err := s.bodyOf(m)
	if err != nil {
		return nil, err
	}
	if body == nil || len(m.Body) > smallBody {
		if err := s.syncBody(m.ID, body, size); err != nil {
			return nil, err
		}
		body = nil
	}
	r := newRecord(len(body) + 1024*len(m.Envelopes))
	r.message(m.ID, size, body != nil, coded)
	if err := assignIDs(m); err != nil {
		return nil, err
	}
	var text []byte
	for _, e := range m.Envelopes {
		var err error
		if text, err = s.appendEnvelope(text[:0], e); err != nil {
			return nil, err
		}
		r.envelope(opAdd, e.ID, text)
		if len(r.buf) > maxOps {
			return nil, ErrTooMany
		}
	}
	r.finish(body)
	return r, nil
}

// bodyOf gives the text as it is to be stored, or nil when it is in the file of Create, and what it
// takes.
func (s *FS) bodyOf(m *Message) (body []byte, size int64, coded bool, err error) {
	c, owner := s.codec.Load(), ownerOfMessage(m.ID)
	switch {
	case m.Body != nil && c.encodes():
		body, err = c.encode(nil, owner, m.Body)
		return body, int64(len(body)), true, err
	case m.Body != nil:
		return m.Body, int64(len(m.Body)), false, nil
	}
	st := s.streamed(m.ID)
	if st == nil {
		return nil, m.Size, false, nil
	}
	switch plain, err := st.wait(); {
	case err != nil:
		return nil, 0, true, err
	case plain != m.Size:
		return nil, 0, true, ErrSize
	}
	size, err = s.incomingSize(m.ID)
	return nil, size, true, err
}

// incomingSize gives what an encoded text takes in its file.
func (s *FS) incomingSize(id envelope.MessageID) (int64, error) {
	f, err := s.disk.Open(incomingFile(id))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.Size()
}

// appendEnvelope appends the text of an envelope that Parse will take.
func appendEnvelope(b []byte, e *envelope.Envelope) ([]byte, error) {
	at := len(b)
	b, err := e.AppendText(b)
	if err == nil && len(b)-at > envelope.MaxText {
		err = errTooLarge
	}
	if err != nil {
		return b[:at], &invalidError{err}
	}
	return b, nil
}

// assignIDs gives ids to the envelopes that have none and checks those that have one.
func assignIDs(m *Message) error {
	if len(m.Envelopes) > MaxEnvelopes {
		return ErrTooMany
	}
	used := make(map[uint32]bool, len(m.Envelopes))
	for _, e := range m.Envelopes {
		if n := uint32(e.ID); n != 0 {
			if e.ID.Message() != m.ID || used[n] {
				return &invalidError{errors.New("its id is of another message or used twice")}
			}
			used[n] = true
		}
	}
	for _, e := range m.Envelopes {
		for uint32(e.ID) == 0 {
			if n := rand.Uint32(); n != 0 && !used[n] {
				used[n] = true
				e.ID = envelope.NewID(m.ID, n)
			}
		}
	}
	return nil
}

// syncBody makes a text in incoming/ durable, after writing it there when it is in memory.
func (s *FS) syncBody(id envelope.MessageID, body []byte, size int64) error {
	open := s.disk.Open
	if body != nil {
		open = s.disk.Create
	}
	f, err := open(incomingFile(id))
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if body != nil {
		if _, err := f.WriteAt(body, 0); err != nil {
			return err
		}
	}
	switch n, err := f.Size(); {
	case err != nil:
		return err
	case n != size:
		return ErrSize
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return s.disk.SyncDir(incomingDir)
}
