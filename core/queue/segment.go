package queue

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"

	"github.com/godwit-mta/godwit/core/envelope"
)

// segment is one file of the journal. It is written until it is full, old or failed, and
// never again after a restart. Only touched changes later, under the lock of the store.
type segment struct {
	number  uint32
	nonce   uint64
	f       file
	size    int64 // end of what was synced or, of one that was read, of the last good record
	room    int64 // end of what was written, with zeros behind the records
	damaged bool  // something that had been synced cannot be read
	unread  int64 // octets that the disk does not give
	torn    int64 // octets of records after the last good one that nobody was promised
	touched map[envelope.MessageID]touch

	weight int64 // see backlog
	credit int64 // of it, what was written out already
	tried  bool  // it could not be written out once
}

// touch says what has to be done with the files of a message before a segment that speaks of
// it may go. The zero touch: nothing, unless the message is still queued.
type touch uint8

const (
	touchTrim touch = 1 << iota // envelopes were removed that may have files
	touchGone                   // the message went, and may have files
)

func (s *segment) name() string {
	return fmt.Sprintf("%s/%010d-%016x", journalDir, s.number, s.nonce)
}

func (s *segment) touch(id envelope.MessageID, t touch) { s.touched[id] |= t }

// parseSegmentName reads the name of a file in journal/.
func parseSegmentName(name string) (*segment, bool) {
	if len(name) != 27 || name[10] != '-' {
		return nil, false
	}
	n, ok := number([]byte(name[:10]))
	nonce, err := strconv.ParseUint(name[11:], 16, 64)
	if !ok || err != nil || n == 0 || n >= 1<<32 {
		return nil, false
	}
	s := &segment{number: uint32(n), nonce: nonce, touched: make(map[envelope.MessageID]touch)}
	return s, s.name() == journalDir+"/"+name
}

// scan calls f for every good record of a segment, until f fails, and sets size, damaged and
// torn. A record that
// is bad because the power went while it was written ends the segment: nobody was told that it
// was kept. One that is bad although a later one tells that it had been synced is
// damage: it is skipped, as is a whole one whose operations are not known. What the disk does not give is
// damage as well, if it is little; otherwise the scan ends with the error. The record's buffer holds header and operations and is valid in f only.
func (s *segment) scan(f func(at int64, r *record) error) error {
	size, err := s.f.Size()
	if err != nil {
		return err
	}
	w := &window{f: s.f, size: size}
	for at := int64(0); at < size; {
		r, _, err := s.readRecord(w, at)
		if err == nil {
			if err := f(at, r); err != nil {
				return err
			}
			at += int64(len(r.buf) + r.body)
			s.size = at
			continue
		}
		if errors.Is(err, errOps) {
			s.damaged = true
			at += int64(len(r.buf) + r.body)
			continue
		}
		if !bad(err) {
			return fmt.Errorf("%s: %w", s.name(), err)
		}
		next, synced, err := s.findRecord(w, at)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name(), err)
		}
		if !synced && (next == 0 || len(w.bad) == 0) {
			if s.torn, err = leftover(w, at); err != nil {
				return fmt.Errorf("%s: %w", s.name(), err)
			}
			break
		}
		s.damaged = true
		at = next
	}
	if len(w.bad) > 0 && s.size == 0 {
		return fmt.Errorf("%s: %w", s.name(), w.err)
	}
	s.unread = int64(len(w.bad)) * badBlock
	s.damaged = s.damaged || len(w.bad) > 0
	return nil
}

// leftover gives how much of a segment from an offset on is more than room for records, which is zeros.
func leftover(w *window, at int64) (n int64, err error) {
	for from := at; from < w.size; {
		b, err := w.at(from, int(min(w.size-from, windowSize)))
		if err != nil {
			return 0, err
		}
		from += int64(len(b))
		if rest := bytes.TrimRight(b, "\x00"); len(rest) > 0 {
			n = from - int64(len(b)-len(rest)) - at
		}
	}
	return n, nil
}

