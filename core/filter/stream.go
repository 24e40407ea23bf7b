package filter

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"

	gosmtp "github.com/emersion/go-smtp"
)

// mostReturned is how much of a message that a process gave back waits to be read, in octets.
const mostReturned = 256 << 10

var (
	// ErrLineTooLong tells that a message has a line that no filter process can be given.
	ErrLineTooLong = errors.New("a line is longer than filters take")

	errSlow = errors.New("the message is not taken")
)

// stream is a message on its way through one process: lines with LF are written to it and
// what the process made of them is read.
type stream struct {
	l       *life
	s       *Session
	name    string // of the filter
	left    int64  // octets that may still come back
	token   uint64
	rest    []byte // the beginning of a line
	scratch []byte

	have, spare []byte // of the reader: what came back and was taken, and room for more

	mu      sync.Mutex
	back    []byte // what came back
	end     bool   // the process has ended the message
	told    bool   // it was told the end
	moved   time.Time
	err     error
	filled  chan struct{} // something happened to back, end, told or err
	emptied chan struct{}
}

func newStream(l *life, s *Session, name string, most int64) (*stream, error) {
	st := &stream{l: l, s: s, name: name, left: most, filled: make(chan struct{}, 1), emptied: make(chan struct{}, 1)}
	var err error
	st.token, err = l.register(&question{session: s.ID, stream: st})
	return st, err
}

// Write sends the lines that are complete with p.
func (st *stream) Write(p []byte) (int, error) {
	if err := st.failed(); err != nil {
		return 0, err
	}
	now, b := time.Now(), st.scratch[:0]
	for rest := p; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		if len(st.rest)+max(i, 0) > MaxDataLine || i < 0 && len(st.rest)+len(rest) > MaxDataLine {
			return 0, ErrLineTooLong
		}
		if i < 0 {
			st.rest = append(st.rest, rest...)
			break
		}
		b = st.appendLine(b, now, rest[:i])
		rest = rest[i+1:]
		if len(b) >= mostUnsent/4 {
			if err := st.send(b); err != nil {
				return 0, err
			}
			b = b[:0]
		}
	}
	err := st.send(b)
	st.scratch = b[:0]
	return len(p), err
}

func (st *stream) appendLine(b []byte, now time.Time, line []byte) []byte {
	b = append(appendHead(b, "filter", now, st.s.Subsystem, DataLine.String(), st.s.ID, st.token), '|')
	if len(st.rest) > 0 && st.rest[0] == '.' || len(st.rest) == 0 && len(line) > 0 && line[0] == '.' {
		b = append(b, '.')
	}
	b = append(append(append(b, st.rest...), line...), '\n')
	st.rest = st.rest[:0]
	return b
}

func (st *stream) send(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if err := st.l.send(func(to []byte) []byte { return append(to, b...) }); err != nil {
		st.blame(err)
		return st.failed()
	}
	return nil
}

// Close tells the process that the message is whole. From now on it has to answer.
func (st *stream) Close() error {
	var b []byte
	if len(st.rest) > 0 {
		b = st.appendLine(b, time.Now(), nil)
	}
	b = append(appendHead(b, "filter", time.Now(), st.s.Subsystem, DataLine.String(), st.s.ID, st.token), "|.\n"...)
	st.mu.Lock()
	st.told, st.moved = true, time.Now()
	st.mu.Unlock()
	notify(st.filled)
	return st.send(b)
}

