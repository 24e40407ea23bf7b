package daemon

import (
	"slices"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/scheduler"
)

// hindrance says why an envelope cannot be tried by this configuration.
func (s *queueSettings) hindrance(e *envelope.Envelope) scheduler.Reason {
	if e.Type == envelope.Bounce {
		return scheduler.NoHold
	}
	a := s.actions[e.Dispatcher]
	switch {
	case a == nil:
		return scheduler.NoAction
	case a.Method == config.ForwardOnly || a.Method == config.ExpandOnly,
		(a.Method == config.RelayMethod) != (e.Type == envelope.MTA):
		return scheduler.OtherKind
	}
	return scheduler.NoHold
}

// feasible gives those envelopes that can be tried. The others are put back until the
// configuration is another; that is no attempt.
func (q *queueRole) feasible(envs []*envelope.Envelope) []*envelope.Envelope {
	s := q.settings()
	return slices.DeleteFunc(envs, func(e *envelope.Envelope) bool {
		why := s.hindrance(e)
		if why != scheduler.NoHold && !q.sched.Park(e.ID, why) {
			q.drop(e.ID) // smtpctl remove came meanwhile
		}
		return why != scheduler.NoHold
	})
}

// concerns reports whether something changes for the queued envelopes of an action when
// next takes the place of s.
func (s *queueSettings) concerns(next *queueSettings, action string) bool {
	a, b := s.actions[action], next.actions[action]
	if a == nil || b == nil {
		return a != b
	}
	return a.Method != b.Method || oneWay(a) != oneWay(b) || !slices.Equal(s.waits(action), next.waits(action))
}

// review describes what is queued anew to the scheduler where that depends on what has
// changed from one configuration to the next: envelopes whose action has gone are held, those
// whose action is back go on.
func (q *queueRole) review(old *queueSettings) {
	q.reviews.Lock()
	defer q.reviews.Unlock()
	s := q.settings()
	concerned := make(map[string]bool)
	for _, cfg := range []*queueSettings{old, s} {
		for name := range cfg.actions {
			if old.concerns(s, name) {
				concerned[name] = true
			}
		}
	}
	if len(concerned) == 0 {
		return
	}
	q.inSteps(scheduler.All(), func(infos []scheduler.Info) {
		for i := range infos {
			q.reviewOne(&infos[i], concerned)
		}
	})
	q.nudge()
}

// inSteps calls f for the envelopes of a range, as many at a time as the configuration says,
// and lets others change envelopes between.
func (q *queueRole) inSteps(r scheduler.Range, f func([]scheduler.Info)) {
	q.stepsUntil(time.Time{}, r, q.alone(f))
}

// alone makes f one of those that change envelopes that are not in flight.
func (q *queueRole) alone(f func([]scheduler.Info)) func([]scheduler.Info) {
	return func(infos []scheduler.Info) {
		q.changing.Lock()
		defer q.changing.Unlock()
		f(infos)
	}
}

// commandTime bounds one answer to a command that changes envelopes: smtpctl asks for the rest.
const commandTime = 2 * time.Second

// stepsUntil calls f for the envelopes of a range, as many at a time as the configuration says, until
// it is at the end or it is late. It gives where the rest begins, 0 when there is none.
func (q *queueRole) stepsUntil(late time.Time, r scheduler.Range, f func([]scheduler.Info)) (next envelope.ID) {
	for q.ctx.Err() == nil {
		infos := q.step(r)
		if len(infos) == 0 {
			break
		}
		f(infos)
		last := infos[len(infos)-1].ID
		if last >= r.Last {
			break
		}
		r.First = last + 1
		if !late.IsZero() && time.Now().After(late) {
			return r.First
		}
	}
	return 0
}

// span is the range from the first to the last of what was listed.
func span(infos []scheduler.Info) scheduler.Range {
	return scheduler.Range{First: infos[0].ID, Last: infos[len(infos)-1].ID}
}

// maxStep is the largest number of envelopes in a step, whatever the configuration says.
const maxStep = 1000

// step lists the first envelopes of a range, within the limits for one step.
func (q *queueRole) step(r scheduler.Range) []scheduler.Info {
	limits := q.settings().Scheduler
	infos := q.sched.List(r, min(max(1, limits.MaxEvpBatchSize), maxStep))
	messages := 0
	for i := range infos {
		if i == 0 || infos[i].ID.Message() != infos[i-1].ID.Message() {
			if messages++; messages > max(1, limits.MaxMsgBatchSize) {
				return infos[:i]
			}
		}
	}
	return infos
}

func (q *queueRole) reviewOne(info *scheduler.Info, concerned map[string]bool) {
	action, _, _ := strings.Cut(info.Group, "\x00")
	if info.Kind == scheduler.Bounce || info.State == scheduler.Inflight || !concerned[action] {
		return
	}
	e, err := q.store.Envelope(info.ID)
	if err != nil {
		return // it is gone, or start finds out
	}
	entry := q.entry(e, e.LastTry.IsZero() || info.State == scheduler.Ready)
	if info.Reason != scheduler.NoHold && entry.Reason == scheduler.NoHold {
		entry.Due = time.Now()
	}
	q.sched.Update(entry)
}
