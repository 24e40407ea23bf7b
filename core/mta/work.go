package mta

import (
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
)

const (
	surplusWait = time.Second // how long a second idle session waits for work
	maxRejected = 10          // messages refused in a row after which a session ends
)

// loop sends what there is. It gives the reason why it ended, or the error of a connection
// that is lost.
func (s *session) loop(p peer) (string, error) {
	tx := s.next(p, true)
	for tx != nil {
		s.m.mu.Lock()
		s.current = tx
		s.m.mu.Unlock()
		following, err := p.send(tx, s.sender, func() *transaction {
			s.following = s.next(p, false)
			return s.following
		})
		s.following = nil
		if following == nil {
			// Before the results are out: what they cause to be submitted is for this session.
			s.m.mu.Lock()
			s.free(true)
			s.m.mu.Unlock()
		}
		s.settle(p, tx, err)
		s.m.mu.Lock()
		s.current = nil
		s.m.mu.Unlock()
		if err != nil || p.closed() != nil {
			if following != nil {
				s.returnTask(following.task)
			}
			if err == nil {
				return "server-closing", nil
			}
			return "", err
		}
		if s.rejected >= maxRejected {
			s.tr.Infof("mta host-rejects-all-mails")
		}
		if tx = following; tx == nil {
			tx = s.next(p, true)
		}
	}
	if s.failures >= s.limits.MaxFailuresPerSession {
		return "max-failures-per-session", nil
	}
	return "quit", nil
}

// free notes whether the session is about to look for a task. The caller holds the lock.
func (s *session) free(on bool) {
	if s.freeing != on {
		if s.freeing = on; on {
			s.r.freeing++
			s.at.freeing++
		} else {
			s.r.freeing--
			s.at.freeing--
		}
	}
}

func (s *session) sender(msg *Message) address.Address { return s.opts.sender(msg.Sender) }

func (s *session) returnTask(t *task) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.r.giveBack(t)
}

// take takes a task, or as much of it as the server takes at once. The caller holds the lock.
func (s *session) take() *transaction {
	now := time.Now()
	s.step(now)
	s.spend(now)
	tx := s.r.take()
	if most := s.rcptMost; most > 0 && len(tx.rcpts) > most {
		s.r.giveBack(&task{msg: tx.msg, rcpts: tx.rcpts[most:], tries: tx.tries})
		tx = newTransaction(&task{msg: tx.msg, rcpts: tx.rcpts[:most:most], tries: tx.tries})
	}
	return tx
}

// usable reports whether another transaction may begin on this connection. One that is under
// way counts already.
func (s *session) usable(begun int) bool {
	if _, is := s.m.isBlocked(s.choice.source, s.r.limitDomain()); is {
		return false
	}
	return !s.m.stopping && !s.m.paused && !s.disliked && s.sent+begun < s.limits.SessionMailMax &&
		s.failures < s.limits.MaxFailuresPerSession && s.rejected < maxRejected
}

// next takes a task. With wait it stays for one as long as the keep-alive lasts; without, it
// is called while a transaction is under way, to send the next one along.
func (s *session) next(p peer, wait bool) *transaction {
	if !wait && (s.limits.TransactionDelay > 0 || p.closed() != nil) {
		return nil
	}
	if wait && s.sent > 0 && s.limits.TransactionDelay > 0 && !s.sleep(s.limits.TransactionDelay) {
		return nil
	}
	m := s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	s.free(false)
	if !wait {
		if !s.usable(1) || len(s.r.tasks) == 0 || !s.turnAt(time.Now()).IsZero() || s.turn+1 >= turnShared && s.yields() {
			return nil
		}
		return s.take()
	}
	for idleSince := time.Now(); s.usable(0); {
		if s.moved && !s.fits(p) {
			return nil
		}
		at := s.turnAt(time.Now())
		switch other := s.nextRelay(); {
		case other != nil && (s.turn >= turnShared || len(s.r.tasks) == 0):
			s.turnTo(other)
			continue
		case len(s.r.tasks) > 0 && at.IsZero() && (s.turn < turnOther || !s.wanted()):
			return s.begin()
		case s.wanted():
			s.leave()
			return nil
		}
		keep := s.limits.SessionKeepalive
		if s.at.spare.Len() > 0 {
			keep = min(keep, surplusWait)
		}
		until := idleSince.Add(keep)
		waits := len(s.r.tasks) > 0 && at.Before(until) // for the rate to let the next one go
		if waits {
			until = at
		}
		if woken := s.idle(time.Until(until)); s.leaving || !woken && (!waits || s.m.stopping) {
			return nil
		}
	}
	return nil
}