// bad reports whether an error speaks of what was read, not of the reading.
func bad(err error) bool {
	return errors.Is(err, errHeader) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// readRecord reads and checks the record at an offset. With errOps it gives one without operations.
func (s *segment) readRecord(w *window, at int64) (*record, head, error) {
	b, err := w.at(at, headerLen)
	if err != nil {
		return nil, head{}, err
	}
	h, err := parseHeader(b, s)
	if err != nil {
		return nil, head{}, err
	}
	if h.batch > at || at+int64(headerLen+h.ops+h.body) > min(w.size, 1<<32-1) {
		return nil, head{}, errHeader
	}
	if b, err = w.at(at, headerLen+h.ops+h.body); err != nil {
		return nil, head{}, err
	}
	crc := crc32.Checksum(b[headerLen:], castagnoli)
	if crc32.Update(crc, castagnoli, b[:headerLen-9]) != h.crc {
		return nil, head{}, errHeader
	}
	r := &record{buf: b[:headerLen+h.ops], body: h.body, bodyAt: headerLen + h.ops}
	if r.ops, err = parseOps(b[headerLen:headerLen+h.ops], h.body); err != nil {
		err = fmt.Errorf("%w: %w", errOps, err)
	}
	return r, h, err
}

// findRecord looks behind the bad place at for good records. It gives the first one, and
// whether any of them proves that the bad place had been synced. An error is one of the disk.
func (s *segment) findRecord(w *window, at int64) (next int64, synced bool, err error) {
	mark := fmt.Appendf(nil, "%s %016x ", headerWord, s.nonce)
	for from := at + 1; from < w.size; {
		n := int(min(w.size-from, windowSize))
		b, err := w.at(from, n)
		if err != nil && !bad(err) {
			return 0, false, err
		}
		i := bytes.Index(b, mark)
		if i < 0 {
			if from += int64(n - len(mark) + 1); n <= len(mark) {
				break
			}
			continue
		}
		from += int64(i)
		r, h, err := s.readRecord(w, from)
		if err != nil && !errors.Is(err, errOps) {
			if !bad(err) {
				return 0, false, err
			}
			from++
			continue
		}
		if next == 0 {
			next = from
		}
		if h.batch > at {
			return next, true, nil
		}
		from += int64(len(r.buf) + r.body)
	}
	return next, false, nil
}

// windowSize is how much of a segment is read at once, in octets.
const windowSize = 256 << 10

// window reads a file in large pieces.
type window struct {
	f    io.ReaderAt
	size int64
	buf  []byte
	off  int64
	bad  map[int64]bool // blocks that the disk does not give
	err  error          // why
}

// at gives n octets at an offset; they are valid until the next call.
func (w *window) at(off int64, n int) ([]byte, error) {
	if off+int64(n) > w.size {
		return nil, io.ErrUnexpectedEOF
	}
	if off < w.off || off+int64(n) > w.off+int64(len(w.buf)) {
		want := int(min(w.size-off, int64(max(n, windowSize))))
		if cap(w.buf) < want {
			w.buf = make([]byte, want)
		}
		w.buf, w.off = w.buf[:want], off
		m, err := w.f.ReadAt(w.buf, off)
		if m < want && err != nil && !errors.Is(err, io.EOF) {
			m, err = w.rescue(off)
		}
		if m < want {
			w.buf = w.buf[:0]
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	i := int(off - w.off)
	return w.buf[i : i+n : i+n], nil
}

// What of a segment cannot be read is skipped in blocks of badBlock octets, of which there may be maxBad: a
// disk has bad sectors, but one that gives nothing is not there, and may be the next time.
const (
	badBlock = 4096
	maxBad   = 256
)

// rescue reads the window in blocks, tries each again, and leaves zeros where the disk gives nothing.
func (w *window) rescue(off int64) (int, error) {
	for at := 0; at < len(w.buf); {
		number := (off + int64(at)) / badBlock
		b := w.buf[at:min(len(w.buf), int((number+1)*badBlock-off))]
		if !w.bad[number] {
			n, err := w.f.ReadAt(b, off+int64(at))
			if n < len(b) && !errors.Is(err, io.EOF) {
				n, err = w.f.ReadAt(b, off+int64(at))
			}
			switch {
			case n == len(b):
				at += n
				continue
			case errors.Is(err, io.EOF):
				return at + n, io.ErrUnexpectedEOF
			case len(w.bad) == maxBad:
				return 0, err
			case w.bad == nil:
				w.bad = make(map[int64]bool)
			}
			w.bad[number], w.err = true, err
		}
		clear(b)
		at += len(b)
	}
	return len(w.buf), nil
}
