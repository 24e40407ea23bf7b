package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/godwit-mta/godwit/core/envelope"
)

// recover reads the journal into the index and gives the number of the next segment. The
// segments stay: they are written out while the server works. They are synced, because what
// is read may have been written just before the process, but not the system, went down.
func (s *FS) recover() (next uint32, err error) {
	segs, err := s.findSegments()
	if err != nil {
		return 0, err
	}
	if err := s.disk.SyncDir(journalDir); err != nil {
		return 0, err
	}
	s.index.recovery = true
	damaged := false
	for _, seg := range segs {
		if seg.f, err = s.disk.Open(seg.name()); err != nil {
			return 0, err
		}
		s.index.segs[seg.number] = seg
		s.closed = append(s.closed, seg)
		if err := seg.f.Sync(); err != nil {
			s.log.Warnf("queue: %s: %v", seg.name(), err)
		}
		if err := seg.scan(func(at int64, r *record) error { return s.replay(seg, at, r) }); err != nil {
			return 0, err
		}
		if seg.unread > 0 {
			s.log.Warnf("queue: %s: the disk does not give %d octets", seg.name(), seg.unread)
		}
		if seg.damaged {
			damaged = true
			s.log.Warnf("queue: %s is damaged, mail may be lost; it will be kept in %s", seg.name(), corruptDir)
		}
		if seg.torn > 0 {
			s.log.Infof("info: queue: %s ends in %d octets of unfinished records, which are left out", seg.name(), seg.torn)
		}
		next = seg.number
	}
	s.index.recovery = false
	s.index.doomed = nil // the segments that are written out say the same
	if damaged {
		if err := s.completeAll(); err != nil {
			return 0, err
		}
	}
	if err := s.settleMessages(damaged); err != nil {
		return 0, err
	}
	return next + 1, s.cleanIncoming(damaged)
}

// settleMessages takes messages without envelopes out of the index: the journal speaks of them
// and did not begin them. After damage what began them may be lost, so their files are kept.
func (s *FS) settleMessages(damaged bool) error {
	for id, e := range s.index.messages {
		if len(e.evps) > 0 || e.unlisted {
			s.recovered = append(s.recovered, id)
			continue
		}
		s.index.spilled(e)
		delete(s.index.messages, id)
		if damaged {
			if err := s.keepUnclaimed(messageDir(id), id); err != nil {
				return err
			}
		}
	}
	return nil
}

// keepUnclaimed moves files to corrupt/ whose record may have been in a damaged segment.
func (s *FS) keepUnclaimed(from string, id envelope.MessageID) error {
	name, err := s.moveAside(from, id.String())
	if err != nil {
		return err
	}
	if err := s.disk.SyncDir(corruptDir); err != nil {
		return err
	}
	if err := s.writeFile(name+reasonSuffix, []byte(errUnclaimed.Error()+"\n")); err != nil {
		s.log.Warnf("queue: %v", err)
	}
	s.log.Warnf("queue: %s: %v; moved to %s", from, errUnclaimed, name)
	return nil
}

// findSegments gives the segments in their order.
func (s *FS) findSegments() ([]*segment, error) {
	names, err := s.disk.ReadDir(journalDir)
	if err != nil {
		return nil, err
	}
	var segs []*segment
	for _, name := range names {
		if seg, ok := parseSegmentName(name); ok {
			segs = append(segs, seg)
		} else {
			s.log.Warnf("queue: %s/%s is no part of the journal", journalDir, name)
		}
	}
	slices.SortFunc(segs, func(a, b *segment) int { return int(int64(a.number) - int64(b.number)) })
	for i := 1; i < len(segs); i++ {
		if segs[i].number == segs[i-1].number {
			return nil, fmt.Errorf("two segments of the journal have the number %d", segs[i].number)
		}
	}
	return segs, nil
}

// replay carries out a record. The first mention of a message that does not begin it concerns one
// that was written out: its files say which envelopes it had. They are listed when somebody needs to
// know, so that the start does not wait for it.
func (s *FS) replay(seg *segment, at int64, r *record) error {
	weight := r.weight() + int64(r.body)
	seg.weight += weight
	s.backlog.grow(weight)
	for _, o := range r.ops {
		s.index.apply(seg, at, r, o)
	}
	return nil
}

// complete lists the files of a message of which the journal speaks and that it did not begin, if
// that was not done. Nobody changes them before.
func (s *FS) complete(id envelope.MessageID) error {
	s.mu.RLock()
	e := s.index.messages[id]
	done := e == nil || !e.unlisted
	s.mu.RUnlock()
	if done {
		return nil
	}
	files, _, err := s.list(id)
	if errors.Is(err, fs.ErrNotExist) {
		files, err = &entry{}, nil
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.index.messages[id] == e && e.unlisted {
		s.index.complete(id, e, files)
	}
	return nil
}

// completeAll lists every message at once: after damage those that turn out to be empty are kept.
func (s *FS) completeAll() error {
	for id, e := range s.index.messages {
		if !e.unlisted {
			continue
		}
		if err := s.complete(id); err != nil {
			return err
		}
		there, err := s.disk.Exists(messageDir(id))
		if err != nil {
			return err
		}
		if there && s.index.messages[id] == nil {
			s.index.messages[id] = e // for settleMessages
		}
	}
	return nil
}

// list reads the directory of a message. It gives its envelopes, none of them read, and
// whether the message itself is there.
func (s *FS) list(id envelope.MessageID) (e *entry, message bool, err error) {
	names, err := s.disk.ReadDir(messageDir(id))
	if err != nil {
		return nil, false, err
	}
	e = &entry{dir: true, evps: make([]place, 0, max(1, len(names)-1))}
	plain := false
	for _, name := range names {
		if name == messageName || name == messageName+encodedSuffix {
			message, plain = true, plain || name == messageName
		} else if evp, err := envelope.ParseID(name); err == nil && evp.Message() == id {
			e.evps = append(e.evps, place{n: uint32(evp)})
		}
	}
	e.coded = message && !plain
	return e, message, nil
}

// cleanIncoming removes what was being streamed when the store went down. Nobody was told
// that it was kept, unless a damaged segment said so: then it goes to corrupt/.
func (s *FS) cleanIncoming(damaged bool) error {
	names, err := s.disk.ReadDir(incomingDir)
	if err != nil {
		return err
	}
	for _, name := range names {
		id, err := envelope.ParseMessageID(name)
		if err != nil {
			s.removePlain(name)
			continue
		}
		if e := s.index.messages[id]; e != nil && e.incoming {
			continue
		}
		if !damaged {
			s.removeFile(incomingFile(id))
		} else if err := s.keepUnclaimed(incomingFile(id), id); err != nil {
			return err
		}
	}
	return nil
}
