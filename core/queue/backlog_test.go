package queue

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/trace"
)

// logChan hands on what is logged.
type logChan chan string

func (l logChan) Log(_ trace.Level, line string) {
	select {
	case l <- line:
	default:
	}
}

// await reads lines up to one with a text.
func (l logChan) await(t *testing.T, text string) {
	t.Helper()
	for line := range l {
		if strings.Contains(line, text) {
			return
		}
	}
}

// behind opens a store with a small bound and has it full of mail that is not written out.
func behind(t *testing.T, d *memDisk, patience time.Duration) (s *FS, log logChan, first *Message) {
	t.Helper()
	log = make(logChan, 100)
	s, err := open(d, Options{backlog: 20_000, patience: patience, MinFree: DefaultMinFree}, trace.New(log))
	if err != nil {
		t.Fatal(err)
	}
	s.out.Lock() // nothing is written out
	first = commit(t, s, []byte("first\n"), 1)
	for s.backlog.room(leastWeight) {
		commit(t, s, make([]byte, 1000), 1)
	}
	return s, log, first
}

func another(t *testing.T, s *FS) *Message {
	return &Message{ID: reserve(t, s), Body: []byte("text\n"), Envelopes: []*envelope.Envelope{testEnvelope(0, 1)}}
}

// Mail waits while too much is not written out, what happens to queued mail is recorded, and mail goes on with the
// write-out.
func TestBacklog(t *testing.T) {
	d := newMemDisk()
	s, _, first := behind(t, d, time.Hour)
	const more = 100
	answers := make(chan error, 2*more)
	for range more {
		s.Begin(another(t, s), func(err error) { answers <- err })
		m := another(t, s)
		go func() { answers <- s.Commit(m) }()
	}
	if err := s.Apply([]Change{{Op: Update, Envelope: first.Envelopes[0]}, {Op: Remove, ID: first.Envelopes[0].ID}}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-answers:
		t.Fatalf("a message was taken: %v", err)
	default:
	}
	s.out.Unlock()
	for range 2 * more {
		if err := <-answers; err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A message that waited too long is refused, the next ones at once, until something is written out.
func TestBacklogRefuses(t *testing.T) {
	d := newMemDisk()
	s, log, first := behind(t, d, time.Millisecond)
	defer s.Close()
	late := another(t, s)
	if err := s.Commit(late); !errors.Is(err, ErrBehind) || !Temporary(err) {
		t.Fatalf("Commit: %v", err)
	}
	log.await(t, "no mail is accepted")
	if err := beginWait(t, s, late); !errors.Is(err, ErrBehind) {
		t.Errorf("Begin: %v", err)
	}
	if _, err := s.Reserve(1); !errors.Is(err, ErrNoSpace) {
		t.Errorf("Reserve: %v", err)
	}
	if err := s.Apply([]Change{{Op: Remove, ID: first.Envelopes[0].ID}}); err != nil {
		t.Errorf("mail cannot go: %v", err)
	}
	s.out.Unlock()
	log.await(t, "mail accepted")
	if err := s.Commit(late); err != nil {
		t.Error(err)
	}
}

// With a disk on which no file can be made mail is refused in the end; when that is over it goes on.
func TestBacklogFullDisk(t *testing.T) {
	d := newMemDisk()
	s, log, first := behind(t, d, time.Millisecond)
	defer s.Close()
	d.refuseIf(func(op, name string) error {
		if strings.HasPrefix(name, queueDir) && op != "lstat" {
			return errFault
		}
		return nil
	})
	s.out.Unlock()
	for range 3 {
		if err := s.Commit(another(t, s)); err != nil {
			if !errors.Is(err, ErrBehind) {
				t.Fatal(err)
			}
			break
		}
	}
	log.await(t, "no mail is accepted")
	for range 3 {
		if err := s.writeOut(); err == nil {
			t.Fatal("written out")
		}
		if !s.backlog.refuses() {
			t.Error("mail is accepted")
		}
	}
	if err := s.Apply([]Change{{Op: Remove, ID: first.Envelopes[0].ID}}); err != nil {
		t.Errorf("mail cannot go: %v", err)
	}
	d.refuseIf(nil)
	if err := s.writeOut(); err != nil {
		t.Fatal(err)
	}
	commit(t, s, []byte("text\n"), 1)
}

// Who waits is answered when the store is closed; a start with a large journal takes mail when it is written out.
func TestBacklogRestart(t *testing.T) {
	d := newMemDisk()
	s, _, _ := behind(t, d, time.Hour)
	answer := make(chan error, 1)
	s.Begin(another(t, s), func(err error) { answer <- err })
	s.out.Unlock()
	s.Halt()
	if err := <-answer; err != nil && !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	s, err := open(d, Options{backlog: 1000, patience: time.Hour}, nil)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, []byte("text\n"), 1)
	if err := s.Close(); err != nil || s.backlog.weight != 0 || s.index.toFiles != 0 {
		t.Errorf("%v; the backlog weighs %d, %d octets have to be written out", err, s.backlog.weight, s.index.toFiles)
	}
}

// The room that the journal will take in files is not given to mail.
func TestSpaceOfBacklog(t *testing.T) {
	d := newMemDisk()
	s, err := open(d, Options{MinFree: DefaultMinFree}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m := commit(t, s, make([]byte, 50_000), 1)
	free := d.free
	free.Size, free.Free = 1_000_000, 100_000
	s.setFree(free)
	if err := s.Room(0); !errors.Is(err, ErrNoSpace) {
		t.Errorf("with 112 kB for 50 kB and files of 62 kB: %v", err)
	}
	if err := s.Apply([]Change{{Op: Remove, ID: m.Envelopes[0].ID}}); err != nil {
		t.Fatal(err)
	}
	s.setFree(free)
	if err := s.Room(0); err != nil {
		t.Errorf("when the message is gone: %v", err)
	}
}
