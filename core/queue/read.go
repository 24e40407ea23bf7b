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

// Body is of Store.
func (s *FS) Body(id envelope.MessageID) (b Body, err error) {
	for range readTries {
		s.mu.RLock()
		e := s.index.messages[id]
		var seg, off, size uint32
		var f file
		if e != nil {
			if seg, off, size = e.seg, e.off, e.size; seg != inFile {
				f = s.index.segs[seg].f
			}
		}
		s.mu.RUnlock()
		if e == nil {
			return Body{}, ErrNotFound
		}
		if seg == inFile {
			b, err = s.openBody(id)
		} else {
			b = Body{Bytes: make([]byte, size), Size: int64(size)}
			_, err = f.ReadAt(b.Bytes, int64(off))
		}
		if err == nil {
			return b, nil
		}
	}
	return Body{}, err
}

// openBody opens the file of a text; it moves from the second place to the first.
func (s *FS) openBody(id envelope.MessageID) (Body, error) {
	f, err := s.disk.OpenShared(messageFile(id))
	if errors.Is(err, fs.ErrNotExist) {
		f, err = s.disk.OpenShared(incomingFile(id))
	}
	if err != nil {
		return Body{}, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: messageFile(id), Err: fs.ErrInvalid}
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
			text, err = s.disk.ReadFile(envelopeFile(id), envelope.MaxText)
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

// parse reads an envelope. Times in the future become now: left alone, they would keep a
// message from being tried, or from expiring, until they come.
func (s *FS) parse(id envelope.ID, text []byte) (*envelope.Envelope, error) {
	e, err := envelope.Parse(id, text)
	if err != nil {
		return nil, err
	}
	clampTimes(e, s.now())
	return e, nil
}

func clampTimes(e *envelope.Envelope, now time.Time) {
	now = now.Truncate(time.Second)
	for _, t := range [...]*time.Time{&e.Created, &e.LastTry, &e.LastBounce} {
		if t.After(now) {
			*t = now
		}
	}
}
