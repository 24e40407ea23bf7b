package mta

import (
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

// A window is how many connections a server, a route, a source, a relay or a domain may have now,
// within its limit. It begins with Limits.StartConn, grows by one when as many transactions
// as it is wide succeeded while it was used to the full, and is halved by what tells that the
// other side has enough of us, at most once in shrinkPause. That of a source address begins with its limit and is
// halved when another server refuses mail because of it.
const shrinkPause = 5 * time.Second

// width gives how many connections there may be.
func (c *counter) width(start int) int {
	if c.window == 0 {
		return max(1, start)
	}
	return max(1, int(c.window))
}

// grow notes a success.
func (c *counter) grow(start int) {
	if w := c.width(start); c.conns >= w && w < 1<<20 {
		c.window = max(c.window, float64(w)) + 1/float64(w)
	}
}

// shrink notes that there are too many connections: half of those that there are, or most when
// it is known how many work. It reports the new width when it is another one.
func (c *counter) shrink(start, most int, now time.Time) (int, bool) {
	if now.Sub(c.shrunk) < shrinkPause && most == 0 {
		return 0, false
	}
	was := c.width(start)
	w := max(1, min(was, c.conns)/2)
	if most > 0 {
		w = min(was, most)
	}
	c.window, c.shrunk, c.why = float64(w), now, ""
	return w, w < was
}

// windows gives the counters of a session that have a window: those of what it goes to.
func (s *session) windows() []*counter {
	return []*counter{s.counts[0], s.counts[1], s.counts[shared], s.counts[shared+2]} // route, host, relay, domain
}

// succeeded lets the windows grow. The caller holds the lock.
func (s *session) succeeded() {
	for _, c := range s.windows() {
		c.grow(s.limits.StartConn)
	}
	s.counts[2].grow(s.limits.MaxConnPerSource)
}

// enough makes the windows of a session smaller because of what its server said or did, and
// logs why, if it is given. most is the number of connections that work; 0 is not known. The
// caller holds the lock.
func (s *session) enough(why string, most int) {
	now := time.Now()
	for _, c := range s.windows()[1:] {
		if _, less := c.shrink(s.limits.StartConn, 0, now); less {
			c.why = why
		}
	}
	w, less := s.counts[0].shrink(s.limits.StartConn, most, now)
	if less {
		s.counts[0].why = why
	}
	if less && why != "" {
		s.m.cfg.Log.Infof("smtp-out: Fewer connections over route %s: %d, because of: %s", s.choice.route.key, w, unquoted(why))
	}
}

// asksForLess reports whether a refusal is about us and not about the message: the server is
// busy or has a policy on how much it takes from us.
func (f *fate) asksForLess() bool {
	return f.said == 421 || f.said/100 == 4 && f.class == 4 && f.code/100 == 7
}

// blamesSource reports whether a refusal is because of the address that we came from, as lists
// of such addresses cause it.
func (f *fate) blamesSource(source string) bool {
	if f.said < 400 || f.class != 0 && (f.code/100 != 7 || f.class < 4) {
		return false
	}
	text := strings.ToLower(f.text)
	if source != "" && strings.Contains(text, source) {
		return true
	}
	for _, word := range []string{"blacklist", "blocklist", "block list", "black list", "dnsbl", "rbl", "blocked using", "listed at", "listed by", "reputation"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// judge learns from the outcome of a transaction, and gives the recipients back that
// another source may have more luck with. The caller holds the lock.
func (s *session) judge(tx *transaction) (again []Recipient) {
	took, less := false, (*fate)(nil)
	for i := range tx.fates {
		f := &tx.fates[i]
		switch {
		case f.status == envelope.Delivered:
			took = true
		case f.status == 0:
		case f.blamesSource(s.origin.source) && s.m.otherSource(s.r, s.choice, f.text):
			if s.disliked = true; tx.tries+1 < maxTries {
				again = append(again, tx.rcpts[i])
				*f = fate{}
				continue
			}
		case f.asksForLess():
			less = f
		}
	}
	switch {
	case less != nil && !took && s.taken == 0 && (tx.unwelcome || less.said == 421):
		// Not one message got through: it is left alone for a while.
		s.enough("", 0)
		s.choice.route.why = less.text
		s.m.disable(s.choice.route)
	case less != nil && s.taken > 0 && less.code/100 != 7:
		// It has enough of this connection only.
	case less != nil:
		s.enough(less.text, 0)
	case took:
		s.succeeded()
	}
	if took {
		s.taken++
	}
	return again
}

// otherSource takes a route out of use whose source the server does not like, if the relay has
// another source to try.
func (m *MTA) otherSource(r *relay, c choice, why string) bool {
	if len(r.opts.Sources) < 2 {
		return false
	}
	c.route.why = why
	m.disable(c.route)
	h := m.sourceFor(c.source)
	m.lessFrom(h, c, why)
	if h.disliked(c.target.addr, time.Now()) {
		m.cfg.Log.Infof("smtp-out: Sending less from %s, which several servers refuse: %s", c.source, unquoted(why))
	}
	for _, a := range r.opts.Sources {
		rt := peek(m.routes, routeKey{a.Unmap(), c.target.addr, c.route.key.port})
		if a.Unmap() != c.source && a.Unmap().Is4() == c.target.addr.Is4() && rt.disabled.IsZero() {
			return true
		}
	}
	return false
}

// lessFrom makes the window of a source smaller that a server refuses. Each server counts once in dislikeTime: one
// that never likes it must not keep it from the others.
func (m *MTA) lessFrom(h *sourceHealth, c choice, why string) {
	now := time.Now()
	if t, before := h.refusals[c.target.addr]; before && now.Sub(t) <= dislikeTime {
		return
	}
	if w, less := h.shrink(max(1, h.start), 0, now); less {
		h.why = why
		m.cfg.Log.Infof("smtp-out: Fewer connections from %s: %d, because of: %s", c.source, w, unquoted(why))
	}
}

// rate is a limit of messages a minute.
type rate struct {
	credit float64
	at     time.Time // when the credit was that
}

// ready gives when the next message may go with so many a minute: the zero time for now.
func (r *rate) ready(perMinute int, now time.Time) time.Time {
	if perMinute <= 0 {
		return time.Time{}
	}
	if r.fill(perMinute, now); r.credit >= 1 {
		return time.Time{}
	}
	return now.Add(time.Duration((1 - r.credit) * float64(time.Minute) / float64(perMinute)))
}

// fill adds what has come together. As many as a second's may go at once, but one at least.
func (r *rate) fill(perMinute int, now time.Time) {
	most := max(1, float64(perMinute)/60)
	if r.at.IsZero() {
		r.credit = most
	} else {
		r.credit = min(most, r.credit+now.Sub(r.at).Minutes()*float64(perMinute))
	}
	r.at = now
}

// spend notes a message.
func (r *rate) spend(perMinute int, now time.Time) {
	if perMinute > 0 {
		r.fill(perMinute, now)
		r.credit--
	}
}

// turnAt gives when the session may begin another transaction, the zero time for now.
func (s *session) turnAt(now time.Time) time.Time {
	a := s.counts[1].rate.ready(s.limits.MailPerMinuteHost, now)
	if b := s.counts[shared+2].rate.ready(s.limits.MailPerMinuteDomain, now); b.After(a) {
		return b
	}
	return a
}

func (s *session) spend(now time.Time) {
	s.counts[1].rate.spend(s.limits.MailPerMinuteHost, now)
	s.counts[shared+2].rate.spend(s.limits.MailPerMinuteDomain, now)
}
