package queue

import (
	"cmp"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"

	"github.com/godwit-mta/godwit/core/envelope"
)

// RAM keeps everything in memory: for tests and for measuring. Nothing of it is durable.
type RAM struct {
	dir string

	mu       sync.Mutex
	messages map[envelope.MessageID]*ramMessage
	reserved map[envelope.MessageID]*os.File // the file of Create, or nil
	closed   bool
}

type ramMessage struct {
	body []byte
	evps map[envelope.ID][]byte
}

// NewRAM gives an empty store. Files for streamed bodies are made in dir, without a name.
func NewRAM(dir string) *RAM {
	return &RAM{dir: dir, messages: make(map[envelope.MessageID]*ramMessage),
		reserved: make(map[envelope.MessageID]*os.File)}
}

// Reserve is of Store.
func (s *RAM) Reserve(n int) ([]envelope.MessageID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]envelope.MessageID, 0, n)
	for len(ids) < n {
		id := envelope.MessageID(rand.Uint32())
		if _, reserved := s.reserved[id]; id == 0 || reserved || s.messages[id] != nil {
			continue
		}
		s.reserved[id] = nil
		ids = append(ids, id)
	}
	return ids, nil
}

// Release is of Store.
func (s *RAM) Release(ids ...envelope.MessageID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		s.drop(id)
	}
}

func (s *RAM) drop(id envelope.MessageID) {
	if f := s.reserved[id]; f != nil {
		f.Close()
	}
	delete(s.reserved, id)
}

// Create is of Store.
func (s *RAM) Create(id envelope.MessageID) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.reserved[id]
	if !ok {
		return nil, ErrNotFound
	}
	if old != nil {
		return nil, ErrExists
	}
	name, kept, err := nameless(s.dir)
	if err != nil {
		return nil, err
	}
	defer os.Remove(name)
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		kept.Close()
		return nil, err
	}
	s.reserved[id] = kept
	return f, nil
}

// nameless gives an empty file whose name the caller removes.
func nameless(dir string) (string, *os.File, error) {
	f, err := os.CreateTemp(dir, "body.")
	if err != nil {
		return "", nil, err
	}
	return f.Name(), f, nil
}

// Commit is of Store.
func (s *RAM) Commit(m *Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	f := s.reserved[m.ID]
	if m.ID == 0 || len(m.Envelopes) == 0 {
		return errEmpty
	}
	if m.Body == nil && f == nil {
		return ErrNotFound
	}
	if s.messages[m.ID] != nil {
		return ErrExists
	}
	if err := assignIDs(m); err != nil {
		return err
	}
	msg := &ramMessage{body: append([]byte{}, m.Body...), evps: make(map[envelope.ID][]byte)}
	for _, e := range m.Envelopes {
		text, err := appendEnvelope(nil, e)
		if err != nil {
			return err
		}
		msg.evps[e.ID] = text
	}
	if m.Body == nil {
		var err error
		if msg.body, err = io.ReadAll(io.NewSectionReader(f, 0, m.Size+1)); err != nil {
			return err
		}
		if int64(len(msg.body)) != m.Size {
			return ErrSize
		}
	}
	s.messages[m.ID] = msg
	s.drop(m.ID)
	return nil
}

// Body is of Store. A long text is given as a file: what takes it may be another process.
func (s *RAM) Body(id envelope.MessageID) (Body, error) {
	s.mu.Lock()
	msg := s.messages[id]
	s.mu.Unlock()
	if msg == nil {
		return Body{}, ErrNotFound
	}
	if len(msg.body) <= smallBody {
		return Body{Bytes: msg.body, Size: int64(len(msg.body))}, nil
	}
	name, f, err := nameless(s.dir)
	if err != nil {
		return Body{}, err
	}
	os.Remove(name)
	if _, err := f.Write(msg.body); err != nil {
		f.Close()
		return Body{}, err
	}
	return Body{File: f, Size: int64(len(msg.body))}, nil
}

// Envelope is of Store.
func (s *RAM) Envelope(id envelope.ID) (*envelope.Envelope, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	msg := s.messages[id.Message()]
	if msg == nil || msg.evps[id] == nil {
		return nil, ErrNotFound
	}
	return envelope.Parse(id, msg.evps[id])
}

// Apply is of Store.
func (s *RAM) Apply(changes []Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	var missing, refused error
	for len(changes) > 0 {
		run := firstRun(changes)
		changes = changes[len(run):]
		texts, err := ramTexts(run)
		if err != nil {
			refused = cmp.Or(refused, err)
			continue
		}
		for i, c := range run {
			if !s.apply(c, texts[i]) {
				missing = ErrNotFound
			}
		}
	}
	return cmp.Or(refused, missing)
}

// ramTexts gives the texts of the changes of one message.
func ramTexts(run []Change) ([][]byte, error) {
	texts := make([][]byte, len(run))
	for i, c := range run {
		var err error
		switch {
		case c.Op == Remove:
			err = checkID(c.ID)
		case c.Envelope == nil || c.Op != Update && c.Op != Add:
			err = &invalidError{errors.New("a change without an envelope")}
		default:
			for c.Op == Add && uint32(c.Envelope.ID) == 0 {
				c.Envelope.ID = envelope.NewID(c.Envelope.ID.Message(), rand.Uint32())
			}
			if err = checkID(c.Envelope.ID); err == nil {
				texts[i], err = appendEnvelope(nil, c.Envelope)
			}
		}
		if err != nil {
			return nil, refusal(c, err)
		}
	}
	return texts, nil
}

func (s *RAM) apply(c Change, text []byte) bool {
	msg := s.messages[changeMessage(c)]
	switch {
	case c.Op == Remove && msg != nil:
		if delete(msg.evps, c.ID); len(msg.evps) == 0 {
			delete(s.messages, c.ID.Message())
		}
	case c.Op == Remove:
	case msg == nil, c.Op == Update && msg.evps[c.Envelope.ID] == nil:
		return false
	default:
		msg.evps[c.Envelope.ID] = text
	}
	return true
}

// Load is of Store: there is never anything to load.
func (s *RAM) Load(func(*envelope.Envelope) error) error { return nil }

// Discover is of Store: nothing can be put in by hand.
func (s *RAM) Discover(envelope.MessageID) ([]*envelope.Envelope, error) {
	return nil, ErrNotFound
}

// Close is of Store. Everything is lost.
func (s *RAM) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.closed = true
	for id := range s.reserved {
		s.drop(id)
	}
	clear(s.messages)
	return nil
}
