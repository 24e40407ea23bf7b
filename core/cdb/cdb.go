// Package cdb reads and writes constant databases: files that map keys to values, are
// written once, and are read with at most a few small reads for each key.
//
// The format is that of https://cr.yp.to/cdb/cdb.txt. All numbers are 32 bits, the lowest
// octet first, so that a file has at most 4 GiB: a header of 256 pairs (place, slots) that
// point to hash tables; the records, each the length of the key, the length of the value,
// key and value; the hash tables, each slot the hash of a key and the place of its record.
package cdb

import (
	"encoding/binary"
	"errors"
)

// HeaderSize is where the first record lies.
const HeaderSize = 2048

// MaxRecord is the longest key or value, in octets. The format allows more, but nobody
// should have to set aside gigabytes because a damaged file says so.
const MaxRecord = 1 << 20

// ErrTooLarge means that a file would need more than 4 GiB.
var ErrTooLarge = errors.New("larger than 4 GiB")

func hash(key []byte) uint32 {
	h := uint32(5381)
	for _, c := range key {
		h = (h<<5 + h) ^ uint32(c)
	}
	return h
}

func pair(b []byte) (uint32, uint32) {
	return binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
}

func putPair(b []byte, x, y uint32) {
	binary.LittleEndian.PutUint32(b, x)
	binary.LittleEndian.PutUint32(b[4:], y)
}
