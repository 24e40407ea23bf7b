package queue

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"

	"github.com/godwit-mta/godwit/core/envelope"
)

// A record of the journal is a header line of fixed length
//
//	change NONCE SEGMENT BATCH OPSLEN BODYLEN CRC
//
// then OPSLEN octets of operations and BODYLEN octets of message text. NONCE is the 16
// hexadecimal digits in the name of the segment, SEGMENT its number. BATCH is the offset of the
// first record that was written in the same go: whatever lies before the BATCH of a valid record
// was synced. CRC is the CRC-32C of the operations, the text and the header up to it. All
// numbers but NONCE and CRC, which are hexadecimal, are decimal.
//
// The nonce is what keeps a mail that contains the picture of a record from being taken for one
// when the journal is damaged: it is random and nobody but the queue can read it.
//
// The operations are lines, some followed by an envelope's text of LEN octets:
//
//	message MSGID SIZE inline     the text is in this record
//	message MSGID SIZE file       the text is in incoming/ or in queue/
//	message MSGID SIZE inline encoded, message MSGID SIZE file encoded
//	                              the same; the text is encoded, SIZE is what it takes so
//	add EVPID LEN
//	update EVPID LEN
//	remove EVPID
//
// They are carried out in their order, and mean the same while running and at recovery: message
// begins a message, whatever had its id before; add joins an envelope to a message that exists;
// update changes an envelope that exists; anything else is skipped.
const headerLen = len(headerWord) + 1 + 16 + 1 + 10 + 1 + 10 + 1 + 10 + 1 + 10 + 1 + 8 + 1

const headerWord = "change"

const encodedWord = "encoded"

// Limits of one record, in octets. They bound what a damaged segment can make recovery allocate.
const (
	maxOps    = 32 << 20
	maxInline = 1 << 20
)

var blank = []byte{' '} // never changed

var castagnoli = crc32.MakeTable(crc32.Castagnoli) // a constant that Go cannot write as one

type opKind uint8

const (
	opMessage opKind = iota + 1
	opAdd
	opUpdate
	opRemove
)

var opWords = [...]string{opMessage: "message", opAdd: "add", opUpdate: "update", opRemove: "remove"}

// op is one operation of a record.
type op struct {
	kind   opKind
	id     envelope.ID // of a message: the lower half is zero
	size   int64       // of the message
	inline bool
	coded  bool   // the message's text is encoded
	off, n uint32 // where the envelope's text lies, counted from the header
}

// record is one that is being made or was read.
type record struct {
	buf    []byte // header, operations, text; of one that was read: header and operations
	ops    []op
	body   int    // octets of text
	bodyAt int    // where the text lies, counted from the header
	crc    uint32 // of operations and text
}

func newRecord(room int) *record {
	return &record{buf: make([]byte, headerLen, headerLen+room)}
}

func (r *record) message(id envelope.MessageID, size int64, inline, coded bool) {
	r.buf = append(r.buf, "message "...)
	r.buf = append(r.buf, id.String()...)
	r.buf = append(r.buf, ' ')
	r.buf = strconv.AppendInt(r.buf, size, 10)
	if inline {
		r.buf = append(r.buf, " inline"...)
	} else {
		r.buf = append(r.buf, " file"...)
	}
	if coded {
		r.buf = append(r.buf, " "+encodedWord...)
	}
	r.buf = append(r.buf, '\n')
	r.ops = append(r.ops, op{kind: opMessage, id: envelope.NewID(id, 0), size: size, inline: inline, coded: coded})
}

func (r *record) envelope(kind opKind, id envelope.ID, text []byte) {
	r.buf = append(r.buf, opWords[kind]...)
	r.buf = append(r.buf, ' ')
	r.buf = append(r.buf, id.String()...)
	r.buf = append(r.buf, ' ')
	r.buf = strconv.AppendInt(r.buf, int64(len(text)), 10)
	r.buf = append(r.buf, '\n')
	r.ops = append(r.ops, op{kind: kind, id: id, off: uint32(len(r.buf)), n: uint32(len(text))})
	r.buf = append(r.buf, text...)
}

func (r *record) remove(id envelope.ID) {
	r.buf = append(r.buf, "remove "...)
	r.buf = append(r.buf, id.String()...)
	r.buf = append(r.buf, '\n')
	r.ops = append(r.ops, op{kind: opRemove, id: id})
}

