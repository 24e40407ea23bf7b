package daemon

import (
	"sync"
	"time"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/ipc"
)

// Turns of agents.
const (
	agentIdle  = 5 * time.Second // an agent without work lives so long
	agentTurn  = 100             // deliveries, then it is another's turn when others wait
	agentStall = time.Second     // without a delivery begun: another agent may help
)

// agents are the processes that deliver, one for each user who has mail now, and more where
// the deliveries of a user take long.
type agents struct {
	q       *queueRole
	mu      sync.Mutex
	byKey   map[agentKey]*line
	waiting []*line // want a place, once for each agent
	places  int     // taken
	closing chan struct{}
	once    sync.Once
	running sync.WaitGroup // those with a place
}

// agentKey says what deliveries can share an agent. One for the system mailboxes has more
// rights than one for other methods and runs no commands.
type agentKey struct {
	user     string
	userBase string
	mailbox  bool
	commands bool
}

// line is the deliveries of one user that wait.
type line struct {
	key    agentKey
	jobs   []delivery
	agents int           // they have a place, or wait for one
	taken  uint64        // deliveries that were begun
	more   chan struct{} // there are jobs again
	timer  *time.Timer   // looks whether anything goes on
}

// agent is a process that works on a line.
type agent struct {
	*line
	turn int // deliveries since it got its place
	conn *ipc.Conn
	info agentReply
}

// delivery is one envelope to be delivered.
type delivery struct {
	e *envelope.Envelope
	a *config.Action
}

func (as *agents) init(q *queueRole) {
	as.q, as.byKey, as.closing = q, make(map[agentKey]*line), make(chan struct{})
}

func (as *agents) add(key agentKey, d delivery) {
	as.mu.Lock()
	defer as.mu.Unlock()
	l := as.byKey[key]
	if l == nil {
		l = &line{key: key, more: make(chan struct{}, 1)}
		as.byKey[key] = l
	}
	l.jobs = append(l.jobs, d)
	if l.agents == 0 {
		as.want(l)
		return
	}
	l.wake()
	as.watch(l)
}

// want gets a line another agent as soon as there is a place.
func (as *agents) want(l *line) {
	l.agents++
	as.waiting = append(as.waiting, l)
	as.fill()
}

func (l *line) wake() {
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// watch lets another agent help with a line on which nothing was begun for a while, up to the
// number that a user may have. Mailboxes are locked: there a second one could only wait.
func (as *agents) watch(l *line) {
	if l.timer != nil || len(l.jobs) == 0 || l.key.mailbox {
		return
	}
	taken := l.taken
	l.timer = time.AfterFunc(agentStall, func() {
		as.mu.Lock()
		defer as.mu.Unlock()
		l.timer = nil
		if as.closed() || as.q.recording.fails() {
			return
		}
		if len(l.jobs) > 0 && l.taken == taken && l.agents < as.q.settings().MDA.MaxSessionPerUser {
			as.want(l)
		}
		as.watch(l)
	})
}

// fill gives free places to those that wait.
func (as *agents) fill() {
	most := max(1, as.q.settings().MDA.MaxSession)
	for as.places < most && len(as.waiting) > 0 && !as.closed() {
		ag := &agent{line: as.waiting[0]}
		as.waiting = as.waiting[1:]
		as.places++
		as.running.Go(func() { as.run(ag) })
	}
}

// run is the life of an agent: it ends when there was nothing to do for a while, or when
// others wait for its place.
func (as *agents) run(ag *agent) {
	for {
		d, ok := as.next(ag)
		if !ok {
			break
		}
		as.q.hand([]envelope.Result{as.q.deliverOne(ag, d)})
	}
	if ag.conn != nil {
		ag.conn.Close()
	}
}

// next takes the next delivery; without one it gives the place back.
func (as *agents) next(ag *agent) (delivery, bool) {
	idle := time.NewTimer(agentIdle)
	defer idle.Stop()
	for over := false; ; {
		d, ok, end := as.look(ag, over)
		if ok || end {
			return d, ok
		}
		select {
		case <-ag.more:
		case <-idle.C:
			over = true
		case <-as.closing:
			over = true
		}
	}
}

// look takes a delivery if there is one. An agent that has to end has given its place back.
func (as *agents) look(ag *agent, over bool) (d delivery, ok, end bool) {
	as.mu.Lock()
	defer as.mu.Unlock()
	l := ag.line
	switch {
	case as.closed():
		return d, false, true
	case len(l.jobs) > 0 && as.q.recording.fails():
		return d, false, false
	case len(l.jobs) > 0 && ag.turn >= agentTurn && len(as.waiting) > 0:
		as.waiting = append(as.waiting, l)
		as.leave()
		return d, false, true
	case len(l.jobs) > 0:
		d = l.jobs[0]
		l.jobs = l.jobs[1:]
		l.taken++
		ag.turn++
		if len(l.jobs) > 0 {
			l.wake() // another one may be idle
		}
		as.watch(l)
		return d, true, false
	case over || len(as.waiting) > 0:
		if l.agents--; l.agents == 0 {
			delete(as.byKey, l.key)
		}
		as.leave()
		return d, false, true
	}
	return d, false, false
}

// leave gives a place to who waits for one.
func (as *agents) leave() {
	as.places--
	as.fill()
}

func (as *agents) closed() bool {
	select {
	case <-as.closing:
		return true
	default:
		return false
	}
}

// closeAll lets agents end what they are at. None gets a place after it.
func (as *agents) closeAll() {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.once.Do(func() { close(as.closing) })
}
