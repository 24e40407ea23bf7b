package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/queue"
	"github.com/godwit-mta/godwit/core/scheduler"
)

// Why an envelope keeps its action.
var (
	errInflight = errors.New("is being delivered: try again later, or pause it first")
	errNotice   = errors.New("is a notice, which has no action")
	errProgram  = errors.New("goes to a file or a command of an alias, which cannot be relayed")
)

// reassignment is smtpctl queue action under way.
type reassignment struct {
	q       *queueRole
	s       *queueSettings
	to      *config.Action
	held    bool // only what is held
	users   map[string]error
	changed int
	first   error // why an envelope was left out
}

// reassign gives envelopes another action. Their type follows what the action does.
func (q *queueRole) reassign(r *ipc.Request, rng scheduler.Range, name string, held bool) {
	s := q.settings()
	m := &reassignment{q: q, s: s, to: s.actions[name], held: held, users: make(map[string]error)}
	switch {
	case m.to == nil:
		r.Fail(fmt.Errorf("no action %q in the configuration", name))
		return
	case m.to.Method == config.ForwardOnly || m.to.Method == config.ExpandOnly:
		r.Fail(fmt.Errorf("action %q delivers nothing", name))
		return
	}
	reply := &control.Count{Next: q.stepsUntil(time.Now().Add(commandTime), rng, q.alone(m.step))}
	q.nudge()
	switch {
	case m.first != nil:
		reply.Error = m.first.Error()
	case m.changed == 0 && !held:
		reply.Error = "no such envelope"
	}
	reply.N = uint64(m.changed)
	r.Reply(reply)
}

// step changes the action of some envelopes in one durable step.
func (m *reassignment) step(infos []scheduler.Info) {
	var changes []queue.Change
	var before []bool // was it suspended
	for i := range infos {
		info := &infos[i]
		if m.held && info.Reason != scheduler.NoAction && info.Reason != scheduler.OtherKind {
			continue
		}
		e, err := m.change(info)
		if err != nil {
			m.refuse(info.ID, err)
			continue
		}
		changes = append(changes, queue.Change{Op: queue.Update, Envelope: e})
		before = append(before, info.Suspended)
	}
	if len(changes) == 0 {
		return
	}
	err := m.q.store.Apply(changes)
	for i, c := range changes {
		e := c.Envelope
		switch {
		case err != nil && !errors.Is(err, queue.ErrNotFound):
			m.refuse(e.ID, err)
			if !before[i] {
				m.q.sched.Resume(scheduler.One(e.ID))
			}
		default:
			m.changed++
			m.q.log.Infof("info: envelope %s has action %q", e.ID, e.Dispatcher)
			m.q.sched.Update(m.q.entry(e, true))
		}
	}
}

func (m *reassignment) refuse(id envelope.ID, err error) {
	err = fmt.Errorf("envelope %s: %w", id, err)
	m.q.log.Infof("info: %v", err)
	if m.first == nil {
		m.first = err
	}
}

// change gives the envelope with its new action. As long as that is not durable the
// envelope is suspended, so that nobody tries it.
func (m *reassignment) change(info *scheduler.Info) (*envelope.Envelope, error) {
	if info.Kind == scheduler.Bounce {
		return nil, errNotice
	}
	one := scheduler.One(info.ID)
	fresh := m.q.sched.Suspend(one) == 1
	e, err := m.rewritten(one)
	if err != nil && fresh {
		m.q.sched.Resume(one)
	}
	return e, err
}

func (m *reassignment) rewritten(one scheduler.Range) (*envelope.Envelope, error) {
	now := m.q.sched.List(one, 1)
	if len(now) == 0 {
		return nil, queue.ErrNotFound
	}
	if now[0].State == scheduler.Inflight {
		return nil, errInflight
	}
	e, err := m.q.store.Envelope(one.First)
	if err != nil {
		return nil, err
	}
	if err := m.retype(e); err != nil {
		return nil, err
	}
	e.Dispatcher = m.to.Name
	if e.TTL = m.to.TTL; e.TTL == 0 {
		e.TTL = m.s.QueueTTL
	}
	return e, nil
}

// retype makes the type follow the action. Who becomes a local recipient is the user that
// the envelope named when it was local before, otherwise the one of the address; aliases
// are not looked at again.
func (m *reassignment) retype(e *envelope.Envelope) error {
	if m.to.Method == config.RelayMethod {
		if e.MDAExec != "" {
			return errProgram
		}
		e.Type = envelope.MTA
		return nil
	}
	e.Type = envelope.MDA
	if e.MDAUser != "" {
		return nil
	}
	user := strings.ToLower(e.Dest.Local)
	if base, detail, found := strings.Cut(user, m.s.SubAddrDelim); found && base != "" {
		user, e.MDASubaddress = base, detail
	}
	if err := m.known(user); err != nil {
		return err
	}
	e.MDAUser = user
	return nil
}

// known asks once for each user whether it is one of those of the action.
func (m *reassignment) known(user string) error {
	err, asked := m.users[user]
	if !asked {
		err = m.q.isUser(user, m.to.UserBase)
		m.users[user] = err
	}
	return err
}

func (q *queueRole) isUser(user, base string) error {
	ctx, cancel := context.WithTimeout(q.ctx, agentStart)
	defer cancel()
	var info userinfoReply
	err := q.m.peers[Lookup].Call(ctx, kindUserinfo, &userinfoRequest{base, user}, &info)
	switch {
	case err != nil:
		return err
	case info.Error != "":
		return errors.New(info.Error)
	case !info.Found:
		return fmt.Errorf("no such user: %s", user)
	}
	return nil
}
