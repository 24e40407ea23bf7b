// Package bdb reads files of Berkeley DB, as mail servers have kept their tables in them:
// hash tables and B-trees of version 1.85, which is in the C library of the BSDs, and of
// the versions 3.2 to 6. It only reads a whole file, from its beginning to its end.
//
// Everything in a file is taken for hostile: each offset is checked against its page, and
// no more pages are read than a file of that size can need.
package bdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// MaxItem is the longest key or value, in octets.
const MaxItem = 1 << 20

// HeadSize is how much of a file tells what it is, in octets.
const HeadSize = 20

// The numbers that files begin with, at octet 0 in version 1 and at 12 later.
const (
	hashMagic  = 0x061561
	btreeMagic = 0x053162
)

// Page sizes, in octets.
const (
	minPage = 64
	maxPage = 1 << 16
)

// Errors of files that cannot be read.
var (
	errDamaged = errors.New("damaged Berkeley DB file")
	errKind    = errors.New("a Berkeley DB file of a kind that is not supported")
)

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errDamaged, fmt.Sprintf(format, args...))
}

func unknown(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errKind, fmt.Sprintf(format, args...))
}

// Is reports whether a file that begins with head, HeadSize octets, is one of Berkeley DB.
func Is(head []byte) bool {
	_, _, err := detect(head)
	return err == nil
}

type reader func(f *file, each func(key, value []byte) error) error

// detect finds the byte order of a file and who reads it.
func detect(head []byte) (binary.ByteOrder, reader, error) {
	for _, order := range [...]binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		first, second := order.Uint32(head), order.Uint32(head[4:])
		magic, version := order.Uint32(head[12:]), order.Uint32(head[16:])
		switch {
		case first == hashMagic && second <= 16:
			return order, readHash1, nil
		case first == btreeMagic && second <= 16:
			return order, readBtree1, nil
		case magic == hashMagic && version <= 16:
			return order, readHash, nil
		case magic == btreeMagic && version <= 16:
			return order, readBtree, nil
		}
	}
	return nil, nil, unknown("no magic number")
}

// Read calls each for every record of a file of so many octets, in the order of the file.
// Key and value are valid until each returns; its error ends the reading.
func Read(r io.ReaderAt, size int64, each func(key, value []byte) error) error {
	var head [HeadSize]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return readError(err)
	}
	order, read, err := detect(head[:])
	if err != nil {
		return err
	}
	return read(&file{r: r, size: size, order: order}, each)
}

// file is a file that is read in pages.
type file struct {
	r        io.ReaderAt
	size     int64
	order    binary.ByteOrder
	pageSize int
	pages    uint32 // those that the file is long enough for
	visits   int64  // pages that may still be read
}

// setPages takes the size of pages from a header.
func (f *file) setPages(size uint32) error {
	if size < minPage || size > maxPage || size&(size-1) != 0 {
		return damaged("pages of %d octets", size)
	}
	f.pageSize = int(size)
	f.pages = uint32(min((f.size+int64(size)-1)/int64(size), 1<<32-1))
	// A page is read once, or twice when what it ends is read before what it begins.
	f.visits = 4*int64(f.pages) + 16
	return nil
}

// page reads one page. The last one may be cut off.
func (f *file) page(n uint32) ([]byte, error) {
	if n >= f.pages {
		return nil, damaged("page %d of %d", n, f.pages)
	}
	if f.visits--; f.visits < 0 {
		return nil, damaged("its pages go in circles")
	}
	p := make([]byte, f.pageSize)
	if _, err := f.r.ReadAt(p, int64(n)*int64(f.pageSize)); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return p, nil
}

// header reads the first octets of the file.
func (f *file) header(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := f.r.ReadAt(b, 0)
	return b, readError(err)
}

func (f *file) u16(p []byte, at int) int { return int(f.order.Uint16(p[at:])) }

func (f *file) u32(p []byte, at int) uint32 { return f.order.Uint32(p[at:]) }

func readError(err error) error {
	if errors.Is(err, io.EOF) {
		return damaged("ends early")
	}
	return err
}
