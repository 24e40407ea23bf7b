package queue

import (
	"errors"
	"math/rand/v2"

	"github.com/godwit-mta/godwit/core/envelope"
)

// Apply is of Store.
func (s *FS) Apply(changes []Change) error {
	var waits []*request
	var text []byte
	r := newRecord(256 * len(changes))
	for i, c := range changes {
		id, err := s.changeID(c)
		if err == nil && c.Op != Remove {
			text, err = appendEnvelope(text[:0], c.Envelope)
		}
		if err != nil {
			return errors.Join(err, wait(waits))
		}
		switch c.Op {
		case Remove:
			r.remove(id)
		case Update:
			r.envelope(opUpdate, id, text)
		case Add:
			r.envelope(opAdd, id, text)
		}
		split := i+1 < len(changes) && len(r.buf) > 1<<20 && id.Message() != changeMessage(changes[i+1])
		if len(r.buf) > maxOps {
			return errors.Join(ErrTooMany, wait(waits))
		}
		if split || i+1 == len(changes) {
			r.finish(nil)
			waits = append(waits, s.j.add(r))
			r = newRecord(1 << 20)
		}
	}
	return wait(waits)
}

// wait gives the first error of requests after all are answered.
func wait(reqs []*request) (err error) {
	for _, req := range reqs {
		if e := <-req.done; e != nil && (err == nil || errors.Is(err, ErrNotFound)) {
			err = e
		}
	}
	return err
}

func changeMessage(c Change) envelope.MessageID {
	if c.Op == Remove || c.Envelope == nil {
		return c.ID.Message()
	}
	return c.Envelope.ID.Message()
}

// changeID gives the envelope that a change is about; it names a new one.
func (s *FS) changeID(c Change) (envelope.ID, error) {
	if c.Op == Remove {
		return c.ID, checkID(c.ID)
	}
	if c.Envelope == nil || c.Op != Update && c.Op != Add {
		return 0, &invalidError{errors.New("a change without an envelope")}
	}
	if c.Op == Add && uint32(c.Envelope.ID) == 0 {
		s.nameEnvelope(c.Envelope)
	}
	return c.Envelope.ID, checkID(c.Envelope.ID)
}

func checkID(id envelope.ID) error {
	if id.Message() == 0 || uint32(id) == 0 {
		return &invalidError{errors.New("its id is zero")}
	}
	return nil
}

func (s *FS) nameEnvelope(e *envelope.Envelope) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	msg := s.index.messages[e.ID.Message()]
	for uint32(e.ID) == 0 || msg != nil && msg.find(e.ID) >= 0 {
		e.ID = envelope.NewID(e.ID.Message(), rand.Uint32())
	}
}
