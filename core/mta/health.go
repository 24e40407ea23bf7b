package mta

import (
	"slices"
	"time"

	"github.com/godwit-mta/godwit/core/trace"
)

// A host of a list that cannot be reached is passed over: its waiting mail goes to another one
// at once, and new mail does not go to it, until it is probed with one message after a while,
// longer each time.
const (
	ailingMax = 10 * time.Minute
	maxMoves  = 5 // hosts of a list that a message is moved to in one attempt
)

type ailingKey struct{ action, url string }

// ailment is a host that could not be reached.
type ailment struct {
	count int
	until time.Time // then it is probed
}

// ail notes that the host of a relay could not be reached. The caller holds the lock.
func (m *MTA) ail(r *relay) {
	if r.opts.URL.Host == "" || r.opts.Elsewhere == nil {
		return
	}
	k := ailingKey{r.opts.Name, r.opts.URL.String()}
	a := m.ailing[k]
	if a == nil {
		a = &ailment{}
		m.ailing[k] = a
	}
	a.count = min(a.count+1, 16)
	pause := min(penaltyUnit*time.Duration(a.count*a.count), ailingMax)
	a.until = time.Now().Add(pause)
	m.cfg.Log.Infof("smtp-out: Passing over %s for %s", r.opts.URL, trace.Delay(pause))
}

// recovered notes that the host of a relay takes mail. The caller holds the lock.
func (m *MTA) recovered(opts *Relay) {
	k := ailingKey{opts.Name, opts.URL.String()}
	if m.ailing[k] != nil {
		delete(m.ailing, k)
		m.cfg.Log.Infof("smtp-out: Using %s again", opts.URL)
	}
}

// Ailing gives the hosts of an action's list that are to be passed over, in the form of
// URL.String, and one that should be tried now to see whether it is well again, "" for none. It
// gives that one to one caller only.
func (m *MTA) Ailing(action string) (avoid []string, probe string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for k, a := range m.ailing {
		switch {
		case k.action != action:
		case probe == "" && now.After(a.until):
			probe = k.url
			a.until = now.Add(m.times.Connect + penaltyUnit)
		default:
			avoid = append(avoid, k.url)
		}
	}
	slices.Sort(avoid)
	return avoid, probe
}

// moveOn takes the tasks of a relay that may go to another host of its list, and looks for one.
// Those for which there is none get f. The caller holds the lock.
func (m *MTA) moveOn(r *relay, f fate) {
	if r.opts.Elsewhere == nil || !f.unreached || m.stopping {
		return
	}
	var moved, stay []*task
	for _, t := range r.tasks {
		if t.moves++; t.moves <= maxMoves {
			moved = append(moved, t)
		} else {
			stay = append(stay, t)
		}
	}
	if r.tasks = stay; len(moved) == 0 {
		return
	}
	opts := r.opts
	m.wg.Go(func() {
		other, ok := opts.Elsewhere(m.ctx)
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.stopping {
			return
		}
		if !ok || other.URL == opts.URL {
			m.failTasks(opts, opts.URL.Host, moved, f)
			return
		}
		if opts.Strict {
			other = other.strict()
		}
		for _, t := range moved {
			t.tries = 0
		}
		m.relayFor(other, "", func(r *relay) { r.tasks = append(r.tasks, moved...) })
	})
}
