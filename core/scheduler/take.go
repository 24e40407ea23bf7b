package scheduler

import (
	"slices"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

// follow makes the scheduler the book of another that decides what is due: nothing takes
// turns here, and Next gives nothing but what has expired.
func (s *Scheduler) follow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.follows = true
}

// handOut hands out what somebody else has decided on, whatever its time. Each batch has one
// message, group and fate: an envelope whose time is over is in one that has expired. What
// cannot be handed out, because it is unknown, suspended, paused, in flight already or too
// many, is refused.
func (s *Scheduler) handOut(ids []envelope.ID) (batches []Batch, refused []envelope.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := int64(s.now())
	type key struct {
		message envelope.MessageID
		group   uint32
		expired bool
	}
	where := make(map[key]int)
	for _, id := range ids {
		slot, ok := s.index.get(id)
		if !ok || !s.mayGo(slot) {
			refused = append(refused, id)
			continue
		}
		e := s.at(slot)
		k := key{id.Message(), e.group, now >= e.expires}
		i, joined := where[k]
		if !joined || len(batches[i].IDs) >= s.limits.Batch {
			i = len(batches)
			where[k] = i
			g := s.groups.at(e.group)
			batches = append(batches, Batch{Kind: g.kind, Group: g.name, Message: k.message, Expired: k.expired})
		}
		batches[i].IDs = append(batches[i].IDs, id)
		s.launch(slot)
	}
	for _, b := range batches {
		slices.Sort(b.IDs)
	}
	return batches, refused
}

func (s *Scheduler) mayGo(slot uint32) bool {
	e := s.at(slot)
	switch e.state {
	case Pending, Ready:
		return e.reason == NoHold && !s.paused[s.groups.at(e.group).kind] && s.counts.Inflight < s.limits.Inflight
	}
	return false
}

// free gives how many envelopes more may be in flight.
func (s *Scheduler) free() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.limits.Inflight-s.counts.Inflight, 0)
}

// expiry gives the time until an envelope expires, zero when it has.
func (s *Scheduler) expiry(id envelope.ID) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	slot, ok := s.index.get(id)
	if !ok {
		return 0
	}
	return time.Duration(max(s.at(slot).expires-int64(s.now()), 0))
}
