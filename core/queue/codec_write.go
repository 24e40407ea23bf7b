package queue

import (
	"crypto/cipher"
	"encoding/binary"
	"io"
)

// encoder writes one encoded text. Its head is written first and, because the size is not
// known then, given once more by Close.
type encoder struct {
	head   []byte
	size   int64 // of the plain text so far
	comp   io.WriteCloser
	sealed *sealer // nil: not encrypted
	done   func()
}

// encoder begins a text that belongs to owner.
func (c *codec) encoder(w io.Writer, owner string) (*encoder, error) {
	head, aead, err := c.head()
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(head); err != nil {
		return nil, err
	}
	e := &encoder{head: head}
	if aead != nil {
		e.sealed = &sealer{w: w, aead: aead, bound: bound(head, owner)}
		w = e.sealed
	}
	e.comp, e.done, err = c.compressor(w)
	return e, err
}

func (e *encoder) Write(b []byte) (int, error) {
	n, err := e.comp.Write(b)
	e.size += int64(n)
	return n, err
}

// finish ends the text and gives the head that takes the place of the one that was written.
func (e *encoder) finish() (head []byte, err error) {
	if err = e.comp.Close(); err == nil {
		e.done()
		if e.sealed != nil {
			err = e.sealed.last(e.size)
		}
	}
	putSize(e.head, e.size)
	return e.head, err
}

// sealer encrypts in chunks.
type sealer struct {
	w     io.Writer
	aead  cipher.AEAD
	bound []byte
	n     uint64 // chunks so far
	buf   []byte // less than one, or one that may be the last
	out   []byte
}

func (s *sealer) Write(b []byte) (n int, err error) {
	n = len(b)
	for len(b) > 0 {
		if len(s.buf) == chunkSize {
			if err := s.seal(false, s.bound); err != nil {
				return 0, err
			}
		}
		m := min(len(b), chunkSize-len(s.buf))
		s.buf = append(s.buf, b[:m]...)
		b = b[m:]
	}
	return n, nil
}

func (s *sealer) last(size int64) error {
	return s.seal(true, binary.BigEndian.AppendUint64(s.bound, uint64(size)))
}

func (s *sealer) seal(last bool, bound []byte) error {
	s.out = s.aead.Seal(s.out[:0], nonce(s.n, last), s.buf, bound)
	s.n++
	s.buf = s.buf[:0]
	_, err := s.w.Write(s.out)
	return err
}

// appendWriter appends to a slice.
type appendWriter struct{ b []byte }

func (w *appendWriter) Write(b []byte) (int, error) {
	w.b = append(w.b, b...)
	return len(b), nil
}

// encode appends an encoded text to b.
func (c *codec) encode(b []byte, owner string, text []byte) ([]byte, error) {
	w := &appendWriter{b: b}
	at := len(b)
	e, err := c.encoder(w, owner)
	if err == nil {
		_, err = e.Write(text)
	}
	if err != nil {
		return b, err
	}
	head, err := e.finish()
	copy(w.b[at:], head)
	return w.b, err
}

// fileWriter writes a file from its beginning.
type fileWriter struct {
	f   io.WriterAt
	off int64
}

func (w *fileWriter) Write(b []byte) (int, error) {
	n, err := w.f.WriteAt(b, w.off)
	w.off += int64(n)
	return n, err
}

// encodeTo writes all of r into a file and gives the size of the plain text.
func (c *codec) encodeTo(f io.WriterAt, owner string, r io.Reader) (int64, error) {
	e, err := c.encoder(&fileWriter{f: f}, owner)
	if err != nil {
		return 0, err
	}
	if _, err = io.Copy(e, r); err != nil {
		return 0, err
	}
	head, err := e.finish()
	if err == nil {
		_, err = f.WriteAt(head, 0)
	}
	return e.size, err
}
