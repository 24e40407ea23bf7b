package queue

import (
	"bytes"
	"errors"
	"io/fs"
	"testing"

	"github.com/godwit-mta/godwit/core/envelope"
)

// TestUnlistedMessage fails to list a message that was written out and is spoken of in the
// journal: the others are there, its segment stays, and the next start has it.
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
	s = openMem(t, after)
	other := commit(t, s, []byte("other\n"), 1)
	if got := loads(t, s); len(got) != 0 {
		t.Errorf("loaded %v", got)
	}
	if n := s.Unread(); n != 1 {
		t.Errorf("%d unread", n)
	}
	if _, err := s.Envelope(e.ID); !errors.Is(err, errFault) {
		t.Errorf("an envelope of the message that cannot be listed: %v", err)
	}
	if err := s.flush(); !errors.Is(err, errFault) {
		t.Errorf("written out: %v", err)
	}
	after.refuse("", "", nil)
	n := 0
	if err := s.LoadAgain(func(*envelope.Envelope) error { n++; return nil }); err != nil || n != 2 || s.Unread() != 0 {
		t.Errorf("%d loaded again, %v", n, err)
	}
	closeStore(t, s)
	s = openMem(t, after)
	if got := loads(t, s); len(got) != 3 || got[e.ID].Retry != 1 {
		t.Errorf("loaded %v", got)
	}
	has(t, s, other, []byte("other\n"))
	flush(t, s)
	has(t, s, &Message{ID: m.ID, Envelopes: m.Envelopes[1:]}, []byte("body\n"))
}

// TestUnclaimed damages the records that begin messages: their large texts, and what was already
// written out of them, are kept.
func TestUnclaimed(t *testing.T) {
	d := newMemDisk()
	s := openMem(t, d)
	sc := &script{d: d, s: s, o: newOracle(), ack: func() {}}
	sc.stream([]byte("a streamed text\n"), 1)
	sc.stream([]byte("a text half written out\n"), 1)
	streamed, begun := sc.ids[0], envelope.NewID(sc.ids[1], 1)
	e := testEnvelope(begun, 3)
	other := commit(t, s, []byte("whole\n"), 1)
	if err := s.Apply([]Change{{Op: Update, Envelope: e}}); err != nil {
		t.Fatal(err)
	}
	after := d.crashed(func() bool { return false })
	for _, dir := range []string{bucket(begun.Message()), messageDir(begun.Message())} {
		if err := after.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
	}
	if err := after.Rename(incomingFile(begun.Message()), messageFile(begun.Message())); err != nil {
		t.Fatal(err)
	}
	for _, n := range after.top.names[journalDir].names {
		for _, id := range []envelope.MessageID{streamed, begun.Message()} {
			n.data[bytes.Index(n.data, []byte("message "+id.String()))] ^= 1
		}
	}
	s = openMem(t, after)
	if got := loads(t, s); len(got) != 1 {
		t.Errorf("loaded %v", got)
	}
	has(t, s, other, []byte("whole\n"))
	closeStore(t, s)
	closeStore(t, openMem(t, after))
	for name, want := range map[string]string{
		streamed.String():                     "a streamed text\n",
		begun.Message().String() + "/message": "a text half written out\n",
	} {
		if b, err := after.ReadFile(corruptDir+"/"+name, 1000); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if !there(t, after, corruptDir+"/"+streamed.String()+reasonSuffix) {
		t.Error("nothing says why")
	}
}