// give takes a line that the process gave back. When nobody reads what came before, the process
// has to wait, and with it all sessions; so not for ever.
func (st *stream) give(line []byte) {
	if bytes.IndexByte(line, 0) >= 0 || bytes.IndexByte(line, '\r') >= 0 {
		st.blame(errors.New("gave back a line with a control character"))
		return
	}
	if st.left -= int64(len(line)) + 1; st.left < 0 {
		st.blame(errors.New("gave back more than a message may be"))
		return
	}
	st.mu.Lock()
	full := len(st.back) > mostReturned && st.err == nil
	st.mu.Unlock()
	if full {
		st.wait()
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.moved = time.Now()
	switch {
	case st.err != nil || st.end:
		return
	case len(line) == 1 && line[0] == '.':
		st.end = true
	default:
		if len(line) > 0 && line[0] == '.' {
			line = line[1:]
		}
		st.back = append(append(st.back, line...), '\n')
	}
	notify(st.filled)
}

// wait waits until there is room in back.
func (st *stream) wait() {
	timer := time.NewTimer(st.l.patience)
	defer timer.Stop()
	for {
		st.mu.Lock()
		full := len(st.back) > mostReturned && st.err == nil
		st.mu.Unlock()
		if !full {
			return
		}
		select {
		case <-st.emptied:
		case <-st.l.done:
			return
		case <-timer.C:
			st.fail(errSlow)
			return
		}
	}
}

// Read gives what came back, dots unescaped, lines with LF.
func (st *stream) Read(p []byte) (int, error) {
	if len(st.have) == 0 {
		b, err := st.next()
		if err != nil {
			return 0, err
		}
		st.have = b
	}
	n := copy(p, st.have)
	st.have = st.have[n:]
	return n, nil
}

// next gives all that came back by now and was not taken. It is valid until the next call.
func (st *stream) next() ([]byte, error) {
	if b := st.have; len(b) > 0 {
		st.have = nil
		return b, nil
	}
	for {
		st.mu.Lock()
		if st.err == nil && len(st.back) > 0 {
			b := st.back
			st.back, st.spare = st.spare[:0], b
			st.mu.Unlock()
			notify(st.emptied)
			return b, nil
		}
		err, end, told, moved := st.err, st.end, st.told, st.moved
		st.mu.Unlock()
		switch {
		case err != nil:
			return nil, err
		case end:
			return nil, io.EOF
		}
		if err := st.await(told, moved); err != nil {
			st.blame(err)
		}
	}
}

// await waits for something to happen; once the whole message was sent, only as long as an
// answer may take.
func (st *stream) await(told bool, moved time.Time) error {
	var late <-chan time.Time
	if told {
		timer := time.NewTimer(time.Until(moved.Add(messagePatience * st.l.patience)))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-st.filled:
	case <-late:
		st.mu.Lock()
		silent := st.moved.Equal(moved)
		st.mu.Unlock()
		if silent {
			st.l.suspect(moved)
			return errSilent
		}
	}
	return nil
}

// blamed is an error of a filter.
type blamed struct {
	name string
	err  error
}

func (b *blamed) Error() string { return "filter " + b.name + ": " + b.err.Error() }

func (b *blamed) Unwrap() error { return b.err }

// blame ends the stream with an error of the filter.
func (st *stream) blame(err error) { st.fail(&blamed{st.name, err}) }

// fail ends the stream with an error for both sides.
func (st *stream) fail(err error) {
	st.mu.Lock()
	if st.err == nil {
		st.err = err
		st.back = nil
	}
	st.mu.Unlock()
	notify(st.filled)
	notify(st.emptied)
}

func (st *stream) failed() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.err
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Stream is a message on its way through the filters of a chain: it is written to the
// first, and what the last one made of it is read. One goroutine may write while another
// one reads.
type Stream struct {
	l       *Link
	stages  []*stream
	pumps   sync.WaitGroup
	reading *stream
}

// Stream begins a message for those filters that want to see its lines. It gives nil
// when there are none. Each may give back at most that many octets. The error is the reply.
func (l *Link) Stream(most int64) (*Stream, error) {
	if !l.Decides(DataLine) {
		return nil, nil
	}
	s := &Stream{l: l}
	for i := range l.chain.members {
		m := &l.chain.members[i]
		if m.Process == nil || !l.parts[i].phases.Has(DataLine) || m.down(&l.parts[i]) && m.Process.FailOpen {
			continue
		}
		err := errGone
		var st *stream
		if life := l.parts[i].life; life != nil {
			st, err = newStream(life, l.Session, m.Name, most)
		}
		if err != nil {
			s.End()
			return nil, l.broken(m.Name, DataLine, err)
		}
		s.stages = append(s.stages, st)
	}
	if len(s.stages) == 0 {
		return nil, nil
	}
	for i := range s.stages[1:] {
		s.pumps.Go(func() { s.pump(s.stages[i], s.stages[i+1]) })
	}
	s.reading = s.stages[len(s.stages)-1]
	return s, nil
}

// pump carries what one process gives back to the next one.
func (s *Stream) pump(from, to *stream) {
	_, err := io.Copy(to, struct{ io.Reader }{from})
	if err == nil {
		err = to.Close()
	}
	if err != nil {
		from.fail(err)
		to.fail(err)
	}
}

// Write gives the first filter a part of the message, with LF line ends. The error is that of any filter.
func (s *Stream) Write(p []byte) (int, error) { return s.stages[0].Write(p) }

// Close tells that the message is whole.
func (s *Stream) Close() error { return s.stages[0].Close() }

// Read gives what the filters made of the message; io.EOF after all of it.
func (s *Stream) Read(p []byte) (int, error) { return s.reading.Read(p) }

// WriteTo is io.WriterTo.
func (s *Stream) WriteTo(w io.Writer) (n int64, err error) {
	for {
		b, err := s.reading.next()
		if err == io.EOF {
			return n, nil
		}
		if err == nil {
			_, err = w.Write(b)
			n += int64(len(b))
		}
		if err != nil {
			return n, err
		}
	}
}

// Abort ends the message with an error on both sides.
func (s *Stream) Abort(err error) {
	for _, st := range s.stages {
		st.fail(err)
	}
}

// Failure gives the reply to an error of Write or Read, and logs it when a filter is to blame.
func (s *Stream) Failure(err error) error {
	var b *blamed
	switch {
	case errors.As(err, &b):
		return s.l.broken(b.name, DataLine, b.err)
	case errors.Is(err, ErrLineTooLong):
		return &gosmtp.SMTPError{Code: 554, EnhancedCode: gosmtp.EnhancedCode{5, 6, 0}, Message: "Message refused: line too long"}
	}
	return err
}

// End frees what belongs to the message. It must be called once when nobody reads or writes any
// more.
func (s *Stream) End() {
	s.Abort(io.ErrClosedPipe)
	s.pumps.Wait()
	for _, st := range s.stages {
		st.l.forget(st.token)
	}
}
