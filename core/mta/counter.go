package mta

import (
	"container/list"
	"time"
)

// counter counts connections of something that is limited.
type counter struct {
	conns   int
	last    time.Time   // when the last one began
	waiting list.List   // of *relay: those that it keeps from connecting, first come, first served
	spare   list.List   // of *session: those of its connections that wait for work
	busy    list.List   // of *session: of a source, those that do something, the longest at one step first
	pressed *time.Timer // of a source, gives slow connections up
	leaving int         // connections that end to make room
	window  float64     // connections that there may be, as far as is known; 0: nothing is
	shrunk  time.Time   // when it was made smaller
	why     string      // because of what that was, as far as it is known
	start   int         // width of the window at the start and
	most    int         // limit, of what used it last; 0: nothing did
	rate    rate
}

func (c *counter) begin(now time.Time) { c.conns++; c.last = now }

// unused reports whether nothing would be lost with the counter at a time.
func (c *counter) unused(now time.Time) bool {
	return c.conns == 0 && c.waiting.Len() == 0 && now.Sub(c.last) > penaltyMax
}

// bound is a limit that a new connection must keep.
type bound struct {
	counter *counter
	max     int
	delay   time.Duration
	start   int // of its window, 0 when it has none
	mails   int // a minute, 0 for any number
}

// check says whether another connection may begin now; if not, which counter is full or when
// it may be tried again.
func check(now time.Time, bounds ...bound) (ok bool, full *counter, at time.Time) {
	ok = true
	for _, b := range bounds {
		if b.counter.conns >= b.max || b.start > 0 && b.counter.conns >= b.counter.width(b.start) {
			return false, b.counter, time.Time{}
		}
		if next := b.counter.rate.ready(b.mails, now); !next.IsZero() {
			ok = false
			if next.After(at) {
				at = next
			}
		}
		if next := b.counter.last.Add(b.delay); b.delay > 0 && now.Before(next) {
			ok = false
			if next.After(at) {
				at = next
			}
		}
	}
	return ok, nil, at
}

// seat is a place in a line in which a relay waits.
type seat struct {
	line *list.List
	at   *list.Element
}

// wait lets a relay wait in these lines and no others. Where it waits already it keeps its
// place. The caller holds the lock.
func (r *relay) wait(lines []*list.List) {
	var seats []seat
	for _, l := range lines {
		if i := seatIn(seats, l); i >= 0 {
			continue
		}
		if i := seatIn(r.seats, l); i >= 0 {
			seats = append(seats, r.seats[i])
		} else {
			seats = append(seats, seat{l, l.PushBack(r)})
		}
	}
	for _, s := range r.seats {
		if seatIn(seats, s.line) < 0 {
			s.line.Remove(s.at)
		}
	}
	r.seats = seats
}

func seatIn(seats []seat, l *list.List) int {
	for i := range seats {
		if seats[i].line == l {
			return i
		}
	}
	return -1
}

// mostPassed is how many relays that still have to wait are passed over for one behind them
// that does not, its limits being wider.
const mostPassed = 8

// freed lets those connect who waited for a place of c. The caller holds the lock.
func (m *MTA) freed(c *counter) { m.let(&c.waiting) }

// let dispatches the relays in a line until some have to go on waiting.
func (m *MTA) let(line *list.List) {
	passed := 0
	for e := line.Front(); e != nil && passed < mostPassed; {
		r := e.Value.(*relay)
		next := e.Next()
		m.dispatch(r)
		if seatIn(r.seats, line) >= 0 {
			passed++
		}
		if e = next; e != nil && seatIn(e.Value.(*relay).seats, line) < 0 {
			e = line.Front() // it got away meanwhile
		}
	}
}

// makeRoom ends a connection of c that waits for work, when more relays wait for a place than
// connections are about to end. The caller holds the lock.
func (m *MTA) makeRoom(c *counter) {
	if c.spare.Len() > 0 && c.waiting.Len() > c.leaving {
		s := c.spare.Front().Value.(*session)
		s.leave()
		s.wake <- struct{}{} // has room for one, and only those that are parked are woken
	} else if c.waiting.Len() > c.leaving && c.busy.Len() > 0 {
		m.press(c)
	}
}

// leave notes that a session is about to end so that others have its place.
func (s *session) leave() {
	s.unpark()
	s.leaving = true
	for _, c := range s.counts {
		c.leaving++
	}
}

// wanted reports whether a relay that cannot use this connection waits for its place.
func (s *session) wanted() bool {
	for _, c := range s.counts {
		if c.waiting.Len() > c.leaving {
			return true
		}
	}
	return false
}

func counterFor[K comparable](all map[K]*counter, k K) *counter {
	c := all[k]
	if c == nil {
		c = &counter{}
		all[k] = c
	}
	return c
}
