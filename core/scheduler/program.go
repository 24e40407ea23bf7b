package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/program"
	"github.com/godwit-mta/godwit/core/trace"
)

// ProgramOptions say how the program of a scheduler is run.
type ProgramOptions struct {
	program.Options
	Limits Limits
	Clock  func() time.Time // time.Now but for tests
	Wake   func()           // called when Next has something to give
}

// Program leaves it to a program that speaks smtpd-backends(7) which envelope is due when.
// The Scheduler in it is the book: what there is, what is in flight, suspended or paused.
// So the program can be looked up and changed while it does not run, knows nothing that is
// lost with it, and cannot lose an envelope or have one tried that is not to be. It is told
// everything again when it was started again.
type Program struct {
	*Scheduler
	prog  *program.Program
	wake  func()
	log   *trace.Logger
	mu    sync.Mutex // what the program is told comes in the order in which it is entered in the book
	conn  *program.Conn
	told  envelope.ID   // of a program that is being told everything: up to here it was
	whole bool          // it was told everything
	look  chan struct{} // of this life of the program: something has changed
	ready []Batch       // handed out, to be given by Next
}

// OpenProgram starts the program.
func OpenProgram(ctx context.Context, opts ProgramOptions) (*Program, error) {
	p := &Program{Scheduler: New(opts.Limits, opts.Clock), wake: opts.Wake, log: opts.Log}
	p.follow()
	opts.Backend, opts.Up = "scheduler", func(c *program.Conn) { go p.serve(c) }
	var err error
	if p.prog, err = program.Open(ctx, opts.Options); err != nil {
		return nil, err
	}
	return p, nil
}

// Close ends the program.
func (p *Program) Close() { p.prog.Close() }

// serve is one life of the program: it is told what there is and then asked, until it ends.
func (p *Program) serve(c *program.Conn) {
	p.mu.Lock()
	look := make(chan struct{}, 1)
	p.conn, p.look, p.told, p.whole = c, look, 0, false
	p.mu.Unlock()
	for more := true; more; {
		more = p.tellPage(c)
	}
	p.ask(c, look)
}

// tellPage tells the program the next envelopes of the book.
func (p *Program) tellPage(c *program.Conn) bool {
	const page = 500
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != c {
		return false
	}
	infos := p.List(Range{p.told + 1, ^envelope.ID(0)}, page)
	for i := range infos {
		p.tellAdd(&infos[i])
	}
	if len(infos) < page {
		p.whole = true
		return false
	}
	p.told = infos[page-1].ID
	return true
}

// knows reports whether the program is to be told of an envelope now: it runs, and the
// envelope is none of those of which it will be told later.
func (p *Program) knows(id envelope.ID) bool { return p.conn != nil && (p.whole || id <= p.told) }

// tell sends a line. When the program cannot take it, it is told everything in its next life.
func (p *Program) tell(verb string, rest []byte) {
	if p.conn.Tell(verb, rest) != nil {
		p.conn = nil
	}
}

// tellAdd tells the program of an envelope that it may hand out. One that is in flight,
// suspended or held is not of its concern.
func (p *Program) tellAdd(info *Info) {
	if p.conn == nil || info.Suspended || info.Reason != NoHold || info.State == Inflight {
		return
	}
	b := fmt.Appendf(nil, "|%v|%s|%s|%d|%d\n", info.ID, info.Kind, escape(info.Group),
		info.Wait.Milliseconds(), p.expiry(info.ID).Milliseconds())
	p.tell("add", b)
}

// tellOf tells the program what the book has of envelopes now.
func (p *Program) tellOf(ids ...envelope.ID) {
	for _, id := range ids {
		if !p.knows(id) {
			continue
		}
		info, ok := p.Get(id)
		if ok && !info.Suspended && info.Reason == NoHold {
			p.tellAdd(&info)
		} else {
			p.tell("remove", fmt.Appendf(nil, "|%v\n", id))
		}
	}
	p.lookAgain()
}

// lookAgain has the program asked.
func (p *Program) lookAgain() {
	select {
	case p.look <- struct{}{}:
	default:
	}
}

