package smtp

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// rate counts something that may happen so many times in a span of time, without a lock:
// a bucket that leaks. It holds the time at which the bucket is empty, in nanoseconds.
type rate struct{ empty atomic.Int64 }

// quota is what a rate is held to: the time that one event takes to leak away, and the
// time that a full bucket takes, in nanoseconds. The zero value is no limit.
type quota struct{ each, span int64 }

// add counts n events at the time now. When there is no room for them it counts none and
// gives false.
func (r *rate) add(now int64, q quota, n int) bool {
	if q.each == 0 {
		return true
	}
	for {
		old := r.empty.Load()
		next := max(old, now) + q.each*int64(n)
		if next-now > q.span {
			return false
		}
		if r.empty.CompareAndSwap(old, next) {
			return true
		}
	}
}

// fill makes the bucket full.
func (r *rate) fill(now int64, q quota) {
	for {
		old := r.empty.Load()
		if old >= now+q.span || r.empty.CompareAndSwap(old, now+q.span) {
			return
		}
	}
}

// full tells whether another event would be too many.
func (r *rate) full(now int64, q quota) bool {
	return q.each != 0 && max(r.empty.Load(), now)+q.each-now > q.span
}

// quotas are Limits in the form in which they are applied.
type quotas struct {
	*Limits
	connects, errors, authErrors, rcpts [2]quota
}

// The places of the limits of a client and of a network.
const (
	ofSource = iota
	ofNetwork
)

// newQuotas makes quotas of so many in a span, each divided into parts.
func newQuotas(l PerClient, span time.Duration, parts int) (q [2]quota) {
	for i, n := range [...]int{l.Source, l.Network} {
		if n > 0 {
			each := max(1, int64(span)/int64(n)/int64(parts))
			q[i] = quota{each, each * int64(n) * int64(parts)}
		}
	}
	return q
}

// exempt tells whether a client has no limits: programs of this host speak for many users.
func (q *quotas) exempt(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	for _, p := range q.Exempt {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// refusal says what keeps a client from having another session: nothing when the word is
// empty. A connection counts when it is let in.
func (q *quotas) refusal(src *Source, now int64) refusal {
	words := [...][3]string{
		{"max-session-per-source", "max-errors-per-source", "max-connect-per-source"},
		{"max-session-per-network", "max-errors-per-network", "max-connect-per-network"},
	}
	most := [...]int{q.Session.Source, q.Session.Network}
	for i, e := range [...]*Source{src, src.network} {
		switch {
		case most[i] > 0 && e.sessions >= most[i]:
			return refusal{e.prefix, words[i][0], "Too many sessions from your address"}
		case e.errors.full(now, q.errors[i]):
			return refusal{e.prefix, words[i][1], "Too many errors from your address"}
		case e.connects.full(now, q.connects[i]):
			return refusal{e.prefix, words[i][2], "Too many connections from your address"}
		}
	}
	src.connects.add(now, q.connects[ofSource], 1)
	src.network.connects.add(now, q.connects[ofNetwork], 1)
	return refusal{}
}
