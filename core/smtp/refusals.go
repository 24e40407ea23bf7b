package smtp

import (
	"net/netip"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/core/trace"
)

// refusal is why a client gets no session: the word of smtp limit in the log, the text for
// the client.
type refusal struct {
	client netip.Prefix // not valid: anybody
	word   string
	text   string
}

// refusals logs refused connections: the first of a client at once, those that follow as one
// line a minute with their number, so that an attack does not fill the log.
type refusals struct {
	log *trace.Logger

	mu     sync.Mutex
	counts map[refusal]int // since the last line
	others int             // of clients for which there was no room
	timer  *time.Timer     // runs as long as counts has something
}

// mostRefused bounds the lines of a minute.
const mostRefused = 50

func (l *refusals) note(r refusal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer == nil {
		l.counts = make(map[refusal]int)
		l.timer = time.AfterFunc(time.Minute, func() { l.minute(false) })
	}
	_, known := l.counts[r]
	switch {
	case known:
		l.counts[r]++
	case len(l.counts) >= mostRefused:
		l.others++
	default:
		l.counts[r] = 0
		l.log.Infof("smtp: refused a connection%s: smtp limit %s", r.who(), r.word)
	}
}

// who names the client in a line of the log.
func (r refusal) who() string {
	switch {
	case !r.client.IsValid():
		return ""
	case r.client.Bits() == 32:
		return " of " + r.client.Addr().String()
	}
	return " of " + r.client.String()
}

// minute writes a line for each client that went on, and forgets the others.
func (l *refusals) minute(last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer == nil {
		return
	}
	for r, n := range l.counts {
		if n > 0 {
			l.log.Infof("smtp: refused %d connections%s: smtp limit %s", n, r.who(), r.word)
			l.counts[r] = 0
		} else {
			delete(l.counts, r)
		}
	}
	if l.others > 0 {
		l.log.Infof("smtp: refused %d connections of other clients", l.others)
		l.others = 0
	}
	if last || len(l.counts) == 0 {
		l.timer.Stop()
		l.timer, l.counts = nil, nil
		return
	}
	l.timer.Reset(time.Minute)
}

func (l *refusals) close() { l.minute(true) }
