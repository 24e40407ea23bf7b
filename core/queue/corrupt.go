package queue

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/godwit-mta/godwit/core/envelope"
)

// reasonSuffix ends the name of the file that says why another lies in corrupt/.
const reasonSuffix = ".reason"

// freeName gives a name in corrupt/ that nothing has.
func (s *FS) freeName(name string) string {
	free := corruptDir + "/" + name
	for n := 1; s.disk.Exists(free); n++ {
		free = fmt.Sprintf("%s/%s.%d", corruptDir, name, n)
	}
	return free
}

// quarantine takes an envelope that cannot be read out of the queue, with a second name of the
// message, for this may be the last that needs it.
func (s *FS) quarantine(id envelope.ID, reason error) {
	if err := s.setAside(id, reason); err != nil {
		s.log.Warnf("queue: envelope %v: %v; it cannot be moved to %s: %v", id, reason, corruptDir, err)
		return
	}
	s.log.Warnf("queue: envelope %v: %v; moved to %s", id, reason, corruptDir)
}

func (s *FS) setAside(id envelope.ID, reason error) error {
	s.out.Lock() // the files of one message are moved by one at a time
	defer s.out.Unlock()
	name := s.freeName(id.String())
	if err := s.writeFile(name+reasonSuffix, []byte(reason.Error()+"\n")); err != nil {
		return err
	}
	if err := s.keepMessage(id.Message()); err != nil {
		return err
	}
	text, err := s.textInJournal(id)
	switch {
	case err != nil:
		return err
	case text != nil:
		err = s.writeFile(name, text)
	default:
		if err = s.disk.Rename(envelopeFile(id), name); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	return s.disk.SyncDir(corruptDir)
}

// keepMessage puts a message beside its unreadable envelope, once.
func (s *FS) keepMessage(id envelope.MessageID) error {
	name := corruptDir + "/" + id.String() + "." + messageName
	if s.disk.Exists(name) {
		return nil
	}
	err := s.disk.Link(messageFile(id), name)
	if errors.Is(err, fs.ErrNotExist) {
		err = s.disk.Link(incomingFile(id), name)
	}
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	body, err := s.Body(id)
	if err != nil {
		return nil // it has none: that may be why
	}
	defer body.Close()
	if body.Bytes == nil {
		return nil
	}
	return s.writeFile(name, body.Bytes)
}

// textInJournal gives the text of an envelope that is in no file; nil: it is.
func (s *FS) textInJournal(id envelope.ID) ([]byte, error) {
	s.mu.RLock()
	inJournal := false
	if e := s.index.messages[id.Message()]; e != nil {
		if i := e.find(id); i >= 0 {
			inJournal = e.evps[i].seg != inFile
		}
	}
	s.mu.RUnlock()
	if !inJournal {
		return nil, nil
	}
	return s.text(id)
}

func (s *FS) writeFile(name string, b []byte) error {
	f, err := s.disk.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	return f.Sync()
}
