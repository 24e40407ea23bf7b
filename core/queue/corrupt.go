package queue

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/godwit-mta/godwit/core/envelope"
)

// reasonSuffix ends the name of the file that says why another lies in corrupt/.
const reasonSuffix = ".reason"

// freeName gives a name in corrupt/ that nothing has.
func (s *FS) freeName(name string) (string, error) {
	free := corruptDir + "/" + name
	for n := 1; ; n++ {
		found, err := s.disk.Exists(free)
		if !found {
			return free, err
		}
		free = fmt.Sprintf("%s/%s.%d", corruptDir, name, n)
	}
}

// moveAside moves what lies at from into corrupt/ and gives its name there.
func (s *FS) moveAside(from, name string) (string, error) {
	free, err := s.freeName(name)
	if err != nil {
		return "", err
	}
	return free, s.disk.Rename(from, free)
}

// quarantine takes an envelope that cannot be read out of the queue, with a second name of the
// message, for this may be the last that needs it. After an error the envelope has to stay.
func (s *FS) quarantine(id envelope.ID, reason error) error {
	if err := s.setAside(id, reason); err != nil {
		s.log.Warnf("queue: envelope %v: %v; it cannot be moved to %s: %v", id, reason, corruptDir, err)
		return err
	}
	s.log.Warnf("queue: envelope %v: %v; moved to %s", id, reason, corruptDir)
	return nil
}

func (s *FS) setAside(id envelope.ID, reason error) error {
	s.out.Lock() // the files of one message are moved by one at a time
	defer s.out.Unlock()
	name, err := s.freeName(id.String())
	if err != nil {
		return err
	}
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
	body, coded, err := s.stored(id)
	if errors.Is(err, ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return nil // it has none: that may be why
	}
	if err != nil {
		return err
	}
	defer body.Close()
	name := corruptDir + "/" + id.String() + "." + messageName
	if coded {
		name += encodedSuffix
	}
	if found, err := s.disk.Exists(name); found || err != nil {
		return err
	}
	for _, from := range [...]string{textFile(id, coded), incomingFile(id)} {
		if s.disk.Link(from, name) == nil {
			return nil
		}
	}
	if err := s.copyBody(name+tmpSuffix, body); err != nil {
		return err
	}
	return s.disk.Rename(name+tmpSuffix, name)
}

// copyBody writes a text that has no file or one that cannot have a second name.
func (s *FS) copyBody(name string, body Body) error {
	if body.File == nil {
		return s.writeFile(name, body.Bytes)
	}
	f, err := s.disk.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(io.NewOffsetWriter(f, 0), io.NewSectionReader(body.File, 0, body.Size))
	if err == nil && n != body.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	return f.Sync()
}

// textInJournal gives the text of an envelope that is in no file; nil: it is.
func (s *FS) textInJournal(id envelope.ID) ([]byte, error) {
	if err := s.complete(id.Message()); err != nil {
		return nil, err
	}
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
