package cdb

import (
	"bufio"
	"fmt"
	"io"
	"math"
)

// Writer makes a constant database. It keeps 8 octets a record in memory.
type Writer struct {
	file   io.WriteSeeker
	buf    *bufio.Writer
	place  int64 // of the next octet
	most   int64 // the first place that is too far
	hashes [256][]slot
	n      int
}

// slot is a hash and the place of a record; 0 means free.
type slot struct{ hash, place uint32 }

// NewWriter begins a database in an empty file.
func NewWriter(file io.WriteSeeker) (*Writer, error) {
	w := &Writer{file: file, buf: bufio.NewWriterSize(file, 64<<10), place: HeaderSize, most: math.MaxUint32}
	_, err := w.buf.Write(make([]byte, HeaderSize))
	return w, err
}

// Add appends a record. Of several with the same key, the first is found.
func (w *Writer) Add(key, value []byte) error {
	if len(key) > MaxRecord || len(value) > MaxRecord {
		return fmt.Errorf("record longer than %d octets", MaxRecord)
	}
	size := int64(8 + len(key) + len(value))
	if w.place+size+16*int64(w.n+1) > w.most {
		return ErrTooLarge
	}
	var head [8]byte
	putPair(head[:], uint32(len(key)), uint32(len(value)))
	for _, b := range [...][]byte{head[:], key, value} {
		if _, err := w.buf.Write(b); err != nil {
			return err
		}
	}
	h := hash(key)
	w.hashes[h&255] = append(w.hashes[h&255], slot{h, uint32(w.place)})
	w.place += size
	w.n++
	return nil
}

// Close writes the hash tables and the header. It does not close the file, nor sync it.
func (w *Writer) Close() error {
	var header [HeaderSize]byte
	for i, hashes := range w.hashes {
		putPair(header[8*i:], uint32(w.place), uint32(2*len(hashes)))
		if err := w.table(hashes); err != nil {
			return err
		}
	}
	if err := w.buf.Flush(); err != nil {
		return err
	}
	if _, err := w.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := w.file.Write(header[:])
	return err
}

func (w *Writer) table(hashes []slot) error {
	slots := make([]slot, 2*len(hashes))
	for _, h := range hashes {
		i := int(h.hash>>8) % len(slots)
		for slots[i].place != 0 {
			i = (i + 1) % len(slots)
		}
		slots[i] = h
	}
	var b [8]byte
	for _, s := range slots {
		putPair(b[:], s.hash, s.place)
		if _, err := w.buf.Write(b[:]); err != nil {
			return err
		}
	}
	w.place += int64(8 * len(slots))
	return nil
}
