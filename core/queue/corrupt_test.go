package queue

import (
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/envelope"
)

// unreadable gives a disk with a message of two envelopes, the first of them rubbish, in files or
// with the files known to the journal.
func unreadable(t *testing.T, mentioned bool) (*memDisk, *Message) {
	t.Helper()
	d := newMemDisk()
	s := openMem(t, d)
	m := commit(t, s, []byte("body\n"), 2)
	flush(t, s)
	if mentioned {
		if err := s.Apply([]Change{{Op: Update, Envelope: m.Envelopes[1]}}); err != nil {
			t.Fatal(err)
		}
	}
	d = d.crashed(func() bool { return true })
	n, err := d.look("", envelopeFile(m.Envelopes[0].ID))
	if err != nil {
		t.Fatal(err)
	}
	n.data = []byte("rubbish")
	return d, m
}

func there(t *testing.T, d *memDisk, name string) bool {
	t.Helper()
	found, err := d.Exists(name)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestStuck cannot put an unreadable envelope into corrupt/: it must stay where it is, with its
// message, after the other envelope went.
func TestStuck(t *testing.T) {
	for _, mentioned := range []bool{false, true} {
		d, m := unreadable(t, mentioned)
		bad, good := m.Envelopes[0].ID, m.Envelopes[1].ID
		s := openMem(t, d)
		d.refuse("create", corruptDir+"/", errFault)
		if got := loads(t, s); len(got) != 1 || got[good] == nil {
			t.Fatalf("mentioned %t: loaded %v", mentioned, got)
		}
		if err := s.Apply([]Change{{Op: Remove, ID: good}}); err != nil {
			t.Fatal(err)
		}
		flush(t, s)
		closeStore(t, s)
		if !there(t, d, envelopeFile(bad)) || !there(t, d, messageFile(m.ID)) {
			t.Fatalf("mentioned %t: what could not be kept was removed", mentioned)
		}
		d.refuse("", "", nil)
		s = openMem(t, d)
		if got := loads(t, s); len(got) != 0 {
			t.Errorf("mentioned %t: loaded %v", mentioned, got)
		}
		flush(t, s)
		for _, name := range []string{bad.String(), bad.String() + reasonSuffix, m.ID.String() + ".message"} {
			if !there(t, d, corruptDir+"/"+name) {
				t.Errorf("mentioned %t: corrupt has no %s", mentioned, name)
			}
		}
		if there(t, d, messageDir(m.ID)) {
			t.Errorf("mentioned %t: the message stays", mentioned)
		}
	}
}

// TestNoLinks copies the message where a file cannot have two names.
func TestNoLinks(t *testing.T) {
	for _, mentioned := range []bool{false, true} {
		d, m := unreadable(t, mentioned)
		s := openMem(t, d)
		d.refuse("link", messageFile(m.ID), errFault)
		loads(t, s)
		name := corruptDir + "/" + m.ID.String() + ".message"
		if b, err := d.ReadFile(name, envelope.MaxText); err != nil || string(b) != "body\n" {
			t.Errorf("mentioned %t: %q, %v", mentioned, b, err)
		}
		if names, _ := d.ReadDir(corruptDir); len(names) != 3 || strings.Contains(strings.Join(names, " "), tmpSuffix) {
			t.Errorf("mentioned %t: corrupt holds %v", mentioned, names)
		}
	}
}

// TestUnseenBody cannot see whether a message has its text: nothing may be taken for missing.
func TestUnseenBody(t *testing.T) {
	d, m := unreadable(t, true)
	s := openMem(t, d)
	d.refuse("lstat", messageFile(m.ID), errFault)
	_ = s.Load(func(*envelope.Envelope) error { return nil })
	d.refuse("", "", nil)
	if err := s.j.rotate(); err != nil {
		t.Fatal(err)
	}
	flush(t, s)
	for _, e := range m.Envelopes {
		if !there(t, d, envelopeFile(e.ID)) {
			t.Errorf("%v is gone", e.ID)
		}
	}
}
