package queue

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"

	"github.com/godwit-mta/godwit/core/envelope"
)

// A file of the cache is the line cacheHead and then records. All numbers are little endian:
//
//	4 octets   CRC-32C of the rest of the record
//	4          length of the rest after this number
//	4          id of the message
//	24         stamp of its directory: inode, time of change, size
//	1          1: its text is encoded
//	           for each envelope:
//	4          lower half of its id
//	24         stamp of its file
//	4          length of the text that follows, as it is in the file
//
// The last record of a message counts.
const cacheHead = "godwit cache 1\n"

const (
	cacheRecordHead = 8
	stampLen        = 24
	cachedLen       = 4 + stampLen + 1 // of a message
	cachedEvpLen    = 4 + stampLen + 4 // of an envelope without its text
	maxCached       = 16 << 20         // octets of a record
)

var errCached = errors.New("not a record of the cache")

// cachedMessage is a message as the cache has it.
type cachedMessage struct {
	id    envelope.MessageID
	dir   stamp
	coded bool
	evps  []cachedEnvelope
}

type cachedEnvelope struct {
	n     uint32 // lower half of its id
	stamp stamp
	text  []byte
}

// appendCached appends a record; one that would be too large is left out.
func appendCached(b []byte, m *cachedMessage) []byte {
	start := len(b)
	b = append(b, make([]byte, cacheRecordHead)...)
	b = binary.LittleEndian.AppendUint32(b, uint32(m.id))
	b = appendStamp(b, m.dir)
	coded := byte(0)
	if m.coded {
		coded = 1
	}
	b = append(b, coded)
	for i := range m.evps {
		e := &m.evps[i]
		b = binary.LittleEndian.AppendUint32(b, e.n)
		b = appendStamp(b, e.stamp)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(e.text)))
		b = append(b, e.text...)
	}
	n := len(b) - start - cacheRecordHead
	if n > maxCached {
		return b[:start]
	}
	binary.LittleEndian.PutUint32(b[start+4:], uint32(n))
	binary.LittleEndian.PutUint32(b[start:], crc32.Checksum(b[start+4:], castagnoli))
	return b
}

func appendStamp(b []byte, s stamp) []byte {
	b = binary.LittleEndian.AppendUint64(b, s.Inode)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.Changed))
	return binary.LittleEndian.AppendUint64(b, uint64(s.Size))
}

func readStamp(b []byte) stamp {
	return stamp{Inode: binary.LittleEndian.Uint64(b), Changed: int64(binary.LittleEndian.Uint64(b[8:])),
		Size: int64(binary.LittleEndian.Uint64(b[16:]))}
}

// parseCache takes a file of the cache apart. What follows a bad record is left out.
func parseCache(b []byte) *cached {
	c := &cached{size: int64(len(b))}
	if !strings.HasPrefix(string(b[:min(len(b), len(cacheHead))]), cacheHead) {
		c.broken = len(b) > 0
		return c
	}
	b = b[len(cacheHead):]
	c.messages = make(map[envelope.MessageID][]byte, len(b)/700) // of usual envelopes
	for len(b) > 0 {
		n := 0
		if len(b) >= cacheRecordHead+cachedLen {
			n = int(binary.LittleEndian.Uint32(b[4:]))
		}
		if n < cachedLen || n > maxCached || n > len(b)-cacheRecordHead ||
			crc32.Checksum(b[4:cacheRecordHead+n], castagnoli) != binary.LittleEndian.Uint32(b) {
			c.broken = true
			return c
		}
		record := b[:cacheRecordHead+n]
		c.messages[envelope.MessageID(binary.LittleEndian.Uint32(record[cacheRecordHead:]))] = record
		b = b[len(record):]
	}
	return c
}

// decodeCached reads a record whose checksum was good. The texts are parts of it.
func decodeCached(record []byte) (m cachedMessage, err error) {
	if len(record) < cacheRecordHead+cachedLen {
		return m, errCached
	}
	b := record[cacheRecordHead:]
	m = cachedMessage{id: envelope.MessageID(binary.LittleEndian.Uint32(b)), dir: readStamp(b[4:]), coded: b[4+stampLen] == 1}
	for b = b[cachedLen:]; len(b) > 0; {
		var e cachedEnvelope
		var ok bool
		if e, b, ok = cutCached(b); !ok {
			return m, errCached
		}
		m.evps = append(m.evps, e)
	}
	if len(m.evps) == 0 || m.id == 0 {
		return m, errCached
	}
	return m, nil
}

// cutCached splits the first envelope off.
func cutCached(b []byte) (e cachedEnvelope, rest []byte, ok bool) {
	if len(b) < cachedEvpLen {
		return e, nil, false
	}
	e = cachedEnvelope{n: binary.LittleEndian.Uint32(b), stamp: readStamp(b[4:])}
	n := int64(binary.LittleEndian.Uint32(b[4+stampLen:]))
	if b = b[cachedEvpLen:]; n > int64(len(b)) || e.n == 0 {
		return e, nil, false
	}
	e.text = b[:n:n]
	return e, b[n:], true
}

// findCached gives one envelope of a record, without a copy of the others.
func findCached(record []byte, n uint32) (e cachedEnvelope, ok bool) {
	if len(record) < cacheRecordHead+cachedLen {
		return e, false
	}
	b := record[cacheRecordHead+cachedLen:]
	for ok = true; ok && e.n != n; {
		e, b, ok = cutCached(b)
	}
	return e, ok
}
