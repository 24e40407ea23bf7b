package queue

import (
	"errors"
	"io/fs"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

// Limits of what is written out before it is synced.
const (
	batchMessages = 128
	batchFiles    = 256
	parallelSyncs = 32
)

// Pauses after a segment could not be written out.
const (
	firstRetry = 10 * time.Second
	lastRetry  = 10 * time.Minute
)

// writer writes out closed segments until the store is closed.
func (s *FS) writer() {
	defer close(s.gone)
	retry := time.NewTimer(time.Hour)
	retry.Stop()
	pause := firstRetry
	for {
		select {
		case <-s.stop:
			return
		case <-s.kick:
		case <-retry.C:
		}
		err := s.writeOut()
		if err == nil {
			pause = firstRetry
			continue
		}
		s.log.Warnf("queue: writing out the journal: %v", err)
		retry.Reset(pause)
		pause = min(2*pause, lastRetry)
	}
}

// writeOut removes the files of mail that is gone and writes out the closed segments.
func (s *FS) writeOut() error {
	s.out.Lock()
	defer s.out.Unlock()
	for {
		s.removeDoomed()
		s.mu.RLock()
		var seg *segment
		if len(s.closed) > 0 {
			seg = s.closed[0]
		}
		s.mu.RUnlock()
		if seg == nil {
			return nil
		}
		if err := s.retire(seg); err != nil {
			return err
		}
	}
}

// removeDoomed removes files whose removal is in the journal. Errors do not matter: the
// segment does not go before it was tried again.
func (s *FS) removeDoomed() {
	s.mu.Lock()
	doomed := s.index.doomed
	s.index.doomed = nil
	s.mu.Unlock()
	for _, id := range doomed {
		if uint32(id) == 0 {
			s.removeMessage(id.Message())
		} else {
			s.disk.Remove(envelopeFile(id))
		}
	}
}

// retire brings the files to what the index says of every message of a segment, makes that
// durable and removes the segment.
func (s *FS) retire(seg *segment) error {
	s.mu.RLock()
	ids := make([]envelope.MessageID, 0, len(seg.touched))
	for id, t := range seg.touched {
		if t != 0 || s.index.messages[id] != nil {
			ids = append(ids, id)
		}
	}
	s.mu.RUnlock()
	var failed error
	all := len(ids)
	for len(ids) > 0 {
		n := min(batchMessages, len(ids))
		if err := s.retireBatch(seg, ids[:n]); err != nil {
			failed = err
		} else if n < all {
			s.wroteOut(seg, n, all)
		}
		ids = ids[n:]
		s.removeDoomed()
	}
	if failed == nil {
		failed = s.removeSegment(seg)
	}
	if failed != nil {
		s.wroteNothing(seg)
		return failed
	}
	s.wroteOut(seg, 1, 1)
	return nil
}

// removeSegment takes away a segment whose contents are all in files. The directory is
// synced, because an old segment without those that followed it would bring dead mail back.
func (s *FS) removeSegment(seg *segment) (err error) {
	if seg.damaged {
		_, err = s.moveAside(seg.name(), strings.TrimPrefix(seg.name(), journalDir+"/"))
	} else {
		err = s.disk.Remove(seg.name())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.disk.SyncDir(journalDir); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index.retired(seg)
	s.closed = s.closed[1:]
	return seg.f.Close()
}

// spill is one message on its way into files.
type spill struct {
	id   envelope.MessageID
	t    touch
	e    *entry // nil: the message is gone
	copy entry  // of *e when it was looked at
}

// snapshot looks up messages. Those that will get files are marked, so that a removal from
// now on removes them.
func (s *FS) snapshot(seg *segment, ids []envelope.MessageID) []spill {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]spill, 0, len(ids))
	for _, id := range ids {
		m := spill{id: id, t: seg.touched[id], e: s.index.messages[id]}
		if m.e != nil {
			m.copy = *m.e
			m.copy.evps = append([]place(nil), m.e.evps...)
			m.e.dir = true
		}
		list = append(list, m)
	}
	return list
}

