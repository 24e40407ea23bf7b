package queue

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/program"
)

// pageSize is how many envelopes the program lists at a time.
const pageSize = 500

// blob is the text of an envelope.
type blob struct {
	id   envelope.ID
	text []byte
}

// Envelope is of Store.
func (s *Program) Envelope(id envelope.ID) (*envelope.Envelope, error) {
	var text []byte
	err := s.ask("envelope", fmt.Appendf(nil, "|%v\n", id), func(a *program.Answer) error {
		var n int64
		if err := a.Expect(&n); err != nil {
			return err
		}
		var err error
		text, err = takeText(a, n)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.parse(id, text)
}

func (s *Program) parse(id envelope.ID, text []byte) (*envelope.Envelope, error) {
	e, err := envelope.Parse(id, text)
	if err == nil {
		clampTimes(e, time.Now())
	}
	return e, err
}

// takeText reads the text of an envelope.
func takeText(a *program.Answer, n int64) ([]byte, error) {
	if n > envelope.MaxText {
		return nil, fmt.Errorf("an envelope of %d octets", n)
	}
	w := byteWriter{make([]byte, 0, n)}
	_, err := a.Block(&w, n)
	return w.b, err
}

// takeBlobs reads COUNT and so many envelopes, whose ids ascend from after on.
func takeBlobs(a *program.Answer, after envelope.ID, most int64) (list []blob, err error) {
	var count int64
	if err := a.Expect(&count); err != nil {
		return nil, err
	}
	if count > most {
		return nil, fmt.Errorf("%d envelopes instead of %d", count, most)
	}
	for range count {
		f, err := a.Line("envelope", 2)
		if err != nil {
			return nil, err
		}
		id, err := envelope.ParseID(f[0])
		if err != nil || checkID(id) != nil || id <= after {
			return nil, fmt.Errorf("envelope %q after %v", f[0], after)
		}
		n, err := program.ParseNumber(f[1])
		if err != nil {
			return nil, err
		}
		text, err := takeText(a, n)
		if err != nil {
			return nil, err
		}
		after = id
		list = append(list, blob{id, text})
	}
	return list, nil
}

// Load is of Store. A program that cannot list is asked again until it can.
func (s *Program) Load(f func(*envelope.Envelope) error) error {
	defer func() {
		s.mu.Lock()
		s.fresh = nil
		s.mu.Unlock()
	}()
	told := false
	for after := envelope.ID(0); ; {
		page, err := s.list(after)
		if err != nil {
			if !told {
				s.log.Warnf("queue: cannot be listed, trying again: %v", err)
			}
			told = true
			select {
			case <-time.After(s.pause):
				continue
			case <-s.prog.Done():
				return ErrClosed
			}
		}
		if len(page) == 0 {
			return nil
		}
		for _, b := range page {
			if err := s.loaded(b, f); err != nil {
				return err
			}
		}
		after, told = page[len(page)-1].id, false
	}
}

func (s *Program) list(after envelope.ID) (page []blob, err error) {
	err = s.ask("list", fmt.Appendf(nil, "|%v|%d\n", after, pageSize), func(a *program.Answer) (err error) {
		page, err = takeBlobs(a, after, pageSize)
		return err
	})
	return page, err
}

// loaded gives an envelope on that was there when the store was opened.
func (s *Program) loaded(b blob, f func(*envelope.Envelope) error) error {
	s.mu.Lock()
	fresh := s.fresh[b.id.Message()]
	s.mu.Unlock()
	if fresh {
		return nil
	}
	e, err := s.parse(b.id, b.text)
	if err != nil {
		s.log.Warnf("queue: envelope %v is left where it is: %v", b.id, err)
		return nil
	}
	return f(e)
}

// Discover is of Store.
func (s *Program) Discover(id envelope.MessageID) ([]*envelope.Envelope, error) {
	var found []blob
	err := s.ask("discover", fmt.Appendf(nil, "|%v\n", id), func(a *program.Answer) (err error) {
		found, err = takeBlobs(a, 0, MaxEnvelopes)
		for _, b := range found {
			if b.id.Message() != id {
				return fmt.Errorf("envelope %v is none of message %v", b.id, id)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var list []*envelope.Envelope
	for _, b := range found {
		e, bad := s.parse(b.id, b.text)
		if bad != nil {
			err = errors.Join(err, fmt.Errorf("envelope %v: %w", b.id, bad))
			continue
		}
		list = append(list, e)
	}
	if len(list) > 0 {
		return list, nil // what cannot be read stays for the next time
	}
	return nil, err
}

// applyPiece is how many octets of changes go into one request, if those of one message are
// not more.
const applyPiece = 1 << 20

// Apply is of Store.
func (s *Program) Apply(changes []Change) error {
	c, err := s.conn()
	if err != nil {
		return err
	}
	var refused, missing error
	var b []byte
	count := 0
	flush := func() error {
		if count == 0 {
			return nil
		}
		err := storeError(c.Ask("apply", append(fmt.Appendf(nil, "|%d\n", count), b...), nil))
		b, count = b[:0], 0
		if errors.Is(err, ErrNotFound) {
			missing, err = err, nil
		}
		return err
	}
	for len(changes) > 0 {
		run := firstRun(changes)
		changes = changes[len(run):]
		text, err := runText(run)
		if err != nil {
			refused = cmp.Or(refused, err)
			continue
		}
		if len(b) > 0 && len(b)+len(text) > applyPiece {
			if err := flush(); err != nil {
				return err
			}
		}
		b, count = append(b, text...), count+len(run)
	}
	if err := flush(); err != nil {
		return err
	}
	return cmp.Or(refused, missing)
}

// runText writes the changes of one message for the program.
func runText(run []Change) ([]byte, error) {
	texts, err := ramTexts(run)
	if err != nil {
		return nil, err
	}
	var b []byte
	for i, c := range run {
		switch c.Op {
		case Remove:
			b = fmt.Appendf(b, "remove|%v\n", c.ID)
		case Update:
			b = appendBlock(b, "update", c.Envelope.ID, texts[i])
		case Add:
			b = appendBlock(b, "add", c.Envelope.ID, texts[i])
		}
		if len(b) > maxOps {
			return nil, refusal(c, ErrTooMany)
		}
	}
	return b, nil
}
