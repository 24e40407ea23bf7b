package daemon

import (
	"sync"
	"time"

	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/queue"
	"github.com/godwit-mta/godwit/core/scheduler"
)

// Limits of a page of show queue, so that it comes soon and is not large: it ends with the part that exceeds one.
const (
	pageTime  = 20 * time.Millisecond
	pageLimit = 256 << 10 // octets
	pagePart  = 1536      // envelopes
)

// listerTime is how long the next page is waited for.
const listerTime = 10 * time.Second

// muchShown is how many octets of lists leave enough garbage behind to be looked for.
const muchShown = 1 << 20

// lineReaders is how many goroutines read the envelopes of a page.
const lineReaders = 4

// listing is what one page of a list leaves for the next one.
type listing struct {
	from  lister
	infos []scheduler.Info
	parts [lineReaders][]byte
}

// lister gives many envelopes.
type lister interface {
	Read(id envelope.ID, e *envelope.Envelope) error
}

// storeLister is a lister of any store.
type storeLister struct{ queue.Store }

func (s storeLister) Read(id envelope.ID, e *envelope.Envelope) error {
	found, err := s.Envelope(id)
	if err == nil {
		*e = *found
	}
	return err
}

// showPage answers with a part of the queue as show queue prints it. Whoever does not take the next one leaves
// nothing behind for long.
func (q *queueRole) showPage(r *ipc.Request, rng scheduler.Range) {
	l := q.listing.Swap(nil)
	if l == nil {
		l = q.newListing()
		q.thrifty(false)
	}
	page := &control.QueuePage{Loading: !q.isLoaded()}
	page.Lines, page.Next = q.lines(l, rng)
	much := q.shown.Add(int64(len(page.Lines))) > muchShown
	if page.Next != 0 {
		q.listOn(l, page.Next) // before anybody can ask for it
	} else {
		l.close()
	}
	r.Reply(page)
	if page.Next != 0 {
		return
	}
	q.thrifty(true)
	if page.Lines = nil; much {
		q.shown.Store(0)
		q.tidy()
	}
}

func (q *queueRole) newListing() *listing {
	if s, ok := q.store.(interface{ Reader() *queue.Reader }); ok {
		return &listing{from: s.Reader()}
	}
	return &listing{from: storeLister{q.store}}
}

// close gives all back: timers may still know the listing.
func (l *listing) close() {
	if r, ok := l.from.(*queue.Reader); ok {
		r.Close()
	}
	*l = listing{}
}

// listOn keeps a listing for the next page, which begins with an envelope.
func (q *queueRole) listOn(l *listing, next envelope.ID) {
	if r, ok := l.from.(*queue.Reader); ok {
		r.Forget(next)
	}
	q.listing.Store(l)
	time.AfterFunc(listerTime, func() {
		if q.listing.CompareAndSwap(l, nil) {
			l.close()
			q.tidy()
		}
	})
}

// lines gives those of a page and where the next one begins.
func (q *queueRole) lines(l *listing, rng scheduler.Range) (lines []byte, next envelope.ID) {
	for until := time.Now().Add(pageTime); ; {
		rng.First = q.part(l, rng)
		lines = q.addLines(lines, l)
		if rng.First == 0 || len(lines) >= pageLimit || time.Now().After(until) {
			return lines, rng.First
		}
	}
}

// part lists the first envelopes of a range and gives where the rest of it begins.
func (q *queueRole) part(l *listing, rng scheduler.Range) (rest envelope.ID) {
	for l.infos = l.infos[:0]; len(l.infos) < pagePart; {
		infos := q.step(rng)
		l.infos = append(l.infos, infos...)
		if len(infos) == 0 || infos[len(infos)-1].ID >= rng.Last {
			return 0
		}
		rng.First = infos[len(infos)-1].ID + 1
	}
	return rng.First
}

// addLines appends the lines of the envelopes of a part.
func (q *queueRole) addLines(lines []byte, l *listing) []byte {
	size := (len(l.infos) + lineReaders - 1) / lineReaders
	var readers sync.WaitGroup
	for i := range l.parts {
		infos := l.infos[min(i*size, len(l.infos)):min((i+1)*size, len(l.infos))]
		l.parts[i] = l.parts[i][:0]
		if len(infos) > 0 {
			readers.Go(func() { l.parts[i] = q.appendLines(l.parts[i], l.from, infos) })
		}
	}
	readers.Wait()
	for _, part := range l.parts {
		lines = append(lines, part...)
	}
	return lines
}

// appendLines appends the lines of some envelopes.
func (q *queueRole) appendLines(b []byte, from lister, infos []scheduler.Info) []byte {
	var e envelope.Envelope
	ttl := q.settings().QueueTTL
	for i := range infos {
		if q.listed(from, &infos[i], &e) {
			b = control.AppendQueueLine(b, &e, &infos[i], ttl)
		}
	}
	return b
}

// listed gives the envelope that show queue prints, if it is still there.
func (q *queueRole) listed(from lister, info *scheduler.Info, e *envelope.Envelope) (there bool) {
	if flying, ok := q.flying(info.ID); ok {
		*e = flying
		return true
	}
	if from.Read(info.ID, e) == nil {
		return true
	}
	*e = envelope.Envelope{ID: info.ID}
	return info.Reason != scheduler.NoHold // it cannot be read, but it is there
}
