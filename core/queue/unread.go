package queue

import (
	"sync"

	"github.com/godwit-mta/godwit/core/envelope"
)

// unread is what the disk did not give to Load: envelopes, messages, which have the lower half zero, and
// directories.
type unread struct {
	mu   sync.Mutex
	ids  []envelope.ID
	dirs []string
}

func (u *unread) add(ids ...envelope.ID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ids = append(u.ids, ids...)
}

func (u *unread) addDir(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.dirs = append(u.dirs, name)
}

func (u *unread) take() (ids []envelope.ID, dirs []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	ids, dirs = u.ids, u.dirs
	u.ids, u.dirs = nil, nil
	return ids, dirs
}

// Unread gives the number of messages, envelopes and directories that the disk did not give to Load.
func (s *FS) Unread() int {
	s.unread.mu.Lock()
	defer s.unread.mu.Unlock()
	return len(s.unread.ids) + len(s.unread.dirs)
}

// LoadAgain is Load for what the disk did not give to it. Envelopes that were given may be given again when a
// directory could not be read. It is to be called by one at a time, after Load.
func (s *FS) LoadAgain(f func(*envelope.Envelope) error) error {
	ids, dirs := s.unread.take()
	for _, id := range ids {
		if uint32(id) == 0 {
			load := s.loadMessage
			if known, _ := s.known(id.Message()); known {
				load = s.loadAnew
			}
			if err := load(id.Message(), f); err != nil {
				return err
			}
			continue
		}
		failed, err := s.loadRecovered([]envelope.ID{id}, f)
		if err != nil {
			return err
		}
		s.unread.add(failed...)
	}
	if len(dirs) == 1 && dirs[0] == queueDir {
		return s.loadFiles(f)
	}
	return s.loadLast(dirs, f)
}