// finish adds the text. Only the header is missing then.
func (r *record) finish(body []byte) {
	r.body, r.bodyAt = len(body), len(r.buf)
	r.buf = append(r.buf, body...)
	r.crc = crc32.Checksum(r.buf[headerLen:], castagnoli)
}

// header writes the header: where the record will lie is known only now.
func (r *record) header(seg *segment, batch int64) {
	h := fmt.Appendf(r.buf[:0], "%s %016x %010d %010d %010d %010d ", headerWord, seg.nonce, seg.number,
		batch, r.bodyAt-headerLen, r.body)
	crc := crc32.Update(r.crc, castagnoli, h)
	_ = fmt.Appendf(h, "%08x\n", crc) // the room is there
}

// head is a header that was read.
type head struct {
	batch     int64
	ops, body int
	crc       uint32
}

var (
	errHeader = errors.New("not a record of this segment")
	errOps    = errors.New("record cannot be understood")
)

// parseHeader reads exactly headerLen octets.
func parseHeader(b []byte, seg *segment) (head, error) {
	prefix := fmt.Sprintf("%s %016x %010d ", headerWord, seg.nonce, seg.number)
	if len(b) != headerLen || b[headerLen-1] != '\n' || !bytes.HasPrefix(b, []byte(prefix)) {
		return head{}, errHeader
	}
	var n [3]int64
	rest := b[len(prefix):]
	for i := range n {
		v, ok := number(rest[:10])
		if !ok || rest[10] != ' ' {
			return head{}, errHeader
		}
		n[i], rest = v, rest[11:]
	}
	crc, err := strconv.ParseUint(string(rest[:8]), 16, 32)
	if err != nil || fmt.Sprintf("%08x", crc) != string(rest[:8]) || n[1] > maxOps || n[2] > maxInline {
		return head{}, errHeader
	}
	return head{n[0], int(n[1]), int(n[2]), uint32(crc)}, nil
}

// number reads digits and nothing else.
func number(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// parseOps reads the operations of a record. Their checksum was good, so an error means that
// another version wrote them.
func parseOps(ops []byte, body int) ([]op, error) {
	var list []op
	for at := 0; at < len(ops); {
		end := bytes.IndexByte(ops[at:], '\n')
		if end < 0 {
			return nil, errors.New("operation is cut off")
		}
		o, err := parseOp(ops[at:at+end], body)
		if err != nil {
			return nil, err
		}
		at += end + 1
		if o.kind == opAdd || o.kind == opUpdate {
			if int(o.n) > len(ops)-at {
				return nil, errors.New("envelope is cut off")
			}
			o.off = uint32(headerLen + at)
			at += int(o.n)
		}
		list = append(list, o)
	}
	return list, nil
}

// parseOp reads a line. It is called for each operation of the journal at a start, so it makes nothing.
func parseOp(line []byte, body int) (op, error) {
	word, rest, _ := bytes.Cut(line, blank)
	name, rest, more := bytes.Cut(rest, blank)
	o, ok := op{}, false
	switch string(word) {
	case opWords[opMessage]:
		o, ok = parseMessageOp(name, rest, body)
	case opWords[opRemove]:
		o.kind, ok = opRemove, !more
	case opWords[opAdd]:
		o.kind = opAdd
	case opWords[opUpdate]:
		o.kind = opUpdate
	}
	if o.kind == opAdd || o.kind == opUpdate {
		var n int64
		n, ok = number(rest)
		ok = ok && n <= envelope.MaxText+maxGrowth
		o.n = uint32(n)
	}
	if ok && o.kind != opMessage {
		id, err := envelope.ParseID(string(name))
		o.id, ok = id, err == nil
	}
	if !ok {
		return op{}, fmt.Errorf("unknown operation %.80q", line)
	}
	return o, nil
}

// parseMessageOp reads what follows the word message: an id, a size, the place of the text and maybe that it is encoded.
func parseMessageOp(name, rest []byte, body int) (o op, ok bool) {
	length, rest, _ := bytes.Cut(rest, blank)
	place, last, coded := bytes.Cut(rest, blank)
	id, err := envelope.ParseMessageID(string(name))
	size, ok := number(length)
	inline := string(place) == "inline"
	if err != nil || !ok || inline && size != int64(body) || !inline && string(place) != "file" ||
		coded && string(last) != encodedWord {
		return op{}, false
	}
	return op{kind: opMessage, id: envelope.NewID(id, 0), size: size, inline: inline, coded: coded}, true
}
