package queue

import (
	"math/rand/v2"
	"os"

	"github.com/godwit-mta/godwit/core/envelope"
)

// Null takes everything and keeps nothing: for measuring what stands before the queue.
type Null struct{ dir string }

// NewNull gives a store. Files for streamed bodies are made in dir, without a name.
func NewNull(dir string) Null { return Null{dir} }

// Reserve is of Store.
func (Null) Reserve(n int) ([]envelope.MessageID, error) {
	ids := make([]envelope.MessageID, n)
	for i := range ids {
		ids[i] = envelope.MessageID(rand.Uint32() | 1)
	}
	return ids, nil
}

// Release is of Store.
func (Null) Release(...envelope.MessageID) {}

// Create is of Store.
func (s Null) Create(envelope.MessageID) (*os.File, error) {
	name, f, err := nameless(s.dir)
	if err != nil {
		return nil, err
	}
	return f, os.Remove(name)
}

// Commit is of Store.
func (Null) Commit(m *Message) error { return assignIDs(m) }

// Body is of Store.
func (Null) Body(envelope.MessageID) (Body, error) { return Body{}, ErrNotFound }

// Envelope is of Store.
func (Null) Envelope(envelope.ID) (*envelope.Envelope, error) { return nil, ErrNotFound }

// Apply is of Store: what is to be removed is gone, what is to be changed is not there.
func (Null) Apply(changes []Change) error {
	for _, c := range changes {
		if c.Op != Remove {
			return ErrNotFound
		}
	}
	return nil
}

// Load is of Store.
func (Null) Load(func(*envelope.Envelope) error) error { return nil }

// Discover is of Store.
func (Null) Discover(envelope.MessageID) ([]*envelope.Envelope, error) { return nil, ErrNotFound }

// Close is of Store.
func (Null) Close() error { return nil }