// tellRange tells the program what the book has of a range, or of a part of it.
func (p *Program) tellRange(r Range, part func(*Info) bool) {
	for {
		infos := p.List(r, 1000)
		for i := range infos {
			if part == nil || part(&infos[i]) {
				p.tellOf(infos[i].ID)
			}
		}
		if len(infos) < 1000 || infos[999].ID >= r.Last {
			return
		}
		r.First = infos[999].ID + 1
	}
}

// escape writes a group so that it is one field of a line: an octet that is not a printable
// one of ASCII, and a space, a bar or a percent sign, is %XX.
func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || c == '|' || c == '%' {
			fmt.Fprintf(&b, "%%%02x", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Waits of a program that has nothing to hand out.
const (
	leastWait = 100 * time.Millisecond
	mostWait  = time.Minute
	mostAsked = 256 // envelopes at a time
)

// ask asks for what is due when something has changed or the time has come that the
// program named.
func (p *Program) ask(c *program.Conn, look chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-c.Done():
			p.mu.Lock()
			if p.conn == c {
				p.conn = nil
			}
			p.mu.Unlock()
			return
		case <-look:
		case <-timer.C:
		}
		wait, err := p.round(c)
		if err != nil {
			continue // the connection ends, or has
		}
		timer.Reset(wait)
	}
}

// round asks once, and gives when to ask again.
func (p *Program) round(c *program.Conn) (time.Duration, error) {
	p.overdue()
	n, kinds := min(p.free(), mostAsked), p.unpaused()
	if n == 0 || kinds == "" {
		return mostWait, nil // what changes that also wakes
	}
	ids, wait, err := next(c, n, kinds)
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	batches, refused := p.handOut(ids)
	p.ready = append(p.ready, batches...)
	for _, id := range refused {
		p.refuse(id)
	}
	p.mu.Unlock()
	if len(batches) > 0 {
		p.wake()
		if len(ids) == n {
			return 0, nil
		}
	}
	return min(max(wait, leastWait), mostWait), nil
}

// overdue hands out what has expired and is none of the program's concern: an envelope that
// is held, or whose next attempt would come after its end.
func (p *Program) overdue() {
	p.mu.Lock()
	batches := p.Scheduler.Next(mostAsked)
	p.ready = append(p.ready, batches...)
	p.mu.Unlock()
	if len(batches) > 0 {
		p.wake()
	}
}

// refuse gives back to the program what it must not hand out now.
func (p *Program) refuse(id envelope.ID) {
	info, ok := p.Get(id)
	if ok && info.State == Inflight {
		return // it was handed out twice: once counts
	}
	p.tellOf(id)
}

// next asks the program for up to n envelopes of some kinds.
func next(c *program.Conn, n int, kinds string) (ids []envelope.ID, wait time.Duration, err error) {
	err = c.Ask("next", fmt.Appendf(nil, "|%d|%s\n", n, kinds), func(a *program.Answer) error {
		if len(a.Fields) < 1 || len(a.Fields) > n+1 {
			return fmt.Errorf("%d fields for up to %d envelopes", len(a.Fields), n)
		}
		ms, err := program.ParseNumber(a.Fields[0])
		if err != nil {
			return err
		}
		wait = time.Duration(min(ms, mostWait.Milliseconds())) * time.Millisecond
		for _, f := range a.Fields[1:] {
			id, err := envelope.ParseID(f)
			if err != nil || slices.Contains(ids, id) {
				return fmt.Errorf("%s is no envelope, or twice there", strconv.Quote(f))
			}
			ids = append(ids, id)
		}
		return nil
	})
	var said *program.Error
	if errors.As(err, &said) || errors.Is(err, program.ErrNotFound) {
		c.Fail(errors.New("cannot say what is due: " + err.Error()))
	}
	return ids, wait, err
}

// unpaused names the kinds that may be handed out.
func (p *Program) unpaused() string {
	var names []string
	for k := range kinds {
		if !p.Paused(k) {
			names = append(names, k.String())
		}
	}
	return strings.Join(names, ",")
}
