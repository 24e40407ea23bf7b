package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/program"
	"github.com/godwit-mta/godwit/core/trace"
)

// ProgramOptions say how the program of a queue is run.
type ProgramOptions struct {
	program.Options
	Dir string // for files without a name: long messages that are handed out
	// Pause is the time between two attempts to list the queue; zero means a second.
	Pause time.Duration
}

// Program keeps everything in a program that speaks smtpd-backends(7). Whatever it cannot
// do now is a Temporary error.
//
// A commit whose answer did not come may have been made or not. Its sender is told that it
// was not, so that the program is told to forget the message as soon as it can be told
// something again.
type Program struct {
	prog  *program.Program
	dir   string
	pause time.Duration
	log   *trace.Logger

	mu       sync.Mutex
	reserved map[envelope.MessageID]*incomingBody // nil as long as nothing is streamed
	doubtful map[envelope.MessageID]bool          // commits without an answer; still reserved
	fresh    map[envelope.MessageID]bool          // committed since the store was opened; nil after Load
	closed   bool
}

// OpenProgram starts the program.
func OpenProgram(ctx context.Context, opts ProgramOptions) (*Program, error) {
	if opts.Pause == 0 {
		opts.Pause = time.Second
	}
	s := &Program{dir: opts.Dir, log: opts.Log, pause: opts.Pause, reserved: make(map[envelope.MessageID]*incomingBody),
		doubtful: make(map[envelope.MessageID]bool), fresh: make(map[envelope.MessageID]bool)}
	opts.Backend, opts.Up = "queue", func(c *program.Conn) { go s.settle(c) }
	var err error
	if s.prog, err = program.Open(ctx, opts.Options); err != nil {
		return nil, err
	}
	return s, nil
}

// storeError turns what a program answers into the errors of Store.
func storeError(err error) error {
	var said *program.Error
	switch {
	case errors.Is(err, program.ErrNotFound):
		return ErrNotFound
	case !errors.As(err, &said):
		return err
	case said.Kind == program.NoSpace:
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	case said.Kind == program.Exists:
		return ErrExists
	case said.Kind == program.Size:
		return ErrSize
	}
	return err
}

// conn gives the running program.
func (s *Program) conn() (*program.Conn, error) {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	return s.prog.Conn()
}

// ask puts a request to the running program.
func (s *Program) ask(verb string, rest []byte, take func(a *program.Answer) error) error {
	c, err := s.conn()
	if err != nil {
		return err
	}
	return storeError(c.Ask(verb, rest, take))
}

// askReserve is how many ids the program is asked for at a time.
const askReserve = 500

// Reserve is of Store. An id that is still in use here is not taken, though a program that
// was started again may give it once more.
func (s *Program) Reserve(n int) ([]envelope.MessageID, error) {
	ids := make([]envelope.MessageID, 0, n)
	for round := 0; len(ids) < n; round++ {
		if round > n/askReserve+10 {
			s.Release(ids...)
			return nil, errors.New("the program gives message ids that are in use")
		}
		given, err := s.reserve(min(n-len(ids), askReserve))
		if err != nil {
			s.Release(ids...)
			return nil, err
		}
		s.mu.Lock()
		for _, id := range given {
			if _, used := s.reserved[id]; !used {
				s.reserved[id] = nil
				ids = append(ids, id)
			}
		}
		s.mu.Unlock()
	}
	return ids, nil
}

func (s *Program) reserve(n int) (ids []envelope.MessageID, err error) {
	err = s.ask("reserve", fmt.Appendf(nil, "|%d\n", n), func(a *program.Answer) error {
		if len(a.Fields) != n {
			return fmt.Errorf("%d ids instead of %d", len(a.Fields), n)
		}
		for _, f := range a.Fields {
			id, err := envelope.ParseMessageID(f)
			if err != nil || id == 0 {
				return fmt.Errorf("%q is no message id", f)
			}
			ids = append(ids, id)
		}
		return nil
	})
	return ids, err
}

// Release is of Store.
func (s *Program) Release(ids ...envelope.MessageID) {
	for _, id := range ids {
		s.mu.Lock()
		in, reserved := s.reserved[id]
		doubtful := s.doubtful[id]
		if reserved && !doubtful {
			delete(s.reserved, id)
		}
		s.mu.Unlock()
		if in != nil {
			in.stop()
		}
		if c, err := s.conn(); reserved && err == nil && !doubtful {
			_ = c.Ask("release", fmt.Appendf(nil, "|%v\n", id), nil) // without an answer it is forgotten all the same
		}
	}
}

// settle has a program that was started again forget the messages of which it is not known
// whether it committed them.
func (s *Program) settle(c *program.Conn) {
	s.mu.Lock()
	ids := make([]envelope.MessageID, 0, len(s.doubtful))
	for id := range s.doubtful {
		ids = append(ids, id)
	}
	s.mu.Unlock()
	for _, id := range ids {
		err := c.Ask("release", fmt.Appendf(nil, "|%v\n", id), nil)
		if err != nil {
			s.log.Warnf("queue: message %v may be kept though its sender was told that it is not: %v", id, err)
			continue
		}
		s.mu.Lock()
		delete(s.doubtful, id)
		delete(s.reserved, id)
		s.mu.Unlock()
	}
}

