package scheduler

import "time"

// leapAfter is how far the system's clock may run ahead of the time that was counted before
// that is taken for a leap.
const leapAfter = time.Minute

// now reads the clock. A clock that was set back stands still until the next reading.
func (s *Scheduler) now() time.Duration {
	t := s.clock()
	counted := t.Sub(s.last)
	leap := s.wall(t).Sub(s.wall(s.last)) - counted
	if counted > 0 {
		s.elapsed += counted
	}
	s.last = t
	if leap > leapAfter {
		s.hasten(leap)
	}
	return s.elapsed
}

// hasten brings attempts forward by the time that was not counted. On most systems a counter
// stands still while the machine sleeps: what came due meanwhile is due now. A clock that
// was set forward looks the same, and an early attempt does no harm. What is to expire keeps
// its time, so that no clock can end the life of mail.
func (s *Scheduler) hasten(leap time.Duration) {
	for _, slot := range s.heap {
		if e := s.at(slot); e.due < e.expires {
			e.due = max(e.due-int64(leap), 0)
		}
	}
	for i := len(s.heap)/2 - 1; i >= 0; i-- {
		s.down(i, s.heap[i])
	}
}
