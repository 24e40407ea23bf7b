package queue

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

// script drives a store as the daemon does and goes on after errors.
type script struct {
	d   *memDisk
	s   *FS // nil: it could not be opened
	o   *oracle
	ids []envelope.MessageID // committed, in their order
	err error                // of a kind that must not be
	ack func()               // called after everything that was acknowledged
	n   int

	faults *faults // nil: none
	fired  int     // of them when the last call was answered
}

// scripts are the lives of a spool that are cut, failed and killed at every step.
var scripts = map[string]func(*script){
	"accept": func(s *script) {
		s.start()
		s.commit([]byte("small\n"), 1)
		s.commit(bytes.Repeat([]byte("of some sectors\n"), 100), 1)
		s.commit(nil, 2)
		s.stream(bytes.Repeat([]byte("large\n"), 200), 2)
		s.flush()
		s.commit(bytes.Repeat([]byte("large in memory\n"), smallBody/16+1), 1)
		s.together(3)
		s.stop()
	},
	"change": func(s *script) {
		s.start()
		s.commit([]byte("small\n"), 3)
		s.stream(bytes.Repeat([]byte("large\n"), 200), 2)
		s.remove(0, 1)
		s.update(0, 2)
		s.bounce(0, 3)
		s.commit([]byte("short lived\n"), 1)
		s.remove(2, 1)
		s.remove(1, 1, 2)
		s.stop()
	},
	"change in files": func(s *script) {
		s.start()
		s.commit([]byte("small\n"), 4)
		s.stream(bytes.Repeat([]byte("large\n"), 200), 2)
		s.commit([]byte("gone\n"), 1)
		s.flush()
		s.update(0, 1)
		s.bounce(0, 2)
		s.remove(0, 3)
		s.remove(1, 1)
		s.remove(2, 1)
		s.flush()
		s.update(0, 1)
		s.remove(1, 2)
		s.stop()
	},
	"change while segments wait": func(s *script) {
		s.start()
		s.hold(func() {
			s.commit([]byte("late\n"), 4)
			s.stream(bytes.Repeat([]byte("late\n"), 99), 2)
			s.commit([]byte("gone\n"), 1)
			s.rotate()
			s.update(0, 1)
			s.update(1, 1)
			s.bounce(0, 2)
			s.remove(1, 2)
			s.remove(2, 1)
			s.rotate()
			s.update(0, 1)
			s.remove(0, 3)
			s.remove(1, 1)
		})
		s.flush()
		s.update(0, 4)
		s.stop()
	},
	"two lives": func(s *script) {
		s.start()
		s.commit([]byte("one\n"), 2)
		s.stream(bytes.Repeat([]byte("two\n"), 200), 2)
		s.flush()
		s.bounce(0, 1)
		s.commit([]byte("three\n"), 2)
		s.kill()
		s.start()
		s.remove(0, 2)
		s.update(1, 1)
		s.remove(2, 1)
		s.kill()
		s.start()
		s.remove(1, 2)
		s.remove(2, 2)
		s.commit([]byte("four\n"), 1)
		s.stop()
	},
	"found by hand": func(s *script) {
		s.start()
		s.commit([]byte("one\n"), 1)
		s.place([]byte("by hand\n"), 2)
		s.remove(1, 1)
		s.flush()
		s.bounce(1, 2)
		s.stop()
	},
}

func (s *script) start() {
	var err error
	if s.s, err = open(s.d, Options{SegmentAge: time.Hour, MinFree: DefaultMinFree, Encoding: s.d.enc, ahead: s.d.ahead, cache: s.d.cache}, nil); err != nil {
		s.s = nil
		s.note(err)
		return
	}
	fired := s.fired
	err = s.o.sees(s.s)
	if s.d.isOff() {
		clear(s.ids) // the process was killed while it loaded: what it saw says nothing
		return
	}
	if s.note(nil); fired == s.fired {
		s.note(err)
	} else if err != nil {
		clear(s.ids) // what could not be read is not known, so nothing is asked of it
		return
	}
	s.ack()
}

// note looks at an error: a caller can try again after one of the disk, and there must be no other. It
// reports whether there was none.
func (s *script) note(err error) bool {
	failed := s.faults != nil && int(s.faults.fired.Load()) > s.fired
	if s.faults != nil {
		s.fired = int(s.faults.fired.Load())
	}
	switch {
	case err == nil:
		return true
	case s.err != nil:
	case !Temporary(err):
		s.err = fmt.Errorf("not temporary: %w", err)
	case !failed && !errors.Is(err, errCrash) && !s.d.dead():
		s.err = fmt.Errorf("%w: %w", errHealthy, err)
	}
	return false
}

// dead reports whether the power is off, or the process was killed.
func (d *memDisk) dead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.off
}

// told is for what was asked of the store.
func (s *script) told(err error) bool {
	ok := s.note(err)
	if ok {
		s.ack()
	}
	return ok
}

// message makes one with its ids.
func (s *script) message(body []byte, rcpts int) (*Message, bool) {
	if s.s == nil {
		return nil, false
	}
	ids, err := s.s.Reserve(1)
	if !s.note(err) {
		return nil, false
	}
	m := &Message{ID: ids[0], Body: body}
	for n := range rcpts {
		m.Envelopes = append(m.Envelopes, testEnvelope(envelope.NewID(m.ID, uint32(n+1)), n))
	}
	return m, true
}

func (s *script) commit(body []byte, rcpts int) {
	m, ok := s.message(append([]byte{}, body...), rcpts)
	if ok {
		ok = s.told(s.o.commit(s.s, m, body))
	}
	s.done(m, ok)
}

