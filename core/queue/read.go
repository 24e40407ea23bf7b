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
		s.mu.RLock()
		e := s.index.messages[id]
		var seg, off, size uint32
		var f file
		if e != nil {
			coded = e.coded
			if seg, off, size = e.seg, e.off, e.size; seg != inFile {
				f = s.index.segs[seg].f
			}
		}
		s.mu.RUnlock()
		if e == nil {
			return Body{}, false, ErrNotFound
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

// openBody opens the file of a text; it moves from the second place to the first.
func (s *FS) openBody(id envelope.MessageID, coded bool) (Body, error) {
	f, err := s.disk.OpenShared(textFile(id, coded))
	if errors.Is(err, fs.ErrNotExist) {
		f, err = s.disk.OpenShared(incomingFile(id))
	}
	if err != nil {
		return Body{}, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: textFile(id, coded), Err: fs.ErrInvalid}
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
		s.mu.RLock()
		var p place
		var f file
		e := s.index.messages[id.Message()]
		found := e != nil
		if found {
			i := e.find(id)
			if found = i >= 0; found {
				if p = e.evps[i]; p.seg != inFile {
					f = s.index.segs[p.seg].f
				}
			}
		}
		s.mu.RUnlock()
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
