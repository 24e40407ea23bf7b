package queue

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

// history is what a scenario was told.
type history struct {
	texts  map[envelope.ID][]string // that an envelope may have: the last acknowledged and what was tried since
	bodies map[envelope.MessageID][]byte
	sure   map[envelope.ID]bool // acknowledged and not asked to go
	gone   map[envelope.ID]bool // acknowledged to be gone
}

func newHistory() *history {
	return &history{make(map[envelope.ID][]string), make(map[envelope.MessageID][]byte),
		make(map[envelope.ID]bool), make(map[envelope.ID]bool)}
}

// plain gives the text of an envelope, whatever its id.
func plain(e *envelope.Envelope) string {
	b, err := e.AppendText(nil)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (h *history) commit(s *FS, body []byte, streamed bool, rcpts int) []envelope.ID {
	ids, err := s.Reserve(1)
	if err != nil {
		return nil
	}
	m := &Message{ID: ids[0], Body: body}
	for n := range rcpts {
		e := testEnvelope(envelope.NewID(m.ID, uint32(n+1)), n)
		m.Envelopes = append(m.Envelopes, e)
		h.texts[e.ID] = []string{plain(e)}
	}
	h.bodies[m.ID] = body
	if streamed {
		m.Body, m.Size = nil, int64(len(body))
		f, err := s.Create(m.ID)
		if err != nil {
			return nil
		}
		defer f.Close()
		if _, err := f.Write(body); err != nil {
			panic(err)
		}
	}
	if s.Commit(m) != nil {
		return nil
	}
	var evps []envelope.ID
	for _, e := range m.Envelopes {
		h.sure[e.ID] = true
		evps = append(evps, e.ID)
	}
	return evps
}

func (h *history) remove(s *FS, ids ...envelope.ID) {
	var changes []Change
	for _, id := range ids {
		delete(h.sure, id)
		changes = append(changes, Change{Op: Remove, ID: id})
	}
	if s.Apply(changes) == nil {
		for _, id := range ids {
			h.gone[id] = true
		}
	}
}

func (h *history) update(s *FS, id envelope.ID, retry int) {
	e := testEnvelope(id, 7)
	e.Retry = retry
	h.texts[id] = append(h.texts[id], plain(e))
	if s.Apply([]Change{{Op: Update, Envelope: e}}) == nil {
		h.texts[id] = []string{plain(e)}
	}
}

func (h *history) bounce(s *FS, failed envelope.ID) {
	e := testEnvelope(envelope.NewID(failed.Message(), 99), 99)
	h.texts[e.ID] = []string{plain(e)}
	delete(h.sure, failed)
	if s.Apply([]Change{{Op: Remove, ID: failed}, {Op: Add, Envelope: e}}) == nil {
		h.gone[failed] = true
		h.sure[e.ID] = true
	}
}

func (h *history) load(s *FS) bool {
	return s.Load(func(*envelope.Envelope) error { return nil }) == nil
}

// scenario does everything that a store can do, over two starts.
func scenario(d *memDisk, h *history) {
	s, err := open(d, Options{SegmentAge: time.Hour}, nil)
	if err != nil {
		return
	}
	h.load(s)
	a := h.commit(s, []byte("small\n"), false, 2)
	b := h.commit(s, bytes.Repeat([]byte("large\n"), 300), true, 2)
	c := h.commit(s, []byte("short lived\n"), false, 1)
	if c != nil {
		h.remove(s, c...)
	}
	s.flush()
	if a != nil && b != nil {
		h.update(s, a[0], 1)
		h.bounce(s, a[1])
		h.remove(s, b[0])
	}
	e := h.commit(s, []byte("after\n"), false, 3)
	g := h.commit(s, bytes.Repeat([]byte("gone\n"), 200), true, 1)
	s.flush()
	if g != nil {
		h.remove(s, g...)
	}
	if e != nil {
		h.update(s, e[0], 1)
		h.remove(s, e[1])
		h.update(s, e[0], 2)
	}
	late(s, h)
	if s.Close() != nil {
		return
	}
	if s, err = open(d, Options{SegmentAge: time.Hour}, nil); err != nil {
		return
	}
	h.load(s)
	if b != nil && e != nil {
		h.remove(s, b[1])
		h.update(s, e[2], 5)
	}
	h.commit(s, []byte("last\n"), false, 1)
	s.Close()
}

// late changes mail while the segment that holds it waits to be written out.
func late(s *FS, h *history) {
	s.out.Lock()
	a := h.commit(s, []byte("late\n"), false, 4)
	b := h.commit(s, bytes.Repeat([]byte("late\n"), 99), true, 2)
	s.j.rotate()
	if a != nil && b != nil {
		h.update(s, a[0], 3)
		h.update(s, b[0], 3)
		h.bounce(s, a[1])
		h.remove(s, b[1])
	}
	s.j.rotate()
	if a != nil && b != nil {
		h.update(s, a[0], 4)
		h.remove(s, a[2])
		h.remove(s, b[0])
	}
	s.out.Unlock()
	s.flush()
	if a != nil {
		h.update(s, a[3], 6)
	}
}

// check compares what is there after a restart with what was promised.
func (h *history) check(d *memDisk) error {
	s, err := open(d, Options{SegmentAge: time.Hour}, nil)
	if err != nil {
		return err
	}
	defer s.Close()
	found := make(map[envelope.ID]bool)
	err = s.Load(func(e *envelope.Envelope) error {
		if found[e.ID] {
			return fmt.Errorf("%v is there twice", e.ID)
		}
		found[e.ID] = true
		for _, text := range h.texts[e.ID] {
			if plain(e) == text {
				return nil
			}
		}
		return fmt.Errorf("%v is none of what was written:\n%s", e.ID, plain(e))
	})
	if err != nil {
		return err
	}
	for id := range h.sure {
		if !found[id] {
			return fmt.Errorf("%v is lost", id)
		}
	}
	for id := range found {
		if h.gone[id] {
			return fmt.Errorf("%v is back", id)
		}
		body, err := readBody(s, id.Message())
		if err != nil || !bytes.Equal(body, h.bodies[id.Message()]) {
			return fmt.Errorf("body of %v: %d octets, %v", id, len(body), err)
		}
	}
	return s.Close()
}

// checkTwice looks at the disk again after it was written out by the first look.
func (h *history) checkTwice(d *memDisk) error {
	if err := h.check(d); err != nil {
		return err
	}
	if err := h.check(d); err != nil {
		return fmt.Errorf("after a clean stop: %w", err)
	}
	for _, dir := range []string{journalDir, incomingDir} {
		if names, err := d.ReadDir(dir); err != nil || len(names) > 0 {
			return fmt.Errorf("after a clean stop: %s holds %d files, %v", dir, len(names), err)
		}
	}
	return nil
}

// crashes cuts the power at every step of the scenario; it gives the first broken promise.
func crashes(lying bool) (steps int, err error) {
	for n := 1; ; n++ {
		d, h := newMemDisk(), newHistory()
		d.cutAt, d.lying = n, lying
		scenario(d, h)
		if !d.off {
			return n, nil
		}
		for name, keep := range fates(uint64(n)) {
			if err := h.checkTwice(d.crashed(keep)); err != nil {
				return n, fmt.Errorf("power cut at step %d, %s: %w", n, name, err)
			}
		}
	}
}

func TestPowerCut(t *testing.T) {
	steps, err := crashes(false)
	if err != nil {
		t.Error(err)
	}
	if steps < 100 {
		t.Errorf("only %d steps: the scenario does not do what it should", steps)
	}
	if _, err := crashes(true); err == nil {
		t.Error("a disk that does not sync passes too: the test proves nothing")
	}
}

// TestPowerCutRecovery cuts the power a second time, while the first cut is recovered from.
func TestPowerCutRecovery(t *testing.T) {
	for first := 20; ; first += 17 {
		d, h := newMemDisk(), newHistory()
		d.cutAt = first
		scenario(d, h)
		if !d.off {
			return
		}
		for name, keep := range fates(uint64(first)) {
			for second := 1; ; second++ {
				again := d.crashed(keep)
				again.cutAt = second
				h.check(again)
				if !again.off {
					break
				}
				if err := h.checkTwice(again.crashed(keep)); err != nil {
					t.Fatalf("cuts at %d and %d, %s: %v", first, second, name, err)
				}
			}
		}
	}
}

// TestFaults fails every operation once, and from it on for good; what was promised stays and the
// store can be used when the disk is well again.
func TestFaults(t *testing.T) {
	for _, sticky := range []bool{false, true} {
		for n := 1; ; n++ {
			d, h := newMemDisk(), newHistory()
			d.failAt, d.err, d.sticky = n, errFault, sticky
			scenario(d, h)
			if d.step < n {
				break
			}
			d.failAt = 0
			if err := h.checkTwice(d.crashed(func() bool { return false })); err != nil {
				t.Fatalf("fault at %d, sticky %t, then a power cut: %v", n, sticky, err)
			}
			if err := h.checkTwice(d); err != nil {
				t.Fatalf("fault at %d, sticky %t: %v", n, sticky, err)
			}
		}
	}
}

// TestUsable goes on with the same store after each fault.
func TestUsable(t *testing.T) {
	for n := 1; n < 30; n++ {
		d := newMemDisk()
		s := openMem(t, d)
		h := newHistory()
		d.failAt, d.err = d.step+n, errFault
		first := h.commit(s, []byte("first\n"), n%2 == 0, 2)
		s.flush()
		if first != nil {
			h.remove(s, first[0])
		}
		s.flush()
		d.failAt = 0
		second := h.commit(s, []byte("second\n"), false, 1)
		if second == nil {
			t.Fatalf("fault at %d: no commit afterwards", n)
		}
		if err := s.flush(); err != nil {
			t.Fatalf("fault at %d: %v", n, err)
		}
		closeStore(t, s)
		if err := h.checkTwice(d); err != nil {
			t.Fatalf("fault at %d: %v", n, err)
		}
	}
}

func TestNoSpace(t *testing.T) {
	d := newMemDisk()
	s, err := open(d, Options{MinFree: DefaultMinFree}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m := commit(t, s, []byte("x"), 1)
	next := &Message{ID: reserve(t, s), Body: []byte("y"), Envelopes: []*envelope.Envelope{testEnvelope(0, 1)}}
	for _, full := range []func(){func() { d.free.Blocks = 4 }, func() { d.free.Blocks, d.free.Inodes = 5, 4 }} {
		full()
		if _, err := s.Reserve(1); !errors.Is(err, ErrNoSpace) || !Temporary(err) {
			t.Errorf("Reserve: %v", err)
		}
		if err := s.Commit(next); !errors.Is(err, ErrNoSpace) {
			t.Errorf("Commit: %v", err)
		}
	}
	if err := s.Apply([]Change{{Op: Remove, ID: m.Envelopes[0].ID}}); err != nil {
		t.Errorf("mail cannot go: %v", err)
	}
	d.free.Inodes = 5
	if err := s.Commit(next); err != nil {
		t.Errorf("with space again: %v", err)
	}
}

// TestKill kills the process at every step: the disk keeps what was not synced, until the
// power goes in the life after that.
func TestKill(t *testing.T) {
	for n := 1; ; n++ {
		d, h := newMemDisk(), newHistory()
		d.cutAt = n
		scenario(d, h)
		if !d.off {
			return
		}
		d.off, d.cutAt = false, 0
		s, err := open(d, Options{SegmentAge: time.Hour}, nil)
		if err != nil {
			t.Fatal(err)
		}
		secondLife(t, s, h)
		after := d.crashed(func() bool { return false })
		s.Close()
		if err := h.checkTwice(after); err != nil {
			t.Fatalf("killed at %d, then a power cut: %v", n, err)
		}
		if err := h.checkTwice(d); err != nil {
			t.Fatalf("killed at %d: %v", n, err)
		}
	}
}

// secondLife takes what Load gives for the truth, and works with it.
func secondLife(t *testing.T, s *FS, h *history) {
	found := make(map[envelope.ID]bool)
	for id := range loads(t, s) {
		found[id] = true
		if id%2 == 0 {
			h.remove(s, id)
		} else {
			h.update(s, id, 50)
		}
	}
	for id := range h.texts {
		if !found[id] {
			h.gone[id] = true
			if h.sure[id] {
				t.Errorf("%v is lost", id)
			}
		}
	}
	h.commit(s, []byte("second life\n"), false, 1)
}
