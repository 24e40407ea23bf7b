package filter

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/core/trace"
)

// Limits of a filter process.
const (
	// MaxDataLine is the longest line of a message that a process is given, or gives back, in
	// octets without line end and escaping dot.
	MaxDataLine = 64 << 10

	maxSaid       = MaxDataLine + 256 // octets of a line of a process, with its end
	mostUnsent    = 256 << 10         // octets: who has more to say waits
	mostRegister  = 256               // lines of a handshake
	mostNoise     = 20                // lines about what it says wrong, in each noiseSpan
	mostAbandoned = 64                // streams that may still be answered
	noiseSpan     = time.Minute

	// messagePatience is how many times as long as for other answers is waited for those about a
	// whole message, which may have to be looked at by others. A client waits for ten minutes,
	// https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.2.6
	messagePatience = 4
)

var errSilent = errors.New("did not answer in time")

// life is one life of a filter process: a connection to its standard input and output.
type life struct {
	registration
	name     string
	rw       io.ReadWriteCloser
	patience time.Duration
	log      *trace.Logger
	reader   *bufio.Reader
	done     chan struct{} // closed when it is over

	mu        sync.Mutex
	space     sync.Cond // unsent became shorter, or it is over
	unsent    []byte
	writable  chan struct{} // there is something unsent
	writing   bool
	waiting   map[uint64]*question // by token
	abandoned [mostAbandoned]uint64
	dropped   int       // of abandoned
	moved     time.Time // when it took something, or something began to be wanted
	heard     time.Time // when it said something
	err       error     // why it is over

	noiseSince time.Time // of the reader
	noise      int
}

// question is a request that is not answered yet.
type question struct {
	session uint64
	stream  *stream       // of data-line
	answer  chan Decision // of the other phases
}

// handshake greets a process that was just started and waits until it is ready.
func handshake(ctx context.Context, rw io.ReadWriteCloser, opts *Options) (*life, error) {
	l := &life{name: opts.Name, rw: rw, patience: opts.Patience, log: opts.Log, reader: bufio.NewReaderSize(rw, maxSaid),
		done: make(chan struct{}), writable: make(chan struct{}, 1), waiting: make(map[uint64]*question)}
	l.space.L = &l.mu
	stop := context.AfterFunc(ctx, func() { rw.Close() })
	err := l.greet(opts)
	if !stop() { // too late: the connection was closed
		err = fmt.Errorf("was not ready within %s", opts.Handshake)
	}
	if err != nil {
		rw.Close()
		return nil, err
	}
	go l.read()
	go l.write()
	go l.guard()
	return l, nil
}

func (l *life) greet(opts *Options) error {
	var text []byte
	for _, line := range opts.Config {
		text = append(append(append(text, "config|"...), line...), '\n')
	}
	// One that does not listen may still have said why.
	_, _ = l.rw.Write(append(text, "config|ready\n"...))
	for range mostRegister {
		line, err := l.line()
		if err != nil {
			return fmt.Errorf("%w before it was ready", err)
		}
		ready, err := l.take(string(line))
		if ready || err != nil {
			return err
		}
	}
	return errors.New("does not end to register")
}

// line reads a line of the process, without its end.
func (l *life) line() ([]byte, error) {
	b, err := l.reader.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("wrote a line longer than %d octets", maxSaid)
	case err != nil && len(b) > 0:
		return nil, errors.New("ended in the middle of a line")
	case errors.Is(err, io.EOF):
		return nil, errors.New("closed its output")
	case err != nil:
		return nil, fmt.Errorf("closed its output: %w", err)
	}
	b = b[:len(b)-1]
	if n := len(b); n > 0 && b[n-1] == '\r' {
		b = b[:n-1]
	}
	return b, nil
}

func (l *life) read() {
	for {
		line, err := l.line()
		if err != nil {
			l.fail(err)
			return
		}
		a, err := parseAnswer(line)
		if err == nil {
			err = l.answered(&a)
		} else {
			l.refuse(&a, err)
		}
		if err != nil {
			l.complain(err)
		}
	}
}

// answered hands an answer to who waits for it.
func (l *life) answered(a *answer) error {
	l.mu.Lock()
	l.heard = time.Now()
	q := l.waiting[a.token]
	known := q != nil && q.session == a.session
	if known && q.stream == nil && a.line == nil {
		delete(l.waiting, a.token)
	}
	late := slices.Contains(l.abandoned[:], a.token)
	l.mu.Unlock()
	switch {
	case !known && late:
		return nil
	case !known:
		return fmt.Errorf("answered for session %016x with token %016x, which waits for no answer", a.session, a.token)
	case q.stream == nil && a.line != nil:
		return errors.New("gave a line where a decision was asked for")
	case q.stream == nil:
		q.answer <- a.decision
	case a.line == nil:
		err := errors.New("gave a decision where lines were asked for")
		q.stream.blame(err)
		return err
	default:
		q.stream.give(a.line)
	}
	return nil
}

// refuse ends at once the wait for an answer that cannot be used.
func (l *life) refuse(a *answer, err error) {
	l.mu.Lock()
	l.heard = time.Now()
	q := l.waiting[a.token]
	if q == nil || q.session != a.session {
		l.mu.Unlock()
		return
	}
	delete(l.waiting, a.token)
	l.mu.Unlock()
	if q.stream != nil {
		q.stream.blame(err)
		return
	}
	q.answer <- Decision{Verdict: verdictCount, Text: err.Error()}
}

