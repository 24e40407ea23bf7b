package queue

import (
	"bytes"
	"errors"
	"testing"

	"github.com/godwit-mta/godwit/core/envelope"
)

// beginWait is Begin for a test, which has the time to wait.
func beginWait(t *testing.T, s *FS, m *Message) error {
	t.Helper()
	answer := make(chan error, 2)
	if !s.Begin(m, func(err error) { answer <- err }) {
		t.Fatal("Begin did nothing")
	}
	return <-answer
}

func TestBegin(t *testing.T) {
	d := newMemDisk()
	answers := 0
	s, err := open(d, Options{Together: func(answer func()) { answers++; answer() }}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := s.Reserve(2)
	if err != nil {
		t.Fatal(err)
	}
	m := &Message{ID: ids[0], Body: []byte("text\n"), Envelopes: []*envelope.Envelope{testEnvelope(0, 1), testEnvelope(0, 2)}}
	if err := beginWait(t, s, m); err != nil {
		t.Fatal(err)
	}
	if answers != 1 {
		t.Errorf("%d batches were answered", answers)
	}
	if err := beginWait(t, s, m); !errors.Is(err, ErrExists) {
		t.Errorf("the same message again: %v", err)
	}
	if err := beginWait(t, s, &Message{ID: ids[1], Body: []byte{}}); Temporary(err) || err == nil {
		t.Errorf("without envelopes: %v", err)
	}
	for _, m := range []*Message{{ID: ids[1], Size: 1}, {ID: ids[1], Body: bytes.Repeat([]byte("x"), smallBody+1)}} {
		m.Envelopes = []*envelope.Envelope{testEnvelope(0, 1)}
		if s.Begin(m, func(error) { t.Error("answered") }) {
			t.Error("a message that makes one wait was begun")
		}
	}
	s.Halt()
	if err := beginWait(t, s, &Message{ID: ids[1], Body: []byte("x"), Envelopes: []*envelope.Envelope{testEnvelope(0, 1)}}); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}
