package queue

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/godwit-mta/godwit/core/envelope"
)

// Apply is of Store.
func (s *FS) Apply(changes []Change) error {
	var waits []<-chan error
	var refused error
	r := newRecord(256 * len(changes))
	add := func() {
		r.finish(nil)
		waits = append(waits, s.j.put(r))
		r = newRecord(0)
	}
	for len(changes) > 0 {
		run := firstRun(changes)
		changes = changes[len(run):]
		if len(r.buf) > 1<<20 {
			add()
		}
		err := s.appendRun(r, run)
		if errors.Is(err, ErrTooMany) && len(r.ops) > 0 {
			add()
			err = s.appendRun(r, run)
		}
		if err != nil && (refused == nil || errors.Is(refused, ErrNotFound)) {
			refused = err
		}
	}
	if len(r.ops) > 0 {
		add()
	}
	if err := wait(waits); refused == nil || Temporary(err) {
		return err // of the disk: all has to be done again
	}
	return refused
}

// firstRun gives the first changes that are about one message.
func firstRun(changes []Change) []Change {
	n := 1
	for n < len(changes) && changeMessage(changes[n]) == changeMessage(changes[0]) {
		n++
	}
	return changes[:n]
}

// appendRun puts the changes of one message into a record, all or none.
func (s *FS) appendRun(r *record, run []Change) error {
	size, ops := len(r.buf), len(r.ops)
	var skipped error
	for _, c := range run {
		err := s.appendChange(r, c)
		if errors.Is(err, ErrNotFound) {
			skipped = refusal(c, err)
			continue
		}
		if err == nil && len(r.buf) > maxOps {
			err = ErrTooMany
		}
		if err != nil {
			r.buf, r.ops = r.buf[:size], r.ops[:ops]
			return refusal(c, err)
		}
	}
	return skipped
}

func (s *FS) appendChange(r *record, c Change) error {
	id, err := s.changeID(c)
	if err != nil {
		return err
	}
	if c.Op == Remove {
		r.remove(id)
		return nil
	}
	if s.absent(c.Op, id) {
		return ErrNotFound
	}
	text, err := s.appendEnvelope(nil, c.Envelope)
	if err != nil {
		return err
	}
	kind := opUpdate
	if c.Op == Add {
		kind = opAdd
	}
	r.envelope(kind, id, text)
	return nil
}

// refusal names the envelope of a change that cannot be made.
func refusal(c Change, err error) error {
	id := c.ID
	if c.Op != Remove && c.Envelope != nil {
		id = c.Envelope.ID
	}
	return fmt.Errorf("envelope %v: %w", id, err)
}

// wait gives the first error of records after all are answered.
func wait(answers []<-chan error) (err error) {
	for _, answer := range answers {
		if e := <-answer; e != nil && (err == nil || errors.Is(err, ErrNotFound)) {
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

// absent reports whether an envelope cannot be changed, or a message not be added to, because
// neither the journal speaks of it nor is there a file.
func (s *FS) absent(op Op, id envelope.ID) bool {
	if !s.stillFiled(id.Message()) {
		return false // what follows from the record is known when it is written
	}
	name := envelopeFile(id)
	if op == Add {
		name = messageDir(id.Message())
	}
	found, err := s.disk.Exists(name)
	return err == nil && !found
}

// nameEnvelope gives an envelope an id that no other of its message has.
func (s *FS) nameEnvelope(e *envelope.Envelope) {
	for uint32(e.ID) == 0 || s.named(e.ID) {
		e.ID = envelope.NewID(e.ID.Message(), rand.Uint32())
	}
}

func (s *FS) named(id envelope.ID) bool {
	s.mu.RLock()
	msg := s.index.messages[id.Message()]
	known := msg != nil && (msg.find(id) >= 0 || msg.last(uint32(id)) != 0)
	look := msg != nil && msg.unlisted || s.index.filed(id.Message())
	s.mu.RUnlock()
	if known || !look {
		return known
	}
	found, err := s.disk.Exists(envelopeFile(id))
	return found && err == nil
}
