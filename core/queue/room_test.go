package queue

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/trace"
)

// logLines counts what is logged.
type logLines struct{ lines []string }

func (l *logLines) Log(_ trace.Level, line string) { l.lines = append(l.lines, line) }

// Records go into room that was written before, and what is left of it at a start is no torn record.
func TestRoomAhead(t *testing.T) {
	d := newMemDisk()
	opts := Options{SegmentAge: time.Hour, ahead: maxAhead}
	s, err := open(d, opts, nil)
	if err != nil {
		t.Fatal(err)
	}
	grown, before := 0, 0
	const messages = 100
	for i := range messages {
		m := &Message{ID: envelope.MessageID(i + 1), Body: bytes.Repeat([]byte("text\n"), 1000),
			Envelopes: []*envelope.Envelope{testEnvelope(envelope.NewID(envelope.MessageID(i+1), 1), 1)}}
		if err := s.Commit(m); err != nil {
			t.Fatal(err)
		}
		name := s.j.cur.name()
		n, err := d.look("size", name)
		if err != nil {
			t.Fatal(err)
		}
		if len(n.data) > before {
			grown, before = grown+1, len(n.data)
		}
		if most := (i+1)*6000 + maxAhead; len(n.data) > most {
			t.Fatalf("%d octets for %d messages", len(n.data), i+1)
		}
	}
	if grown > 8 {
		t.Errorf("the segment grew %d times for %d messages", grown, messages)
	}
	s.Halt()
	var log logLines
	if s, err = open(d, opts, trace.New(&log)); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len(log.lines) > 0 {
		t.Errorf("logged: %q", log.lines)
	}
	for i := range messages {
		if _, err := s.Envelope(envelope.NewID(envelope.MessageID(i+1), 1)); err != nil {
			t.Error(fmt.Errorf("message %d: %w", i+1, err))
		}
	}
}
