package mta

import (
	"net/netip"
	"time"
)

// When disliking servers refused a source within dislikeTime because of its address, the others
// come first. A source with mostly slow servers gives up those that are slow.
const (
	dislikers   = 3
	dislikeTime = time.Hour
)

// sourceHealth is what is known of an address that we connect from.
type sourceHealth struct {
	counter
	refusals map[netip.Addr]time.Time // by server, the last
}

// disliked notes the refusal of a server and reports whether it was the one that makes the
// source a bad one.
func (h *sourceHealth) disliked(by netip.Addr, now time.Time) bool {
	was := h.bad(now)
	if h.refusals == nil {
		h.refusals = make(map[netip.Addr]time.Time)
	}
	if len(h.refusals) < 10*dislikers {
		h.refusals[by] = now
	}
	return !was && h.bad(now)
}

// bad reports whether several servers refused the source of late.
func (h *sourceHealth) bad(now time.Time) bool {
	for a, t := range h.refusals {
		if now.Sub(t) > dislikeTime {
			delete(h.refusals, a)
		}
	}
	return len(h.refusals) >= dislikers
}

func (m *MTA) sourceFor(a netip.Addr) *sourceHealth {
	h := m.sources[a]
	if h == nil {
		h = &sourceHealth{}
		m.sources[a] = h
	}
	return h
}

// sourcesFor gives the addresses to connect to a server from in the order of trying: in turns,
// those last that several servers refused. The invalid address lets the system choose.
func (m *MTA) sourcesFor(r *relay, to netip.Addr, now time.Time) []netip.Addr {
	all := r.opts.Sources
	if len(all) == 0 {
		return []netip.Addr{{}}
	}
	var good, bad []netip.Addr
	for i := range all {
		a := all[(r.nextSource+i)%len(all)].Unmap()
		switch h := m.sources[a]; {
		case a.Is4() != to.Is4():
		case h != nil && h.bad(now):
			bad = append(bad, a)
		default:
			good = append(good, a)
		}
	}
	return append(good, bad...)
}