// Create is of Store. What is written is handed on to the program as it comes.
func (s *Program) Create(id envelope.MessageID) (*os.File, error) {
	c, err := s.conn()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, reserved := s.reserved[id]
	if !reserved || s.doubtful[id] {
		return nil, ErrNotFound
	}
	if old != nil {
		return nil, ErrExists
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	in := &incomingBody{id: id, c: c, r: r, moved: make(chan struct{}, 1)}
	s.reserved[id] = in
	go in.forward()
	return w, nil
}

// Commit is of Store.
func (s *Program) Commit(m *Message) error {
	if m.ID == 0 || len(m.Envelopes) == 0 {
		return errEmpty
	}
	if err := assignIDs(m); err != nil {
		return err
	}
	c, err := s.conn()
	if err != nil {
		return err
	}
	s.mu.Lock()
	in, doubtful := s.reserved[m.ID], s.doubtful[m.ID]
	s.mu.Unlock()
	switch {
	case doubtful:
		return ErrExists
	case m.Body == nil && in == nil:
		return ErrNotFound
	case m.Body == nil:
		c = in.c
		if err := in.wait(m.Size); err != nil {
			return err
		}
	}
	rest, err := commitText(m)
	if err != nil {
		return err
	}
	if m.Body != nil {
		if err := sendBody(c, m.ID, m.Body); err != nil {
			return err
		}
	}
	return s.committed(m.ID, in, c.Ask("commit", rest, nil))
}

// commitText writes what follows the id of a commit.
func commitText(m *Message) ([]byte, error) {
	size := m.Size
	if m.Body != nil {
		size = int64(len(m.Body))
	}
	rest := fmt.Appendf(nil, "|%v|%d|%d\n", m.ID, size, len(m.Envelopes))
	var text []byte
	for _, e := range m.Envelopes {
		var err error
		if text, err = appendEnvelope(text[:0], e); err != nil {
			return nil, err
		}
		rest = appendBlock(rest, "envelope", e.ID, text)
		if len(rest) > maxOps {
			return nil, ErrTooMany
		}
	}
	return rest, nil
}

// appendBlock writes WORD|EVPID|LENGTH and the text of an envelope.
func appendBlock(b []byte, word string, id envelope.ID, text []byte) []byte {
	b = fmt.Appendf(b, "%s|%v|%d\n", word, id, len(text))
	return append(b, text...)
}

// sendBody hands a text over that is in memory.
func sendBody(c *program.Conn, id envelope.MessageID, body []byte) error {
	for at := 0; at == 0 || at < len(body); {
		n := min(len(body)-at, dataPiece)
		if err := c.Tell("data", dataText(id, int64(at), body[at:at+n])); err != nil {
			return err
		}
		at += max(n, 1)
	}
	return nil
}

// dataText writes what follows the word data: a piece of a text and where it begins. A
// piece from 0 on starts the text anew.
func dataText(id envelope.MessageID, at int64, piece []byte) []byte {
	b := fmt.Appendf(make([]byte, 0, len(piece)+48), "|%v|%d|%d\n", id, at, len(piece))
	return append(b, piece...)
}

// committed ends a commit.
func (s *Program) committed(id envelope.MessageID, in *incomingBody, err error) error {
	var said *program.Error
	answered := err == nil || errors.Is(err, program.ErrNotFound) || errors.As(err, &said)
	s.mu.Lock()
	switch {
	case err == nil:
		delete(s.reserved, id)
		if s.fresh != nil {
			s.fresh[id] = true
		}
	case !answered:
		s.doubtful[id] = true
	}
	s.mu.Unlock()
	if !answered {
		if c, down := s.prog.Conn(); down == nil { // it was started again meanwhile
			go s.settle(c)
		}
	}
	if in != nil && (err == nil || !answered) {
		in.stop()
	}
	return storeError(err)
}

// Close is of Store: the program is told to write everything out, and ended.
func (s *Program) Close() error {
	c, err := s.conn()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.closed = true
	var streams []*incomingBody
	for _, in := range s.reserved {
		if in != nil {
			streams = append(streams, in)
		}
	}
	s.mu.Unlock()
	for _, in := range streams {
		in.stop()
	}
	if err == nil {
		err = c.Ask("stop", []byte{'\n'}, nil)
	}
	s.prog.Close()
	return err
}

// Halt ends the program without another word.
func (s *Program) Halt() { s.prog.Close() }

// Body is of Store.
func (s *Program) Body(id envelope.MessageID) (Body, error) {
	var b Body
	var failed error // of our disk
	err := s.ask("body", fmt.Appendf(nil, "|%v\n", id), func(a *program.Answer) error {
		if err := a.Expect(&b.Size); err != nil {
			return err
		}
		var err error
		b, failed, err = takeBody(a, b.Size, s.dir)
		return err
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		b.Close()
		return Body{}, err
	}
	return b, nil
}

// takeBody reads a text into memory, or into a file without a name when it is long.
func takeBody(a *program.Answer, size int64, dir string) (b Body, failed, err error) {
	if size <= smallBody {
		w := byteWriter{make([]byte, 0, size)}
		failed, err = a.Block(&w, size)
		return Body{Bytes: w.b, Size: size}, failed, err
	}
	name, f, failed := nameless(dir)
	if failed != nil {
		_, err = a.Block(io.Discard, size)
		return Body{}, failed, err
	}
	os.Remove(name)
	failed, err = a.Block(f, size)
	return Body{File: f, Size: size}, failed, err
}

type byteWriter struct{ b []byte }

func (w *byteWriter) Write(b []byte) (int, error) {
	w.b = append(w.b, b...)
	return len(b), nil
}