// yields reports whether another relay is to have the connection next.
func (s *session) yields() bool {
	return s.nextRelay() != nil || s.turn+1 >= turnOther && s.wanted()
}

// begin takes a task. The caller holds the lock.
func (s *session) begin() *transaction {
	tx := s.take()
	if s.sent == 0 {
		s.m.dispatch(s.r) // now that the server takes mail there may be more sessions
	}
	s.m.lookAgain(s.at)
	return tx
}

func (r *relay) take() *transaction {
	t := r.tasks[0]
	r.taken++
	r.tasks[0] = nil
	r.tasks = r.tasks[1:]
	return newTransaction(t)
}

// idle waits for a task. The caller holds the lock, which is given up meanwhile.
func (s *session) idle(d time.Duration) (woken bool) {
	m := s.m
	s.park()
	m.lookAgain(s.at) // who counted on it and may not have it
	m.mu.Unlock()
	t := time.NewTimer(d)
	select {
	case <-s.wake:
		woken = true
	case <-t.C:
	case <-m.stop:
	case <-m.ctx.Done():
	}
	t.Stop()
	m.mu.Lock()
	if len(s.parked) > 0 {
		s.unpark()
		return false
	}
	if !woken {
		<-s.wake // it was sent together with what ended the wait
	}
	if !s.leaving {
		s.r.woken--
	}
	return true
}

func (s *session) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.m.stop:
	case <-s.m.ctx.Done():
	}
	return false
}

// settle gives out the results of a transaction. Recipients without one are tried again
// when it is sure that the message did not arrive: over another connection when this one is lost.
func (s *session) settle(p peer, tx *transaction, err error) {
	first := s.sent == 0
	s.sent++
	s.turn++
	s.count(tx)
	again := tx.again(p.closed(), err, first)
	s.m.mu.Lock()
	if others := s.judge(tx); len(others) > 0 {
		if again == nil {
			again = &task{msg: tx.msg, tries: tx.tries + 1}
		}
		again.rcpts = append(again.rcpts, others...)
	}
	s.m.mu.Unlock()
	s.report(tx, tx.fates)
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if c, ok := p.(*client); ok && c.stalled && !tx.body && s.m.ctx.Err() == nil {
		// It says that it has PIPELINING, but loses what it did not wait for.
		s.m.cfg.Log.Infof("smtp-out: %s does not answer commands that are sent together: sending it one at a time", s.choice.target.addr)
		s.m.hostFor(s.choice.target.addr).serial = time.Now().Add(penaltyMax)
	} else if err != nil && first && !tx.body && s.m.ctx.Err() == nil {
		s.r.lastFate = lost(err)
		s.r.failed[s.choice.route.key] = true
		s.m.disable(s.choice.route)
	}
	if again != nil {
		s.r.giveBack(again)
	}
}

// again gives the recipients that are to be tried once more at once, and settles the others.
func (tx *transaction) again(closing *fate, err error, first bool) *task {
	end := lost(errSequence)
	if err != nil {
		end = lost(err)
	}
	if closing != nil {
		end = *closing
	}
	broken := err != nil || closing != nil && tx.accepted == 0
	tries := tx.tries
	switch {
	case broken && !tx.body && (tries+1 >= maxTries || first && err == nil):
		tx.settle(end)
	case broken && !tx.body:
		tries++
	default:
		// The message may have arrived. (Or the server forgot to reply for a recipient.)
		tx.settleTaken(end)
	}
	if open := tx.open(); len(open) > 0 {
		return &task{msg: tx.msg, rcpts: open, tries: tries}
	}
	return nil
}

// count keeps the runs of refusals.
func (s *session) count(tx *transaction) {
	if filterFates(tx.fates) { // the server has no part in it
		return
	}
	delivered := false
	for _, f := range tx.fates {
		switch f.status {
		case envelope.Delivered:
			delivered = true
			s.failures = 0
		case envelope.TempFail, envelope.PermFail:
			s.failures++
		}
	}
	if s.rejected++; delivered {
		s.rejected = 0
	}
}

func (s *session) report(tx *transaction, fates []fate) {
	s.m.conclude(s.origin, s.sender(tx.msg), tx.msg, tx.rcpts, fates)
	for _, f := range fates {
		if f.status != 0 {
			s.m.mu.Lock()
			s.m.note(s.r, f.text)
			s.m.mu.Unlock()
			return
		}
	}
}
