package scheduler

// Reason says why an envelope is held although it is there: NoHold for one that is not.
type Reason uint8

// The reasons.
const (
	NoHold    Reason = iota
	NoAction         // its action is not in the configuration
	OtherKind        // its action relays what was to be delivered here, or the other way round
	NoKey            // it is encrypted, and its key is not there
	reasons
)

// expires reports whether an envelope that is held meets its end as others do. One that
// cannot be read cannot be returned.
func (r Reason) expires() bool { return r != NoKey }

// hold says why an entry is held, or that it is not.
func (s *Scheduler) hold(e *entry, why Reason) {
	if why >= reasons {
		why = NoHold
	}
	if e.reason != NoHold {
		s.counts.Held--
	}
	if e.reason = why; why != NoHold {
		s.counts.Held++
	}
}
