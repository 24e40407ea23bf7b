package bdb

import (
	"encoding/binary"
	"math/bits"
)

// The header of hash tables of version 1. Its numbers have the highest octet first; those
// in pages are in the order that it names.
const (
	hash1Order     = 8
	hash1PageSize  = 12
	hash1MaxBucket = 40
	hash1Header    = 60 // pages of it
	hash1Spares    = 68
	hash1Size      = hash1Spares + 4*32
)

// Marks in the place of the offset of a value.
const (
	overflowPage = iota // the pair is the address of a further page
	partialKey          // the key goes on in the next page
	fullKey             // the key, or the value, ends or goes on without a value here
	fullKeyData         // the end of the key, or of the value, and a part of the value
	realOffset
)

// hash1 is a hash table of version 1. Pages are arrays of 16 bits: the number of offsets,
// offsets of key and value by turns, the free space and where it ends. Keys and values lie
// one below the other from the end of the page on.
type hash1 struct {
	*file
	header uint32
	spares [32]uint32
}

func readHash1(f *file, each func(key, value []byte) error) error {
	b, err := f.header(hash1Size)
	if err != nil {
		return err
	}
	h := &hash1{file: f, header: f.u32(b, hash1Header)}
	if v := f.u32(b, 4); v != 2 {
		return unknown("hash table of version %d", v)
	}
	for i := range h.spares {
		h.spares[i] = f.u32(b, hash1Spares+4*i)
	}
	if err := f.setPages(f.u32(b, hash1PageSize)); err != nil {
		return err
	}
	last := f.u32(b, hash1MaxBucket)
	if last >= f.pages {
		return damaged("%d buckets in %d pages", last, f.pages)
	}
	switch f.u32(b, hash1Order) {
	case 1234:
		f.order = binary.LittleEndian
	case 4321:
		f.order = binary.BigEndian
	default:
		return damaged("byte order")
	}
	for bucket := range last + 1 {
		if err := h.bucket(h.bucketPage(bucket), each); err != nil {
			return err
		}
	}
	return nil
}

// bucketPage gives the first page of a bucket.
func (h *hash1) bucketPage(bucket uint32) uint32 {
	n := bucket + h.header
	if bucket > 0 {
		n += h.spares[bits.Len32(bucket)-1]
	}
	return n
}

// overflow gives the page of an address, whose upper 5 bits say in which doubling of the
// table it was made.
func (h *hash1) overflow(addr int) uint32 {
	return h.bucketPage(1<<(addr>>11)-1) + uint32(addr&0x7ff)
}

// bucket reads the chain of pages of a bucket.
func (h *hash1) bucket(n uint32, each func(key, value []byte) error) error {
	for more := n < h.pages; more; { // the last buckets may not have been written yet
		p, err := h.page(n)
		if err != nil {
			return err
		}
		if n, more, err = h.pairs(p, each); err != nil {
			return err
		}
	}
	return nil
}

// offsets checks the offsets of a page: each in the page, and none above the one before.
func (h *hash1) offsets(p []byte) ([]int, error) {
	n := h.u16(p, 0)
	if n%2 != 0 || 2*(n+3) > len(p) {
		return nil, damaged("%d offsets in a page", n)
	}
	list := make([]int, n)
	for i := range list {
		list[i] = h.u16(p, 2*(i+1))
	}
	return list, nil
}

// pairs reads the pairs of a page and gives the next page of the bucket.
func (h *hash1) pairs(p []byte, each func(key, value []byte) error) (next uint32, more bool, err error) {
	list, err := h.offsets(p)
	if err != nil {
		return 0, false, err
	}
	end := len(p)
	for i := 0; i < len(list); i += 2 {
		key, value := list[i], list[i+1]
		switch {
		case value == overflowPage:
			return h.overflow(key), true, nil
		case value < realOffset && i == 0:
			return h.big(p, each)
		case key > end || value > key || value < 2*(len(list)+3):
			return 0, false, damaged("a pair at %d and %d", key, value)
		}
		if err := each(p[key:end], p[value:key]); err != nil {
			return 0, false, err
		}
		end = value
	}
	return 0, false, nil
}

// big reads a pair that fills several pages, of which p is the first, and gives the page
// after them. A key goes on while pages are marked partialKey; where it ends, the value
// begins: in the same page, when that has room for it, or in the next.
func (h *hash1) big(p []byte, each func(key, value []byte) error) (next uint32, more bool, err error) {
	var key, value []byte
	var g bigPage
	for {
		if g, err = h.bigPage(p); err != nil {
			return 0, false, err
		}
		if key = append(key, p[g.start:]...); len(key) > MaxItem {
			return 0, false, damaged("a key of more than %d octets", MaxItem)
		}
		if g.mark != partialKey {
			break
		}
		if p, err = h.follow(g); err != nil {
			return 0, false, err
		}
	}
	done := false
	if g.mark == fullKeyData {
		if g.n < 4 || g.last < 2*(g.n+3) || g.last > g.start {
			return 0, false, damaged("a value at %d", g.last)
		}
		value = append(value, p[g.last:g.start]...)
		done = g.free > 0 // a value that goes on leaves no room
	}
	for !done {
		if p, err = h.follow(g); err != nil {
			return 0, false, err
		}
		if g, err = h.bigPage(p); err != nil {
			return 0, false, err
		}
		if value = append(value, p[g.start:]...); len(value) > MaxItem {
			return 0, false, damaged("a value of more than %d octets", MaxItem)
		}
		done = g.mark == fullKeyData
	}
	if err := each(key, value); err != nil || g.n <= 2 {
		return 0, false, err
	}
	return h.overflow(g.next), true, nil
}

// bigPage is what the offsets of a page of a big pair say.
type bigPage struct {
	n, start, mark int
	next           int // address of the page after it, when n is more than 2
	last           int // the last offset
	free           int
}

func (h *hash1) bigPage(p []byte) (g bigPage, err error) {
	list, err := h.offsets(p)
	if err != nil {
		return g, err
	}
	if len(list) < 2 {
		return g, damaged("an empty page in a long record")
	}
	g = bigPage{n: len(list), start: list[0], mark: list[1], last: list[len(list)-1], free: h.u16(p, 2*(len(list)+1))}
	if len(list) > 2 {
		g.next = list[len(list)-2]
	}
	if g.start < 2*(len(list)+3) || g.start > len(p) || g.mark == overflowPage || g.mark > fullKeyData {
		return g, damaged("a long record at %d", g.start)
	}
	return g, nil
}

func (h *hash1) follow(g bigPage) ([]byte, error) {
	if g.n <= 2 {
		return nil, damaged("a long record ends early")
	}
	return h.page(h.overflow(g.next))
}
