package queue

import (
	"errors"
	"testing"
	"time"
)

// TestUnlistedMessage fails to list a message that was written out and is spoken of in the
// journal: the store must not start without it.
func TestUnlistedMessage(t *testing.T) {
	d := newMemDisk()
	s := openMem(t, d)
	m := commit(t, s, []byte("body\n"), 2)
	flush(t, s)
	e := *m.Envelopes[0]
	e.Retry = 1
	if err := s.Apply([]Change{{Op: Update, Envelope: &e}}); err != nil {
		t.Fatal(err)
	}
	after := d.crashed(func() bool { return false })
	after.refuse("readdir", messageDir(m.ID), errFault)
	if s, err := open(after, Options{SegmentAge: time.Hour}, nil); !errors.Is(err, errFault) {
		if err == nil {
			s.Close()
		}
		t.Fatalf("opened without the message: %v", err)
	}
	after.refuse("", "", nil)
	s = openMem(t, after)
	if got := loads(t, s); len(got) != 2 || got[e.ID].Retry != 1 {
		t.Errorf("loaded %v", got)
	}
	flush(t, s)
	has(t, s, &Message{ID: m.ID, Envelopes: m.Envelopes[1:]}, []byte("body\n"))
}