// retireBatch writes out some messages. One that fails does not keep the others back.
func (s *FS) retireBatch(seg *segment, ids []envelope.MessageID) error {
	w := &batchWriter{disk: s.disk, dirs: make(map[string]bool)}
	defer w.abort()
	ids, failed := s.listAll(ids)
	done := make([]spill, 0, len(ids))
	for _, m := range s.snapshot(seg, ids) {
		var err error
		if m.e == nil {
			err = s.clearMessage(w, m)
		} else {
			err = s.spillMessage(w, m)
		}
		if err != nil {
			failed = err
			continue
		}
		done = append(done, m)
	}
	if err := w.sync(); err != nil {
		return err
	}
	s.remember(s.settled(done))
	return failed
}

// settled notes which messages lie in files now, and gives these.
func (s *FS) settled(done []spill) (ids []envelope.MessageID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range done {
		if m.e == nil {
			continue
		}
		if s.index.messages[m.id] == m.e {
			s.index.spilled(m.e)
		}
		moved(m)
		ids = append(ids, m.id)
	}
	return ids
}

// listAll lists the files of messages that were not listed yet. It gives those that are known now.
func (s *FS) listAll(ids []envelope.MessageID) (listed []envelope.MessageID, failed error) {
	for _, id := range ids {
		if err := s.complete(id); err != nil {
			failed = err
			continue
		}
		listed = append(listed, id)
	}
	return listed, failed
}

// moved notes what lies in files now, unless it was changed or removed in the meantime.
func moved(m spill) {
	m.e.seg, m.e.off, m.e.size, m.e.incoming = inFile, 0, 0, false
	for _, p := range m.copy.evps {
		i := m.e.find(envelope.NewID(m.id, p.n))
		if i >= 0 && m.e.evps[i] == p {
			m.e.evps[i] = place{n: p.n}
		}
	}
}

// clearMessage removes the files of a message that is gone.
func (s *FS) clearMessage(w *batchWriter, m spill) error {
	if err := s.removeMessage(m.id); err != nil {
		return err
	}
	w.dirs[incomingDir] = true
	there, err := s.disk.Exists(bucket(m.id))
	if there {
		w.dirs[bucket(m.id)] = true
	}
	return err
}

// removeMessage removes the files of a message. What others put into its directory is kept
// in corrupt/.
func (s *FS) removeMessage(id envelope.MessageID) error {
	if err := s.disk.Remove(incomingFile(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	names, err := s.disk.ReadDir(messageDir(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	foreign := false
	for _, name := range names {
		if !ours(id, name) {
			foreign = true
			continue
		}
		if err := s.disk.Remove(messageDir(id) + "/" + name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if foreign {
		_, err = s.moveAside(messageDir(id), id.String())
		return err
	}
	return s.disk.Remove(messageDir(id))
}

// ours reports whether the store gave a name in the directory of a message.
func ours(id envelope.MessageID, name string) bool {
	name = strings.TrimSuffix(name, tmpSuffix)
	evp, err := envelope.ParseID(name)
	return name == messageName || name == messageName+encodedSuffix || err == nil && evp.Message() == id
}

// spillMessage writes what the journal holds of a message into files. What later segments hold
// is not left to them: an update there means nothing without the envelope here.
func (s *FS) spillMessage(w *batchWriter, m spill) error {
	fresh, err := w.mkdir(m.id)
	if err != nil {
		return err
	}
	if m.copy.seg != inFile {
		err = w.copy(s.segment(m.copy.seg), textFile(m.id, m.copy.coded), m.copy.off, m.copy.size, fresh)
	} else if m.copy.incoming {
		err = w.adopt(m.id, m.copy.coded)
	}
	if err != nil {
		return err
	}
	for _, p := range m.copy.evps {
		if p.seg != inFile {
			name := envelopeFile(envelope.NewID(m.id, p.n))
			if err := w.copy(s.segment(p.seg), name, p.off, p.size, fresh); err != nil {
				return err
			}
		}
	}
	if m.t&touchTrim != 0 && !fresh {
		return s.trim(m)
	}
	return nil
}

func (s *FS) segment(number uint32) *segment {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.index.segs[number]
}

// trim removes the files of envelopes that are gone.
func (s *FS) trim(m spill) error {
	onDisk, _, err := s.list(m.id)
	if err != nil {
		return err
	}
	for _, p := range onDisk.evps {
		id := envelope.NewID(m.id, p.n)
		if m.copy.find(id) < 0 {
			if err := s.disk.Remove(envelopeFile(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
