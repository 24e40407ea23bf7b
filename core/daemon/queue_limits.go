package daemon

import (
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/scheduler"
)

// limits are those of the scheduler.
func (s *queueSettings) limits() scheduler.Limits {
	local := scheduler.Tasks{High: s.MDA.TaskHiwat, Low: s.MDA.TaskLowat, Release: s.MDA.TaskRelease}
	byDomain := make(map[string]scheduler.Tasks, len(s.MTALimits))
	for i := range s.MTALimits {
		byDomain[s.MTALimits[i].Domain] = relayTasks(&s.MTALimits[i])
	}
	return scheduler.Limits{Inflight: s.Scheduler.MaxInflight, Tasks: func(kind scheduler.Kind, group string) scheduler.Tasks {
		switch kind {
		case scheduler.Local:
			return local
		case scheduler.Relay:
			_, domain, _ := strings.Cut(group, "\x00")
			if t, ok := byDomain[strings.ToLower(domain)]; ok {
				return t
			}
			return byDomain[""]
		}
		return scheduler.Tasks{}
	}}
}

func relayTasks(l *config.MTALimits) scheduler.Tasks {
	return scheduler.Tasks{High: l.TaskHiwat, Low: l.TaskLowat, Release: l.TaskRelease}
}

// waits gives the schedule of an action; there is none when the usual one is meant.
func (s *queueSettings) waits(action string) []time.Duration {
	if a := s.actions[action]; a != nil && len(a.Schedule) > 0 {
		return a.Schedule
	}
	return s.Schedule
}

// later gives the time of the next attempt of an envelope.
func (q *queueRole) later(kind scheduler.Kind, e *envelope.Envelope) time.Time {
	now, jitter := time.Now(), scheduler.Jitter(e.ID.Message(), e.Retry)
	if waits := q.settings().waits(e.Dispatcher); len(waits) > 0 {
		return scheduler.After(waits, e.LastTry, now, e.Retry, jitter)
	}
	return scheduler.Backoff(kind, e.Created, now, e.Retry, jitter)
}

// arrived lets the mail go that waits because its destination could not be reached: one of
// its envelopes has just been there.
func (q *queueRole) arrived(e *envelope.Envelope) {
	s := q.settings()
	q.sched.Reached(scheduler.Relay, s.destination(e.Dispatcher, e.Dest.Domain), s.MTAMaxDeferred)
}

// reachable does the same for destinations of which the dispatcher says so.
func (q *queueRole) reachable(r *ipc.Request) {
	var req reached
	if err := r.Decode(&req); err != nil {
		q.log.Warnf("queue: destinations of the dispatcher: %v", err)
		return
	}
	s := q.settings()
	for _, d := range req.Destinations {
		q.sched.Reached(scheduler.Relay, s.destination(d.Action, d.Domain), s.MTAMaxDeferred)
	}
	q.nudge()
}
