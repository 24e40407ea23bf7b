package filterkit

import (
	"fmt"
	"strings"
)

// maxHeld bounds the messages that are in memory together, in octets.
const maxHeld = 512 << 20

// body is a message of which lines come.
type body struct {
	out     Output
	message []byte // for Message
	passing bool   // the rest goes on as it is
}

// dataLine takes a line of a message, with the dots of SMTP.
func (r *run) dataLine(s *Session, l *line) {
	if s.data == nil {
		s.data = &body{out: Output{out: &r.out, prefix: fmt.Sprintf("filter-dataline|%016x|%s|", l.session, l.token)}}
		s.commit = Answer{}
	}
	b, side := s.data, r.f.side(l.out)
	if l.rest == "." {
		r.endData(s, l)
		return
	}
	text := strings.TrimPrefix(l.rest, ".")
	switch {
	case b.passing:
		b.out.Write(text)
	case side.message != nil:
		r.collect(b, text)
	case !r.guard(s, l, func() { side.lines(s, text, &b.out) }):
		b.passing, b.out.Answer = true, broken()
	}
}

// collect keeps a line for Message.
func (r *run) collect(b *body, text string) {
	n := len(text) + 1
	if r.held.Add(int64(n)) > maxHeld {
		b.out.Answer = Reject(452, "4.3.1 the filter has too many messages in memory")
	} else if len(b.message)+n <= or(r.f.MaxMessage, 64<<20) {
		b.message = append(append(b.message, text...), '\n')
		return
	} else if b.out.Answer = Reject(552, "5.3.4 the message is too long for the filter"); r.f.Oversize != nil {
		b.out.Answer = *r.f.Oversize
	}
	r.held.Add(int64(-n))
	r.flushMessage(b, b.message)
	b.out.Write(text)
	b.passing = true
}

// flushMessage writes what takes the place of the message, and frees it.
func (r *run) flushMessage(b *body, text []byte) {
	rest := string(text)
	for rest != "" {
		var l string
		l, rest, _ = strings.Cut(rest, "\n")
		b.out.Write(strings.TrimSuffix(l, "\r"))
	}
	r.held.Add(int64(-len(b.message)))
	b.message = nil
}

func (r *run) endData(s *Session, l *line) {
	b, side := s.data, r.f.side(l.out)
	switch {
	case b.passing:
	case side.message != nil:
		r.whole(s, l)
	default:
		b.out.End = true
		if !r.guard(s, l, func() { side.lines(s, "", &b.out) }) {
			b.out.Answer = broken()
		}
	}
	b.out.finish()
	s.commit, s.data = b.out.Answer, nil
}

// whole has Message called.
func (r *run) whole(s *Session, l *line) {
	b := s.data
	m := &Message{Bytes: b.message}
	ok := r.guard(s, l, func() { b.out.Answer = r.f.side(l.out).message(s, m) })
	switch {
	case !ok:
		b.out.Answer = broken()
	case b.out.Answer.verb == "junk":
		m.AddHeader("X-Spam", "Yes") // it is too late for the answer
	}
	r.flushMessage(b, m.Bytes)
}

// dropBody forgets a message of which not all lines came.
func (s *Session) dropBody() {
	if s.data != nil {
		s.run.held.Add(int64(-len(s.data.message)))
		s.data = nil
	}
}
