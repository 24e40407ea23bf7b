package smtp

import (
	"bytes"
	"errors"
	"io"
	"time"

	gosmtp "github.com/emersion/go-smtp"
)

// endlessFactor: who sends that many times the largest message is not listened to up to
// the end of it.
const endlessFactor = 4

var errEndless = errors.New("message does not end")

// errCut is the end of the connection before the end of the message. It is none of the
// errors with which io tells that a short message is whole.
var errCut = errors.New("connection closed inside the message")

// Body is a message on its way in: dot-unstuffed, with LF line ends. Its end is io.EOF;
// any other error means that the message is not to be accepted. An *SMTPError tells the
// reply that the client gets, whatever the backend returns.
type Body struct {
	c       *Conn
	dec     decoder
	have    []byte // decoded and not taken yet
	size    int64
	raw     int64
	began   time.Time         // when the first octets were waited for
	full    bool              // the last read filled the buffer
	refused *gosmtp.SMTPError // the octets break a rule
	broken  error             // of the connection

	chunked bool  // it comes by BDAT (RFC 3030)
	left    int64 // octets of the present chunk that were not read
	last    bool  // no chunk follows the present one
	chunks  int   // after the first
}

func newBody(c *Conn) *Body { return &Body{c: c} }

// Size gives the octets that were given so far, line ends counted as one.
func (b *Body) Size() int64 { return b.size - int64(len(b.have)) }

// Chunked reports whether the message comes by BDAT.
func (b *Body) Chunked() bool { return b.chunked }

// Read is io.Reader.
func (b *Body) Read(p []byte) (int, error) {
	if len(b.have) == 0 {
		if err := b.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.have)
	b.have = b.have[n:]
	return n, nil
}

// WriteTo is io.WriterTo; w gets pieces of up to 64 KiB.
func (b *Body) WriteTo(w io.Writer) (n int64, err error) {
	for {
		if len(b.have) > 0 {
			m, err := w.Write(b.have)
			b.have = b.have[m:]
			n += int64(m)
			if err != nil {
				return n, err
			}
		}
		if err := b.next(); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}

// next decodes until there is something in b.have.
func (b *Body) next() error {
	for {
		switch {
		case errors.Is(b.broken, io.EOF), errors.Is(b.broken, io.ErrUnexpectedEOF):
			return errCut
		case b.broken != nil:
			return b.broken
		case b.refused != nil:
			return b.refused
		case b.dec.done:
			return io.EOF
		}
		if b.chunked && b.left == 0 {
			b.endChunk()
			if b.refused == nil && b.dec.bareCR {
				b.refused = b.verdict()
			}
			if b.refused == nil && len(b.have) > 0 {
				return nil
			}
			continue
		}
		n := b.decode()
		if b.refused = b.verdict(); b.refused == nil && n > 0 {
			b.have = b.c.in.buf[:n]
			return nil
		}
	}
}

// decode takes what is in the buffer, after filling it when it is empty, and gives the
// number of octets that came out.
func (b *Body) decode() int {
	in := &b.c.in
	if in.r == in.w {
		if b.broken = b.fill(); b.broken != nil {
			return 0
		}
	}
	end := in.w
	if b.chunked && int64(end-in.r) > b.left {
		end = in.r + int(b.left)
	}
	n, used := b.dec.decode(in.buf, in.buf[in.r:end])
	in.r += used
	b.left -= int64(used)
	b.raw += int64(used)
	b.size += int64(n)
	return n
}

// fill waits for more of the message. The large buffer is used as long as the message
// comes faster than the small one holds.
func (b *Body) fill() error {
	in := &b.c.in
	if b.full {
		in.grow()
	} else {
		in.shrink()
	}
	err := b.c.fill(b.deadline(), false)
	b.full = in.w-in.r >= smallBuffer-slack
	return err
}

// deadline gives the time by which more of the message has to come. A client that sends
// little by little would stay as long as it likes: after a while the whole message has to
// have come at a certain rate.
func (b *Body) deadline() time.Time {
	now, most := time.Now(), orDefault(b.c.cfg.Timeouts.Data, defaultTimeout)
	if b.began.IsZero() {
		b.began = now
	}
	next := now.Add(most)
	if rate := int64(b.c.cfg.Timeouts.Rate); rate > 0 {
		earned := time.Duration(min(b.raw/rate, 1<<32)) * time.Second
		if slow := b.began.Add(most + earned); slow.Before(next) {
			return slow
		}
	}
	return next
}

// verdict says what is wrong with the octets so far.
func (b *Body) verdict() *gosmtp.SMTPError {
	most := b.c.cfg.MaxMessageSize
	strict := !b.c.cfg.Normalize
	switch {
	case b.dec.nul:
		return reply(554, 6, 0, "Message refused: NUL in message data")
	case b.dec.bareLF && strict:
		return reply(554, 6, 0, "Message refused: bare <LF> in message data")
	case b.dec.bareCR && strict:
		return reply(554, 6, 0, "Message refused: bare <CR> in message data")
	case most > 0 && b.size+b.dec.lines > most:
		return reply(552, 3, 4, textTooBig)
	}
	return nil
}

// discard reads on to the end of the message. One that comes in chunks and has failed is
// read to the end of the present chunk.
func (b *Body) discard(failed bool) {
	for !b.dec.done && b.broken == nil {
		if b.chunked && b.left == 0 {
			if failed || b.refused != nil {
				break
			}
			b.endChunk()
			continue
		}
		b.decode()
		if b.refused == nil {
			b.refused = b.verdict()
		}
		most := b.c.cfg.MaxMessageSize
		if most > 0 && b.refused != nil && !b.dec.done && b.raw > endlessFactor*most+bulkBuffer {
			b.broken = errEndless
		}
	}
	b.have = nil
}

// crlfReader gives a message with CRLF line ends, as go-smtp's sessions expect it.
type crlfReader struct {
	b  *Body
	lf bool // the CR of a line end was given, its LF was not
}

func (r *crlfReader) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.lf {
		p[0], n, r.lf = '\n', 1, false
	} else if len(r.b.have) == 0 {
		if err := r.b.next(); err != nil {
			return 0, err
		}
	}
	for n < len(p) && len(r.b.have) > 0 {
		have := r.b.have
		i := bytes.IndexByte(have[:min(len(have), len(p)-n)], '\n')
		if i < 0 {
			m := copy(p[n:], have)
			n, r.b.have = n+m, have[m:]
			continue
		}
		n += copy(p[n:], have[:i])
		r.b.have = have[i+1:]
		p[n] = '\r'
		if n++; n == len(p) {
			r.lf = true
			break
		}
		p[n] = '\n'
		n++
	}
	return n, nil
}