// complain logs what a process does wrong, but not all of it.
func (l *life) complain(err error) {
	if now := time.Now(); now.Sub(l.noiseSince) > noiseSpan {
		l.noiseSince, l.noise = now, 0
	}
	if l.noise++; l.noise <= mostNoise {
		l.log.Warnf("filter %s: the process %v", l.name, err)
	} else if l.noise == mostNoise+1 {
		l.log.Warnf("filter %s: the process goes on like that", l.name)
	}
}

// write sends what was said, everything that waits at once.
func (l *life) write() {
	var b []byte
	for {
		select {
		case <-l.done:
			return
		case <-l.writable:
		}
		l.mu.Lock()
		b, l.unsent, l.writing = l.unsent, b[:0], true
		l.space.Broadcast()
		l.mu.Unlock()
		for rest := b; len(rest) > 0; {
			n, err := l.rw.Write(rest[:min(len(rest), 64<<10)])
			if err != nil {
				l.fail(fmt.Errorf("does not read: %w", err))
				return
			}
			rest = rest[n:]
			l.mu.Lock()
			l.moved = time.Now()
			l.mu.Unlock()
		}
		l.mu.Lock()
		l.writing = false
		l.mu.Unlock()
	}
}

// guard ends a process that does not read.
func (l *life) guard() {
	tick := time.NewTicker(l.patience / 4)
	defer tick.Stop()
	for {
		select {
		case <-l.done:
			return
		case now := <-tick.C:
			l.mu.Lock()
			hangs := (l.writing || len(l.unsent) > 0) && now.Sub(l.moved) > l.patience
			l.mu.Unlock()
			if hangs {
				l.fail(fmt.Errorf("did not read for %s", l.patience))
				return
			}
		}
	}
}

// fail ends this life; everybody who waits gets an error.
func (l *life) fail(err error) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	l.err = err
	close(l.done)
	l.rw.Close()
	l.space.Broadcast()
	waiting := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	for _, q := range waiting {
		if q.stream != nil {
			q.stream.blame(errGone)
		}
	}
}

// errGone tells that the process has ended, and with it what it knew of the session.
var errGone = errors.New("the process has ended")

// over reports whether this life has ended.
func (l *life) over() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// failure says why it is over.
func (l *life) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// send adds what compose appends to what the process is told. It waits while that does not read.
func (l *life) send(compose func(b []byte) []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sendLocked(compose)
}

func (l *life) sendLocked(compose func(b []byte) []byte) error {
	for len(l.unsent) >= mostUnsent && l.err == nil {
		l.space.Wait()
	}
	if l.err != nil {
		return errGone
	}
	if len(l.unsent) == 0 && !l.writing {
		l.moved = time.Now()
	}
	l.unsent = compose(l.unsent)
	select {
	case l.writable <- struct{}{}:
	default:
	}
	return nil
}

// register gives a token to a question. The answer may come at once.
func (l *life) register(q *question) (token uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return 0, errGone
	}
	for token = rand.Uint64(); token == 0 || l.waiting[token] != nil; {
		token = rand.Uint64()
	}
	l.waiting[token] = q
	return token, nil
}

// forget drops a question. Its answer, should it come, is no error.
func (l *life) forget(token uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.waiting[token]; ok {
		delete(l.waiting, token)
		l.abandoned[l.dropped%mostAbandoned] = token
		l.dropped++
	}
}

// decide asks for a decision and waits for it.
func (l *life) decide(ctx context.Context, s *Session, p Phase, arg ...string) (Decision, error) {
	q := &question{session: s.ID, answer: make(chan Decision, 1)}
	token, err := l.register(q)
	if err != nil {
		return Decision{}, err
	}
	now := time.Now()
	if err := l.send(func(b []byte) []byte {
		return appendFields(appendHead(b, "filter", now, s.Subsystem, p.String(), s.ID, token), arg)
	}); err != nil {
		return Decision{}, err
	}
	wait := l.patience
	if p == Commit {
		wait *= messagePatience
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case d := <-q.answer:
		return checkAnswer(d, p)
	case <-l.done:
		return Decision{}, errGone
	case <-ctx.Done():
		l.forget(token)
		return Decision{}, ctx.Err()
	case <-timer.C:
		l.forget(token)
		l.suspect(now)
		return Decision{}, errSilent
	}
}

// checkAnswer refuses what cannot be used in a phase.
func checkAnswer(d Decision, p Phase) (Decision, error) {
	if d.Verdict == verdictCount {
		return Decision{}, errors.New(d.Text)
	}
	if d.Verdict == Rewrite && p != Helo && p != Ehlo && p != MailFrom && p != RcptTo {
		return Decision{}, fmt.Errorf("decided %q, where nothing can be rewritten", d.Verdict)
	}
	return d, nil
}

// suspect ends a process that was silent to everybody since somebody asked.
func (l *life) suspect(asked time.Time) {
	l.mu.Lock()
	dead := l.heard.Before(asked)
	l.mu.Unlock()
	if dead {
		l.fail(errors.New("said nothing for as long as it may take to answer"))
	}
}

// report tells of an event.
func (l *life) report(s *Session, e Event, now time.Time, params []string) {
	_ = l.send(func(b []byte) []byte {
		return appendFields(appendHead(b, "report", now, s.Subsystem, e.String(), s.ID, 0), params)
	})
}
