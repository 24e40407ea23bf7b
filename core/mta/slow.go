package mta

import (
	"context"
	"errors"
	"time"
)

// A source address has so many connections (max-conn-per-source), for all destinations
// together. Those to servers that do not answer, or answer very slowly, would take all of them
// in the end. So while others wait for a place, and more than half of the connections of a
// source have not got on for Timeouts.Slow, these are given up, the slowest first. Their
// recipients wait for another attempt. What is not given up is one whose message may have
// arrived.

var errSlow = errors.New("server too slow while others wait")

// step notes that the session begins something that a server may be slow with. The caller holds
// the lock.
func (s *session) step(now time.Time) {
	s.since = now
	busy := &s.counts[2].busy
	if s.turnOf == nil {
		s.turnOf = busy.PushBack(s)
	} else {
		busy.MoveToBack(s.turnOf)
	}
}

// rest notes that the session does nothing. The caller holds the lock.
func (s *session) rest() {
	if s.turnOf != nil {
		s.counts[2].busy.Remove(s.turnOf)
		s.turnOf = nil
	}
}

// giveUpSlow ends the slowest connection of a source if most are slow. Otherwise it gives when
// it may be looked at again. The caller holds the lock.
func (m *MTA) giveUpSlow(c *counter) (again time.Duration) {
	now := time.Now()
	slow := 0
	var slowest *session
	for e := c.busy.Front(); e != nil; e = e.Next() {
		s := e.Value.(*session)
		if s.leaving {
			continue
		}
		if d := m.times.Slow - now.Sub(s.since); d > 0 {
			again = d
			break
		}
		if slow++; slowest == nil && s.stoppable() {
			slowest = s
		}
	}
	if slow*2 <= c.conns-c.leaving || slowest == nil {
		return again
	}
	slowest.leave()
	slowest.slow = true
	slowest.cancel()
	return 0
}

// stoppable reports whether it is sure that no message of the session may have arrived, and sees
// to it that it stays so.
func (s *session) stoppable() bool {
	tx := s.current
	return tx == nil || tx.stage.CompareAndSwap(stageEnvelope, stageStopped) || tx.stage.Load() == stageStopped
}

// Stages of a transaction.
const (
	stageEnvelope = iota
	stageBody     // the body was begun
	stageStopped  // it is given up, and must not go on
)

// bodyMayBegin reports whether the transaction was not given up, and sees to it that it is not.
func (tx *transaction) bodyMayBegin() bool { return tx.stage.CompareAndSwap(stageEnvelope, stageBody) }

// press gives slow connections up as long as others wait for their places. The caller holds the
// lock.
func (m *MTA) press(c *counter) {
	if c.pressed != nil || m.stopping {
		return
	}
	var again time.Duration
	for again == 0 && c.waiting.Len() > c.leaving && c.busy.Len() > c.leaving {
		before := c.leaving
		if again = m.giveUpSlow(c); c.leaving == before {
			break
		}
	}
	c.pressed = time.AfterFunc(max(again, m.times.Slow/4), func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if c.pressed = nil; c.waiting.Len() > 0 {
			m.press(c)
		}
	})
}

// context gives the session one that ends when it is given up.
func (s *session) context() { s.ctx, s.cancel = context.WithCancel(s.m.ctx) }
