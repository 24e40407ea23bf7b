package queue

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/compat/diskfree"
)

// spaceAge is how long what the file system said of its room is believed. Asking costs a system call, on
// some file systems much more.
const spaceAge = 100 * time.Millisecond

// fsBlock is what a small file takes of a file system, in octets.
const fsBlock = 4096

// space is what the file system said last, and what was taken since then.
type space struct {
	mu    sync.Mutex
	at    time.Time
	free  diskfree.Space
	spent int64 // octets, with those that the journal will take when it is written out
}

// Room refuses mail before the disk is full, with ErrNoSpace: what is queued needs some room to go out. A
// message of size octets, 0 for one that is not known to be large, has to fit above the limit.
func (s *FS) Room(size int64) error {
	if s.backlog.refuses() {
		return ErrBehind
	}
	return s.take(size, false)
}

// take is Room, and counts the octets when they are to be written now.
func (s *FS) take(size int64, now bool) error {
	if s.opts.MinFree <= 0 {
		return nil
	}
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	err := s.askSpace()
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	free := &s.space.free
	if free.Blocks < s.opts.MinFree || free.Inodes < s.opts.MinFree {
		return ErrNoSpace
	}
	if free.Size > 0 && free.Free-s.space.spent-size < free.Size/100*int64(s.opts.MinFree) {
		return ErrNoSpace
	}
	if now {
		s.space.spent += size
	}
	return nil
}

// askSpace asks the file system when its last answer is old.
func (s *FS) askSpace() error {
	now := time.Now()
	if !s.space.at.IsZero() && now.Sub(s.space.at) < spaceAge {
		return nil
	}
	free, err := s.disk.Free()
	if err == nil {
		s.mu.RLock()
		s.space.at, s.space.free, s.space.spent = now, free, s.index.toFiles
		s.mu.RUnlock()
	}
	return err
}

// spaceError makes an ErrNoSpace of an error that comes from a full disk or quota.
func spaceError(err error) error {
	if diskfree.Full(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}
