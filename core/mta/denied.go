package mta

import (
	"errors"
	"time"

	"github.com/godwit-mta/godwit/core/trace"
)

// authError is a server's refusal of credentials. It says nothing about the route: others
// may have better ones, and ours may be corrected.
type authError struct{ error }

func (e authError) Unwrap() error { return e.error }

// deniedMax bounds how long a relay whose credentials were refused is left alone.
const deniedMax = 10 * time.Minute

// denial is a relay whose credentials were refused. Passwords are part of its key, so that
// one with another password is another relay.
type denial struct {
	count int
	until time.Time
	fate  fate
}

// deny notes that the server of a route refused the credentials of a relay, and reports whether
// err means that. As with routes the pause becomes longer each time: servers lock accounts
// out. The caller holds the lock.
func (m *MTA) deny(r *relay, key routeKey, err error) bool {
	var refused authError
	if !errors.As(err, &refused) {
		return false
	}
	r.failed[key] = true
	d := m.denied[r.key]
	if d == nil {
		d = &denial{}
		m.denied[r.key] = d
	}
	d.count = min(d.count+1, 16)
	pause := min(penaltyUnit*time.Duration(d.count*d.count), deniedMax)
	d.until, d.fate = time.Now().Add(pause), openFate(err)
	m.cfg.Log.Infof("smtp-out: Credentials refused by %s, not trying them for %s", key.dest, trace.Delay(pause))
	return true
}

// isDenied gives the fate of what a relay is given while it is left alone. The caller holds
// the lock.
func (m *MTA) isDenied(r *relay) (fate, bool) {
	d := m.denied[r.key]
	if d == nil || r.conns > 0 || !time.Now().Before(d.until) {
		return fate{}, false
	}
	return d.fate, true
}
