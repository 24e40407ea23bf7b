package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"

	"github.com/godwit-mta/godwit/core/envelope"
)

// How the store on disk uses its codec. Texts are encoded before they go anywhere, and copied as
// they are from the journal into files. An envelope's text shows by its first octet whether it is
// encoded. A message is a stranger's and may begin with anything: the journal or the name of its
// file says it.

// SetEncoding changes how texts are written from now on and which can be read.
func (s *FS) SetEncoding(e Encoding) error {
	c, err := newCodec(e)
	if err == nil {
		s.codec.Store(c)
	}
	return err
}

func ownerOfEnvelope(id envelope.ID) string { return "envelope " + id.String() }

func ownerOfMessage(id envelope.MessageID) string { return "message " + id.String() }

// appendEnvelope appends the text of an envelope, encoded or not, that can be read again.
func (s *FS) appendEnvelope(b []byte, e *envelope.Envelope) ([]byte, error) {
	c := s.codec.Load()
	if !c.encodes() {
		return appendEnvelope(b, e)
	}
	text, err := appendEnvelope(nil, e)
	if err != nil {
		return b, err
	}
	return c.encode(b, ownerOfEnvelope(e.ID), text)
}

// parse reads an envelope. Times in the future become now: left alone, they would keep a
// message from being tried, or from expiring, until they come.
func (s *FS) parse(id envelope.ID, text []byte) (*envelope.Envelope, error) {
	e := new(envelope.Envelope)
	if err := s.read(e, id, text); err != nil {
		return nil, err
	}
	return e, nil
}

// read is parse into what is there.
func (s *FS) read(e *envelope.Envelope, id envelope.ID, text []byte) (err error) {
	if encoded(text) {
		if text, err = s.codec.Load().decode(ownerOfEnvelope(id), text, envelope.MaxText); err != nil {
			return err
		}
	}
	if err = e.Read(id, string(text)); err == nil {
		clampTimes(e, s.now())
	}
	return err
}

// decodeBody reads an encoded text: a small one into memory, a larger one into a file without a
// name.
func (s *FS) decodeBody(id envelope.MessageID, b Body) (Body, error) {
	defer b.Close()
	s.decoding <- struct{}{}
	defer func() { <-s.decoding }()
	r := io.Reader(bytes.NewReader(b.Bytes))
	if b.File != nil {
		r = io.NewSectionReader(b.File, 0, b.Size)
	}
	d, err := s.codec.Load().decoder(r, ownerOfMessage(id), maxBody)
	if err != nil {
		return Body{}, err
	}
	defer d.close()
	if d.size > smallBody {
		f, err := s.nameless(id, d)
		return Body{File: f, Size: d.size}, err
	}
	w := &appendWriter{b: make([]byte, 0, d.size)}
	if _, err := io.Copy(w, d); err != nil {
		return Body{}, err
	}
	return Body{Bytes: w.b, Size: d.size}, nil
}

// maxBody bounds what an encoded message can claim to be, in octets; nothing is reserved for it.
const maxBody = 1 << 40

// decoders is the number of messages that are decoded at a time.
const decoders = 4

// plainSuffix ends the name that the file of a decoded text has for a moment.
const plainSuffix = ".plain"

// nameless writes what r gives into a file that has lost its name when it is used.
func (s *FS) nameless(id envelope.MessageID, r io.Reader) (*os.File, error) {
	name := fmt.Sprintf("%s.%08x%s", incomingFile(id), rand.Uint32(), plainSuffix)
	w, err := s.disk.CreateShared(name)
	if err != nil {
		return nil, err
	}
	defer s.removeFile(name)
	defer w.Close()
	if _, err := io.Copy(w, r); err != nil {
		return nil, err
	}
	return s.disk.OpenShared(name)
}

// removePlain removes decoded texts that kept their name because the process ended.
func (s *FS) removePlain(name string) {
	if strings.HasSuffix(name, plainSuffix) {
		s.removeFile(incomingDir + "/" + name)
	}
}

// isLocked reports whether an envelope cannot be read because its key is missing.
func isLocked(err error) bool {
	var e *KeyError
	return errors.As(err, &e)
}

// lock notes an envelope whose key is missing: it stays where it is.
func (s *FS) lock(id envelope.ID, err error) {
	s.mu.Lock()
	first := len(s.locked) == 0
	s.locked = append(s.locked, id)
	s.mu.Unlock()
	if first {
		s.log.Warnf("queue: envelope %v, and perhaps others, cannot be read: %v; they are held", id, err)
	}
}

// Locked gives the envelopes that Load did not give because their keys are missing, once.
func (s *FS) Locked() []envelope.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := s.locked
	s.locked = nil
	return ids
}
