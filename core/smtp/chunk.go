package smtp

import (
	"errors"
	"strconv"
	"strings"
	"time"

	gosmtp "github.com/emersion/go-smtp"
)

// smallChunk: a message may come in as many chunks as it has pieces of that many octets, and
// as many more as a session may have idle commands.
const smallChunk = 64

// errAbandoned ends a message between two of its chunks, because of another command.
var errAbandoned = errors.New("message was abandoned by the client")

// chunkArgs reads the arguments of BDAT (RFC 3030 section 2). Where a chunk ends of which the
// size cannot be read is not known.
func chunkArgs(arg string) (size int64, last, ok bool) {
	number, word, more := strings.Cut(arg, " ")
	if number == "" || strings.Trim(number, "0123456789") != "" {
		return 0, false, false
	}
	if last = strings.EqualFold(strings.TrimLeft(word, " "), "LAST"); more && !last {
		return 0, false, false
	}
	size, err := strconv.ParseInt(number, 10, 64)
	return size, last, err == nil
}

// bdat takes the first chunk of a message, and by way of Body the ones after it. The octets
// of a chunk follow its command whatever the reply is going to be: they are always read. A
// refused chunk ends the transaction, and the chunks that the client has sent since then are
// refused alike, so that no message is taken without some part of it.
func (c *Conn) bdat(arg string) *gosmtp.SMTPError {
	size, last, ok := chunkArgs(arg)
	if !ok {
		c.hang("bad-input")
		return reply(501, 5, 4, "Invalid command arguments: BDAT syntax error")
	}
	r := c.refuseChunk(size)
	switch most := c.cfg.MaxMessageSize; {
	case r == nil:
		b := newBody(c)
		b.chunked, b.dec.opaque, b.left, b.last = true, true, size, last
		c.chunking = true
		r = c.take(b)
		c.chunking, last = false, b.last
	case most > 0 && size > endlessFactor*most+bulkBuffer:
		c.hang("bad-input")
		return r
	default:
		if err := c.skip(size); err != nil {
			c.readFailed(err)
			return nil
		}
		if c.mail {
			c.reset()
		}
	}
	if c.failed = nil; r != nil && r.Code >= 300 && !last {
		c.failed = r
	}
	return r
}

// refuseChunk says what is wrong with a first chunk before any of it was read.
func (c *Conn) refuseChunk(size int64) *gosmtp.SMTPError {
	switch {
	case c.failed != nil:
		return c.failed
	case !c.mail || c.rcpts == 0:
		return reply(503, 5, 1, textNotNow)
	case c.cfg.MaxMessageSize > 0 && size > c.cfg.MaxMessageSize:
		return reply(552, 3, 4, textTooBig)
	}
	if s, ok := c.session.(DataSession); ok {
		if r := c.answer(s.DataStart(), nil); r != nil && r.Code >= 300 {
			return r
		}
	}
	return nil
}

// skip reads the octets of a refused chunk.
func (c *Conn) skip(size int64) error {
	for size > 0 {
		if c.in.r == c.in.w {
			if err := c.fill(time.Now().Add(orDefault(c.cfg.Timeouts.Data, defaultTimeout)), false); err != nil {
				return err
			}
		}
		n := min(size, int64(c.in.w-c.in.r))
		c.in.r += int(n)
		size -= n
	}
	return nil
}

// endChunk is called when all of a chunk was read: the message is whole, or the chunk is
// confirmed and the next one is waited for.
func (b *Body) endChunk() {
	if b.last {
		n := b.dec.finish(b.c.in.buf)
		b.have = b.c.in.buf[:n]
		b.size += int64(n)
		return
	}
	b.c.send(reply(250, 0, 0, strconv.FormatInt(b.raw, 10)+" octets received"), "")
	b.broken = b.nextChunk()
}

// nextChunk carries out commands up to the next chunk of the message.
func (b *Body) nextChunk() error {
	c := b.c
	for c.reason == "" {
		line, err := c.readCommand()
		if err != nil {
			return err
		}
		switch verb, arg, _ := splitCommand(string(line)); {
		case verb == "BDAT":
			return b.beginChunk(string(line), arg)
		case (verb == "RSET" || verb == "QUIT") && arg == "",
			(verb == "EHLO" || verb == "HELO") && validHelo(arg):
			c.pending = append([]byte(nil), line...)
			return errAbandoned
		}
		c.command(line)
	}
	return errAbandoned
}

func (b *Body) beginChunk(line, arg string) error {
	c := b.c
	c.seen(c.hideSecrets("BDAT", line))
	var ok bool
	if b.left, b.last, ok = chunkArgs(arg); !ok {
		c.send(reply(501, 5, 4, "Invalid command arguments: BDAT syntax error"), line)
		c.hang("bad-input")
		return errAbandoned
	}
	most := c.cfg.MaxMessageSize
	if most > 0 && b.left > most-b.size-b.dec.lines {
		b.refused = reply(552, 3, 4, textTooBig)
	}
	if b.chunks++; b.chunks > c.idleMost()+int(b.raw/smallChunk) {
		c.send(reply(421, 7, 0, "Too many commands, closing connection"), line)
		c.reason = "too-many-commands"
		return errAbandoned
	}
	return nil
}
