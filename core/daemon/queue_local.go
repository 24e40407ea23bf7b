package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/format"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/mda"
)

// Waits of local delivery.
const (
	agentStart  = 30 * time.Second
	deliverWait = mda.DefaultLimit + 30*time.Second
)

// deliver puts a batch in the line of its user.
func (q *queueRole) deliver(envs []*envelope.Envelope) {
	for _, e := range envs {
		a := q.settings().actions[e.Dispatcher]
		if a == nil || a.Method == config.RelayMethod {
			q.refuseAll([]*envelope.Envelope{e}, fmt.Sprintf("no local action %q in the configuration", e.Dispatcher))
			continue
		}
		key := agentKey{user: e.MDAUser, userBase: a.UserBase}
		if a.User != "" { // a user of the system, whatever users the action has
			key.user, key.userBase = a.User, ""
		}
		key.mailbox = a.Method == config.MBox && e.MDAExec == ""
		key.commands = a.Method == config.MDACommand && e.MDAExec == "" || strings.HasPrefix(e.MDAExec, "|") || a.Wrapper != ""
		q.agents.add(key, delivery{e, a})
	}
}

// deliverOne makes one delivery through the agent and logs it.
func (q *queueRole) deliverOne(ag *agent, d delivery) envelope.Result {
	t := q.log.NewTrace()
	out := q.attempt(ag, d)
	q.stats.Counter("mda.envelope").Add(1)
	mda.Log(t, d.e, out, time.Now())
	return out.Result(d.e.ID)
}

// attempt asks the agent for a delivery, and the parent for an agent when there is none.
func (q *queueRole) attempt(ag *agent, d delivery) mda.Outcome {
	if ag.conn == nil {
		if out := q.startAgent(ag); out.Status != 0 {
			return out
		}
	}
	req, err := q.job(ag, d)
	if err != nil {
		return temporary(err)
	}
	body, err := q.store.Body(d.e.ID.Message())
	if err != nil {
		return temporary(err)
	}
	if body.File == nil {
		if err := q.bodies.moving.wait(q.ctx, body.Size); err != nil {
			return temporary(errEnding)
		}
		defer q.bodies.moving.give(body.Size)
	}
	bytes, files := readable(body)
	req.Body, req.Size = bytes, body.Size
	ctx, cancel := context.WithTimeout(context.Background(), deliverWait)
	defer cancel()
	var out mda.Outcome
	if err := ag.conn.Call(ctx, kindDeliver, req, &out, files...); err != nil {
		ag.conn.Close()
		ag.conn = nil
		return temporary(fmt.Errorf("agent of %s: %w", ag.key.user, err))
	}
	if out.Status == 0 || out.Status > envelope.Loop {
		return temporary(fmt.Errorf("agent of %s: no outcome", ag.key.user))
	}
	return out
}

func temporary(err error) mda.Outcome {
	return mda.Outcome{Status: envelope.TempFail, Text: envelope.CleanErrorLine(err.Error())}
}

// startAgent asks the parent for an agent of the user.
func (q *queueRole) startAgent(ag *agent) mda.Outcome {
	ctx, cancel := context.WithTimeout(context.Background(), agentStart)
	defer cancel()
	req := agentRequest{User: ag.key.user, UserBase: ag.key.userBase, Mailbox: ag.key.mailbox, Commands: ag.key.commands}
	ag.info = agentReply{}
	files, err := q.m.parent.CallFiles(ctx, kindAgent, &req, &ag.info)
	switch {
	case err != nil:
		return temporary(err)
	case ag.info.Error != "" && ag.info.Permanent:
		return mda.Outcome{Status: envelope.PermFail, Text: ag.info.Error, EscClass: 5, EscCode: 201} // mailbox disabled
	case ag.info.Error != "":
		return temporary(errors.New(ag.info.Error))
	case len(files) != 1:
		return temporary(errors.New("no agent"))
	}
	conn, err := ipc.FromFile(files[0])
	if err != nil {
		return temporary(err)
	}
	ag.conn = conn
	q.running.Go(func() { _ = conn.Serve(func(r *ipc.Request) { r.Fail(errors.New("not asked")) }) })
	return mda.Outcome{}
}

