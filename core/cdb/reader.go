package cdb

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxProbes bounds the slots that are looked at for one key. In files that are whole, a
// free slot comes after a few.
const maxProbes = 1 << 16

// Reader finds records in a file. Its methods may be called by several goroutines.
type Reader struct {
	file   io.ReaderAt
	size   int64
	end    uint32 // of the records
	tables [256]table
}

// table is a hash table: where it lies, and its number of slots.
type table struct{ place, slots uint32 }

// errDamaged is the reason when a file contradicts itself.
var errDamaged = errors.New("not a constant database, or a damaged one")

// NewReader reads the header of a file of so many octets. What it says is checked here as
// far as it concerns the header, and later with each record.
func NewReader(file io.ReaderAt, size int64) (*Reader, error) {
	var header [HeaderSize]byte
	if size < HeaderSize || size > 1<<32 {
		return nil, fmt.Errorf("%w: %d octets", errDamaged, size)
	}
	if _, err := file.ReadAt(header[:], 0); err != nil {
		return nil, err
	}
	r := &Reader{file: file, size: size}
	r.end, _ = pair(header[:])
	if r.end < HeaderSize || int64(r.end) > size {
		return nil, fmt.Errorf("%w: records end at %d", errDamaged, r.end)
	}
	for i := range r.tables {
		t := &r.tables[i]
		t.place, t.slots = pair(header[8*i:])
		if t.slots > 0 && (t.place < r.end || int64(t.place)+8*int64(t.slots) > size) {
			return nil, fmt.Errorf("%w: table %d at %d", errDamaged, i, t.place)
		}
	}
	return r, nil
}

// Find gives the place of the first record with a key.
func (r *Reader) Find(key []byte) (place uint32, found bool, err error) {
	h := hash(key)
	t := &r.tables[h&255]
	if t.slots == 0 {
		return 0, false, nil
	}
	var chunk [64]byte // slots come in runs: one read gets several
	slot := (h >> 8) % t.slots
	for probes := min(t.slots, maxProbes); ; {
		n := min(uint32(len(chunk)/8), t.slots-slot, probes)
		if _, err := r.file.ReadAt(chunk[:8*n], int64(t.place)+8*int64(slot)); err != nil {
			return 0, false, readError(err)
		}
		for i := range n {
			have, place := pair(chunk[8*i:])
			if place == 0 {
				return 0, false, nil
			}
			if have != h {
				continue
			}
			if same, err := r.hasKey(place, key); err != nil || same {
				return place, same, err
			}
		}
		if probes -= n; probes == 0 {
			break
		}
		slot = (slot + n) % t.slots
	}
	if t.slots > maxProbes {
		return 0, false, fmt.Errorf("%w: a hash table without free slots", errDamaged)
	}
	return 0, false, nil
}

func (r *Reader) hasKey(place uint32, key []byte) (bool, error) {
	klen, _, err := r.lengths(place)
	if err != nil || int(klen) != len(key) {
		return false, err
	}
	have := make([]byte, klen)
	if _, err := r.file.ReadAt(have, int64(place)+8); err != nil {
		return false, readError(err)
	}
	return bytes.Equal(have, key), nil
}

// lengths reads the beginning of a record and checks that the record is within bounds.
func (r *Reader) lengths(place uint32) (klen, dlen uint32, err error) {
	var head [8]byte
	if place < HeaderSize || int64(place)+8 > int64(r.end) {
		return 0, 0, fmt.Errorf("%w: record at %d", errDamaged, place)
	}
	if _, err := r.file.ReadAt(head[:], int64(place)); err != nil {
		return 0, 0, readError(err)
	}
	klen, dlen = pair(head[:])
	if klen > MaxRecord || dlen > MaxRecord || int64(place)+8+int64(klen)+int64(dlen) > int64(r.end) {
		return 0, 0, fmt.Errorf("%w: record at %d", errDamaged, place)
	}
	return klen, dlen, nil
}

// At gives the record at a place that Find or Next gave.
func (r *Reader) At(place uint32) (key, value []byte, err error) {
	klen, dlen, err := r.lengths(place)
	if err != nil {
		return nil, nil, err
	}
	data := make([]byte, klen+dlen)
	if _, err := r.file.ReadAt(data, int64(place)+8); err != nil && (err != io.EOF || len(data) > 0) {
		return nil, nil, readError(err)
	}
	return data[:klen:klen], data[klen:], nil
}

// Next gives the first record at or after a place, 0 for the first of all, and the place
// behind it. Found is false at the end.
func (r *Reader) Next(place uint32) (record, after uint32, found bool, err error) {
	record = max(place, HeaderSize)
	if record >= r.end {
		return 0, 0, false, nil
	}
	klen, dlen, err := r.lengths(record)
	return record, record + 8 + klen + dlen, err == nil, err
}

// readError makes an early end, as of a file that was cut meanwhile, what it is.
func readError(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: ends early", errDamaged)
	}
	return err
}