// done notes a message for later; what could not be committed has the id 0.
func (s *script) done(m *Message, ok bool) {
	id := envelope.MessageID(0)
	switch {
	case ok:
		id = m.ID
	case m != nil:
		s.s.Release(m.ID)
	}
	s.ids = append(s.ids, id)
}

// stream writes the text into the file of incoming/ as the dispatcher does.
func (s *script) stream(body []byte, rcpts int) {
	m, ok := s.message(nil, rcpts)
	if ok {
		m.Size = int64(len(body))
		if s.d.enc.Compression != NoCompression || s.d.enc.Encrypt {
			ok = s.note(s.pipe(m.ID, body))
		} else {
			ok = s.note(writePieces(s.d, incomingFile(m.ID), body))
		}
		ok = ok && s.told(s.o.commit(s.s, m, body))
	}
	s.done(m, ok)
}

// pipe writes the text to where the store encodes it.
func (s *script) pipe(id envelope.MessageID, body []byte) error {
	f, err := s.s.Create(id)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	return errors.Join(err, f.Close())
}

// writePieces writes a file in two pieces and does not sync it.
func writePieces(d *memDisk, name string, b []byte) error {
	f, err := d.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	half := len(b) / 2
	if _, err := f.WriteAt(b[:half], 0); err != nil {
		return err
	}
	_, err = f.WriteAt(b[half:], int64(half))
	return err
}

// together commits messages that share a sync.
func (s *script) together(n int) {
	var group sync.WaitGroup
	errs := make([]error, n)
	before := s.fired
	for i := range n {
		body := []byte("together\n")
		if m, ok := s.message(body, 2); ok {
			group.Go(func() {
				if errs[i] = s.o.commit(s.s, m, body); errs[i] == nil {
					s.ack()
				}
			})
		}
	}
	group.Wait()
	for _, err := range errs {
		s.fired = min(s.fired, before) // they may have failed together
		s.note(err)
	}
}

// id gives the n-th envelope of a message.
func (s *script) id(msg, n int) (envelope.ID, bool) {
	if s.s == nil || msg >= len(s.ids) || s.ids[msg] == 0 {
		return 0, false
	}
	return envelope.NewID(s.ids[msg], uint32(n)), true
}

func (s *script) update(msg, n int) {
	id, ok := s.id(msg, n)
	if !ok {
		return
	}
	e := testEnvelope(id, 7)
	s.n++
	e.Retry = s.n
	s.told(s.o.apply(s.s, Change{Op: Update, Envelope: e}))
}

func (s *script) remove(msg int, list ...int) {
	var changes []Change
	for _, n := range list {
		id, ok := s.id(msg, n)
		if !ok {
			return
		}
		changes = append(changes, Change{Op: Remove, ID: id})
	}
	s.told(s.o.apply(s.s, changes...))
}

// bounce puts a notice in the place of an envelope.
func (s *script) bounce(msg, n int) {
	id, ok := s.id(msg, n)
	if !ok {
		return
	}
	s.n++
	e := testEnvelope(envelope.NewID(id.Message(), uint32(90+s.n)), 99)
	s.told(s.o.apply(s.s, Change{Op: Add, Envelope: e}, Change{Op: Remove, ID: id}))
}

// place puts a message into queue/ as an administrator does who syncs nothing.
func (s *script) place(body []byte, rcpts int) {
	m, ok := s.message(body, rcpts)
	if !ok {
		s.done(nil, false)
		return
	}
	s.s.Release(m.ID)
	s.o.set(m.ID, known{any: true})
	whole := make(state)
	for _, e := range m.Envelopes {
		whole[e.ID] = plain(e)
	}
	if ok = s.note(placeFiles(s.d, m, body)); ok {
		found, err := s.s.Discover(m.ID)
		if err == nil && len(found) != rcpts {
			err = fmt.Errorf("%d envelopes discovered", len(found))
		}
		if ok = s.note(err); ok {
			s.o.set(m.ID, known{body: body, may: []state{whole}})
			s.ack()
		}
	}
	s.done(m, ok)
}

func placeFiles(d *memDisk, m *Message, body []byte) error {
	d.Mkdir(bucket(m.ID))
	if err := d.Mkdir(messageDir(m.ID)); err != nil {
		return err
	}
	if err := writePieces(d, messageFile(m.ID), body); err != nil {
		return err
	}
	for _, e := range m.Envelopes {
		if err := writePieces(d, envelopeFile(e.ID), []byte(plain(e))); err != nil {
			return err
		}
	}
	return nil
}

func (s *script) rotate() {
	if s.s != nil {
		s.s.j.rotate()
	}
}

func (s *script) flush() {
	if s.s != nil {
		s.told(s.s.flush())
	}
}

// hold runs f while nothing is written out.
func (s *script) hold(f func()) {
	if s.s != nil {
		s.s.out.Lock()
		defer s.s.out.Unlock()
	}
	f()
}

func (s *script) stop() {
	if s.s != nil {
		err := s.s.Close()
		s.told(err)
		if x := s.s; err == nil && s.err == nil && (x.backlog.weight != 0 || x.index.toFiles != 0) {
			s.err = fmt.Errorf("all is written out, but for %d of the backlog and %d octets", x.backlog.weight, x.index.toFiles)
		}
		s.s = nil
	}
}

// kill ends a store as the end of its process does: the disk hears nothing more of it.
func (s *script) kill() {
	if s.s == nil {
		return
	}
	old := s.s
	s.s = nil
	s.d = s.d.inherit()
	old.Close()
}
