package queue

import (
	"errors"
	"testing"

	"github.com/godwit-mta/godwit/core/envelope"
)

// TestFiledCostsNothing keeps mail that was written out, and what was loaded, out of the index, also after it was
// changed and looked at.
func TestFiledCostsNothing(t *testing.T) {
	d := newMemDisk()
	s := openMem(t, d)
	body := []byte("body\n")
	m, other := commit(t, s, body, 2), commit(t, s, body, 1)
	flush(t, s)
	has(t, s, m, body)
	if n := len(s.index.messages); n > 0 {
		t.Errorf("%d messages in the index after writing out", n)
	}
	m.Envelopes[1].Retry = 3
	if err := s.Apply([]Change{{Op: Update, Envelope: m.Envelopes[1]}, {Op: Remove, ID: other.Envelopes[0].ID}}); err != nil {
		t.Fatal(err)
	}
	has(t, s, m, body)
	if _, err := s.Body(other.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("text of what was removed: %v", err)
	}
	flush(t, s)
	has(t, s, m, body)
	if _, err := s.Body(other.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("text of what was removed and written out: %v", err)
	}
	closeStore(t, s)
	s = openMem(t, d)
	if got := loads(t, s); len(got) != 2 || got[m.Envelopes[1].ID].Retry != 3 {
		t.Errorf("loaded %v", got)
	}
	if n := len(s.index.messages); n > 0 {
		t.Errorf("%d messages in the index after loading", n)
	}
}

// TestChangeOfWhatIsNotThere changes what has no file, and adds to it.
func TestChangeOfWhatIsNotThere(t *testing.T) {
	s := openMem(t, newMemDisk())
	m := commit(t, s, []byte("body\n"), 1)
	flush(t, s)
	absent, there := testEnvelope(envelope.NewID(m.ID, 5), 1), testEnvelope(m.Envelopes[0].ID, 9)
	nowhere := testEnvelope(envelope.NewID(m.ID^1, 5), 1)
	err := s.Apply([]Change{{Op: Update, Envelope: absent}, {Op: Update, Envelope: there}, {Op: Add, Envelope: nowhere}})
	if !errors.Is(err, ErrNotFound) {
		t.Errorf("no envelope there: %v", err)
	}
	has(t, s, &Message{ID: m.ID, Envelopes: []*envelope.Envelope{there}}, []byte("body\n"))
	if _, err := s.Envelope(absent.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("an envelope came to be by an update: %v", err)
	}
	flush(t, s)
	has(t, s, &Message{ID: m.ID, Envelopes: []*envelope.Envelope{there}}, []byte("body\n"))
}

// TestChangeBeforeLoad changes mail in files while it is loaded and Load has not come to it: it is given as it is then,
// once, whether the change was written out meanwhile or not.
func TestChangeBeforeLoad(t *testing.T) {
	for _, out := range []bool{false, true} {
		d := newMemDisk()
		s := openMem(t, d)
		var all []*Message
		for range 20 {
			all = append(all, commit(t, s, []byte("body\n"), 2))
		}
		closeStore(t, s)
		s = openMem(t, d)
		for _, m := range all {
			m.Envelopes[0].Retry = 7
			err := s.Apply([]Change{{Op: Update, Envelope: m.Envelopes[0]}, {Op: Remove, ID: m.Envelopes[1].ID}})
			if err != nil {
				t.Fatal(err)
			}
		}
		late := commit(t, s, []byte("late\n"), 1)
		if out {
			flush(t, s)
			if err := s.Apply([]Change{{Op: Update, Envelope: late.Envelopes[0]}}); err != nil {
				t.Fatal(err)
			}
		}
		got := loads(t, s)
		if len(got) != len(all) {
			t.Errorf("written out %t: %d of %d loaded", out, len(got), len(all))
		}
		for id, e := range got {
			if e.Retry != 7 {
				t.Errorf("written out %t: %v is loaded as it was before", out, id)
			}
		}
	}
}

// TestStreamedIsNotSeen checks that a text that is being streamed is nobody's message yet.
func TestStreamedIsNotSeen(t *testing.T) {
	s := openAt(t, t.TempDir())
	loads(t, s)
	id := reserve(t, s)
	f, err := s.Create(id)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("half a"); err != nil {
		t.Fatal(err)
	}
	if b, err := s.Body(id); !errors.Is(err, ErrNotFound) {
		b.Close()
		t.Errorf("a message that is being received: %v, want %v", err, ErrNotFound)
	}
}
