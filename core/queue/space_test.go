package queue

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/compat/diskfree"
	"github.com/godwit-mta/godwit/core/envelope"
)

// setFree changes the room of the disk and has the store look.
func (s *FS) setFree(free diskfree.Space) {
	d := s.disk.(*memDisk)
	d.mu.Lock()
	d.free = free
	d.mu.Unlock()
	s.space.mu.Lock()
	s.space.at = time.Time{}
	s.space.mu.Unlock()
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
	for _, full := range []diskfree.Space{{Blocks: 4, Inodes: 100}, {Blocks: 5, Inodes: 4}} {
		s.setFree(full)
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
	s.setFree(diskfree.Space{Blocks: 5, Inodes: 5})
	if err := s.Commit(next); err != nil {
		t.Errorf("with space again: %v", err)
	}
}

func TestRoom(t *testing.T) {
	s, err := open(newMemDisk(), Options{MinFree: DefaultMinFree}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, test := range []struct {
		free diskfree.Space
		size int64
		want error
	}{
		{diskfree.Space{Blocks: 50, Inodes: 50, Free: 500, Size: 1000}, 0, nil},
		{diskfree.Space{Blocks: 50, Inodes: 50, Free: 500, Size: 1000}, 450, nil},
		{diskfree.Space{Blocks: 50, Inodes: 50, Free: 500, Size: 1000}, 451, ErrNoSpace},
		{diskfree.Space{Blocks: 50, Inodes: 50, Free: 500, Size: 1000}, math.MaxInt64, ErrNoSpace},
		{diskfree.Space{Blocks: 100, Inodes: 100, Free: math.MaxInt64, Size: math.MaxInt64}, 1 << 40, nil},
		{diskfree.Space{Blocks: 4, Inodes: 50, Free: 1 << 40, Size: 1 << 50}, 1, ErrNoSpace},
	} {
		s.setFree(test.free)
		if err := s.Room(test.size); !errors.Is(err, test.want) {
			t.Errorf("%d octets into %+v: %v", test.size, test.free, err)
		}
	}
}

// TestSpent commits until the room is gone of which the file system told before.
func TestSpent(t *testing.T) {
	s, err := open(newMemDisk(), Options{MinFree: DefaultMinFree}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.setFree(diskfree.Space{Blocks: 100, Inodes: 100, Free: 1 << 20, Size: 1 << 20})
	if err := s.Room(0); err != nil {
		t.Fatal(err)
	}
	s.space.at = time.Now().Add(time.Hour) // it is not asked again
	for n := 0; ; n++ {
		m := &Message{ID: 1 + envelope.MessageID(n), Body: make([]byte, 1<<16), Envelopes: []*envelope.Envelope{testEnvelope(0, 1)}}
		if err := s.Commit(m); errors.Is(err, ErrNoSpace) && n > 4 && n < 16 {
			return
		} else if err != nil || n > 100 {
			t.Fatalf("message %d: %v", n, err)
		}
	}
}

// TestSpaceCache commits much and asks the file system little.
func TestSpaceCache(t *testing.T) {
	d := newMemDisk()
	asked := 0
	d.before = func(_ *memDisk, op, _ string, _ bool) error {
		if op == "free" {
			asked++
		}
		return nil
	}
	s, err := open(d, Options{MinFree: DefaultMinFree}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	begin := time.Now()
	for range 100 {
		commit(t, s, []byte("x"), 1)
	}
	if most := int(time.Since(begin)/spaceAge) + 1; asked < 1 || asked > most {
		t.Errorf("asked %d times, at most %d are due", asked, most)
	}
}
