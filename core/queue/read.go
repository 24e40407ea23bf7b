package queue

import (
	"errors"
	"io/fs"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

// readTries bounds how often a text is looked up again because it was written out, and its
// segment closed, between the look at the index and the look at the disk.
const readTries = 4

// Body is of Store. An encoded text that is large is decoded into a file without a name.
func (s *FS) Body(id envelope.MessageID) (Body, error) {
	b, coded, err := s.stored(id)
	if err == nil && coded {
		return s.decodeBody(id, b)
	}
	return b, err
}

// stored gives the text of a message as it lies on the disk.
func (s *FS) stored(id envelope.MessageID) (b Body, coded bool, err error) {
	for range readTries {
		if err = s.complete(id); err != nil {
			return Body{}, false, err
		}
		s.mu.RLock()
		e := s.index.messages[id]
		var seg, off, size uint32
		var f file
		filed := s.index.filed(id)
		unlisted := e != nil && e.unlisted
		if e != nil && !unlisted {
			coded = e.coded
			if seg, off, size = e.seg, e.off, e.size; seg != inFile {
				f = s.index.segs[seg].f
			}
		}
		s.mu.RUnlock()
		if filed {
			if b, coded, err = s.openFiled(id); s.stillFiled(id) {
				return b, coded, err
			}
			b.Close()
			err = ErrNotFound
			continue
		}
		if e == nil {
			return Body{}, false, ErrNotFound
		}
		if unlisted {
			err = ErrNotFound
			continue
		}
		if seg == inFile {
			b, err = s.openBody(id, coded)
		} else {
			b = Body{Bytes: make([]byte, size), Size: int64(size)}
			_, err = f.ReadAt(b.Bytes, int64(off))
		}
		if err == nil {
			return b, coded, nil
		}
	}
	return Body{}, false, err
}

// openFiled opens the text of a message of which the journal does not speak.
func (s *FS) openFiled(id envelope.MessageID) (b Body, coded bool, err error) {
	for _, coded := range [...]bool{false, true} {
		b, err = openShared(s.disk, textFile(id, coded)) // not in incoming/: there it is not complete
		if !errors.Is(err, fs.ErrNotExist) {
			return b, coded, err
		}
	}
	return Body{}, false, ErrNotFound
}

// stillFiled reports whether what was read in the files of a message is all there is to know.
func (s *FS) stillFiled(id envelope.MessageID) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.index.filed(id)
}

// openBody opens the file of a text; it moves from the second place to the first.
func (s *FS) openBody(id envelope.MessageID, coded bool) (Body, error) {
	b, err := openShared(s.disk, textFile(id, coded))
	if errors.Is(err, fs.ErrNotExist) {
		b, err = openShared(s.disk, incomingFile(id))
	}
	return b, err
}

func openShared(d disk, name string) (Body, error) {
	f, err := d.OpenShared(name)
	if err != nil {
		return Body{}, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if err != nil {
		f.Close()
		return Body{}, err
	}
	return Body{File: f, Size: fi.Size()}, nil
}

// Envelope is of Store.
func (s *FS) Envelope(id envelope.ID) (*envelope.Envelope, error) {
	text, err := s.text(id)
	if err != nil {
		return nil, err
	}
	return s.parse(id, text)
}

// text gives the text of an envelope.
func (s *FS) text(id envelope.ID) (text []byte, err error) {
	for range readTries {
		if err = s.complete(id.Message()); err != nil {
			return nil, err
		}
		s.mu.RLock()
		var p place
		var f file
		e := s.index.messages[id.Message()]
		filed := s.index.filed(id.Message())
		unlisted := e != nil && e.unlisted
		found := e != nil && !unlisted
		if found {
			i := e.find(id)
			if found = i >= 0; found {
				if p = e.evps[i]; p.seg != inFile {
					f = s.index.segs[p.seg].f
				}
			}
		}
		s.mu.RUnlock()
		if filed {
			text, err = s.disk.ReadFile(envelopeFile(id), envelope.MaxText+maxGrowth)
			if !s.stillFiled(id.Message()) {
				err = ErrNotFound
				continue
			}
			if errors.Is(err, fs.ErrNotExist) {
				err = ErrNotFound
			}
			return text, err
		}
		if unlisted {
			err = ErrNotFound
			continue
		}
		if !found {
			return nil, ErrNotFound
		}
		if p.seg == inFile {
			text, err = s.disk.ReadFile(envelopeFile(id), envelope.MaxText+maxGrowth)
		} else {
			text = make([]byte, p.size)
			_, err = f.ReadAt(text, int64(p.off))
		}
		if err == nil {
			return text, nil
		}
	}
	return nil, err
}

func clampTimes(e *envelope.Envelope, now time.Time) {
	now = now.Truncate(time.Second)
	for _, t := range [...]*time.Time{&e.Created, &e.LastTry, &e.LastBounce} {
		if t.After(now) {
			*t = now
		}
	}
}