// job says what the action asks for, with every specifier expanded.
func (q *queueRole) job(ag *agent, d delivery) (*deliverRequest, error) {
	e, a := d.e, d.a
	req := &deliverRequest{User: e.MDAUser, Sender: e.Sender, Rcpt: e.Rcpt, Dest: e.Dest,
		Subaddress: e.MDASubaddress, Hostname: q.settings().Hostname, Junk: a.Junk, RcptTo: a.RcptTo}
	vars := format.Vars{Sender: e.Sender, Rcpt: e.Rcpt, Dest: e.Dest, User: e.MDAUser, Directory: ag.info.Home,
		Delim: q.settings().SubAddrDelim}
	var err error
	if a.User != "" && e.MDAUser != a.User {
		if vars.Directory, err = q.homeOf(e.MDAUser, a.UserBase); err != nil {
			return nil, err
		}
	}
	switch {
	case e.MDAExec != "" && e.MDAExec[0] == '/':
		req.Method, req.Path = uint8(mda.File), e.MDAExec
	case e.MDAExec != "" && e.MDAExec[0] == '|':
		req.Method = uint8(mda.Pipe)
		err = q.pipe(req, e.MDAExec[1:], a, vars)
	case a.Method == config.MBox:
		req.Method, req.Path = uint8(mda.Mbox), filepath.Join(q.settings().MailboxDir, e.MDAUser)
	case a.Method == config.Maildir:
		pattern := a.Path
		if pattern == "" {
			pattern = "~/Maildir"
		}
		req.Method = uint8(mda.Maildir)
		req.Path, err = format.Path(pattern, vars)
	case a.Method == config.LMTP:
		req.Method = uint8(mda.LMTP)
		req.Path, err = format.Path(a.Path, vars)
	case a.Method == config.MDACommand:
		req.Method = uint8(mda.Command)
		req.Path, req.Argv, err = q.command(a.Path, a, vars)
	default:
		err = fmt.Errorf("action %s does not deliver", a.Name)
	}
	if err == nil && a.Wrapper != "" && req.Method != uint8(mda.Pipe) && req.Method != uint8(mda.Command) {
		req.Wrapper, req.WrapperArgv, err = q.command(mda.WrappedCommand, a, vars)
	}
	return req, err
}

// homeOf asks for the home directory of a user. It is not that of the agent's user where an
// action delivers all mail as one user.
func (q *queueRole) homeOf(user, base string) (string, error) {
	if base == "" || user == q.settings().DaemonUser {
		base = config.GetPwNam
	}
	ctx, cancel := context.WithTimeout(q.ctx, agentStart)
	defer cancel()
	var info userinfoReply
	err := q.m.peers[Lookup].Call(ctx, kindUserinfo, &userinfoRequest{base, user}, &info)
	switch {
	case err != nil:
		return "", err
	case info.Error != "":
		return "", errors.New(info.Error)
	case !info.Found:
		return "", fmt.Errorf("no such user: %s", user)
	}
	return info.Home, nil
}

// pipe sets the command of an alias or a .forward. One in which there is nothing to expand
// is left to the agent as it is.
func (q *queueRole) pipe(req *deliverRequest, command string, a *config.Action, vars format.Vars) (err error) {
	if a.Wrapper == "" && !strings.Contains(command, "%") {
		req.Path = command
		return nil
	}
	req.Path, req.Argv, err = q.command(command, a, vars)
	return err
}

// command gives what is run for an action: a command, in the wrapper if the action has one,
// as the text of a shell or as the arguments of a program. No value of the envelope becomes
// text of a shell.
func (q *queueRole) command(template string, a *config.Action, vars format.Vars) (text string, argv []string, err error) {
	if a.Wrapper != "" {
		wrapper, ok := q.settings().wrappers[a.Wrapper]
		if !ok {
			return "", nil, fmt.Errorf("mda wrapper %s is not defined", a.Wrapper)
		}
		if template, err = format.Wrap(wrapper, template); err != nil {
			return "", nil, err
		}
	}
	argv, shell, err := format.Command(template, vars)
	if err != nil || !shell {
		return "", argv, err
	}
	return argv[0], nil, nil
}
