package smtp

import (
	"bytes"
	"errors"
	"sync"
)

// maxLine is the largest command in octets with its line end. RFC 5321 section 4.5.3.1.4
// asks for 512 and for more where extensions add parameters.
const maxLine = 2048

// maxAuthLine is the largest line of an AUTH exchange, which is what
// https://www.rfc-editor.org/rfc/rfc4954#section-4 holds for enough. The command itself may have
// an initial response as long.
const maxAuthLine = 12288

const (
	smallBuffer = 4 << 10
	bulkBuffer  = 64 << 10

	// tlsRecord begins the first message of a TLS client. It need not contain a line end.
	tlsRecord = 0x16

	// slack is kept free before the octets in the buffer: a message is unstuffed in place,
	// and up to two octets may be owed from the piece before.
	slack = 4
)

var (
	errLineTooLong = errors.New("line too long")
	errAuthTooLong = errors.New("line of AUTH too long")
	errBareLF      = errors.New("line ended by a bare LF")
	errNotSMTP     = errors.New("not SMTP")
)

// input is the buffer of the octets that came and were not used yet: buf[r:w].
type input struct {
	buf   []byte
	r, w  int
	small []byte // waits while buf is a large one
}

// smallBuffers and bulkBuffers hold what no session uses.
var (
	smallBuffers = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
	bulkBuffers  = sync.Pool{New: func() any { return new([bulkBuffer]byte) }}
)

// line gives the next command without its line end, or nil when it is not complete. It has
// less than most octets; one that begins in the way of AUTH may have auth. The line is valid until
// more is read.
func (in *input) line(normalize bool, most, auth int) ([]byte, error) {
	have := in.buf[in.r:in.w]
	i := bytes.IndexByte(have, '\n')
	if (i < 0 && len(have) >= most || i >= most) && auth > most && isAuth(have) {
		most = auth
	}
	switch {
	case len(have) > 0 && have[0] == tlsRecord:
		return nil, errNotSMTP
	case i < 0 && len(have) < most:
		if most > maxLine && len(have) >= maxLine {
			in.grow()
		}
		return nil, nil
	case (i < 0 || i >= most) && most > maxLine:
		return nil, errAuthTooLong
	case i < 0 || i >= most:
		return nil, errLineTooLong
	case i > 0 && have[i-1] == '\r':
		in.r += i + 1
		return have[: i-1 : i-1], nil
	case normalize:
		in.r += i + 1
		return have[:i:i], nil
	}
	return nil, errBareLF
}

func isAuth(line []byte) bool {
	const verb = "AUTH "
	return len(line) > len(verb) && bytes.EqualFold(line[:len(verb)], []byte(verb))
}

// Room gives where more can be read to. It is never empty while a command or a message
// is being read: neither leaves more than maxLine octets unused, nor more than maxAuthLine in
// the large buffer.
func (in *input) Room() []byte {
	if in.buf == nil {
		in.buf = smallBuffers.Get().(*[smallBuffer]byte)[:]
		in.r, in.w = slack, slack
	}
	if in.r == in.w {
		in.r, in.w = slack, slack
	} else if in.r > slack && in.w+maxLine > len(in.buf) {
		in.w = slack + copy(in.buf[slack:], in.buf[in.r:in.w])
		in.r = slack
	}
	return in.buf[in.w:]
}

// grow takes the large buffer.
func (in *input) grow() {
	if in.small != nil {
		return
	}
	in.small = in.buf
	in.move(bulkBuffers.Get().(*[bulkBuffer]byte)[:])
}

// shrink gives the large buffer back, unless the small one cannot hold what is unused.
func (in *input) shrink() {
	if in.small == nil || in.w-in.r > maxLine {
		return
	}
	big := (*[bulkBuffer]byte)(in.buf)
	in.move(in.small)
	in.small = nil
	bulkBuffers.Put(big)
}

// Drop gives back a buffer that has nothing in it, for the time in which nothing comes.
func (in *input) Drop() {
	if in.r < in.w || in.small != nil || in.buf == nil {
		return
	}
	smallBuffers.Put((*[smallBuffer]byte)(in.buf))
	in.buf, in.r, in.w = nil, 0, 0
}

// release gives all buffers back: the session ends.
func (in *input) release() {
	in.r, in.w = slack, slack
	in.shrink()
	in.Drop()
}

func (in *input) move(to []byte) {
	in.w = slack + copy(to[slack:], in.buf[in.r:in.w])
	in.r = slack
	in.buf = to
}
