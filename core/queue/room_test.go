package queue

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/trace"
)

// logLines counts what is logged.
type logLines struct{ lines []string }

func (l *logLines) Log(_ trace.Level, line string) { l.lines = append(l.lines, line) }

// Ready tells whether records can be written, and leaves nothing behind.
func TestReady(t *testing.T) {
	d := newMemDisk()
	s, err := open(d, Options{SegmentAge: time.Hour, ahead: maxAhead}, nil)
	if err != nil {
		t.Fatal(err)
	}
	watch := func(before func(*memDisk, string, string, bool) error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.before = before
	}
	for _, op := range []string{"create", "write", "sync"} {
		watch(func(_ *memDisk, o, name string, _ bool) error {
			if o == op {
				return errFault
			}
			return nil
		})
		if err := s.Ready(); !errors.Is(err, errFault) || !Temporary(err) {
			t.Errorf("%s fails: %v", op, err)
		}
	}
	var writes atomic.Int32
	watch(func(_ *memDisk, op, _ string, _ bool) error {
		if op == "write" {
			writes.Add(1)
		}
		return nil
	})
	for range 3 {
		if err := s.Ready(); err != nil {
			t.Error(err)
		}
	}
	if n := writes.Load(); n != 1 {
		t.Errorf("room was made %d times", n)
	}
	if s.Halt(); !errors.Is(s.Ready(), ErrClosed) {
		t.Error("a closed store is ready")
	}
	var log logLines
	if s, err = open(d, Options{}, trace.New(&log)); err != nil || len(log.lines) > 0 {
		t.Fatalf("%v; logged %q", err, log.lines)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if names, err := d.ReadDir(journalDir); err != nil || len(names) > 0 {
		t.Errorf("left behind: %q, %v", names, err)
	}
}

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
