package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/godwit-mta/godwit/compat/mailbox"
	"github.com/godwit-mta/godwit/compat/owner"
	"github.com/godwit-mta/godwit/compat/reexec"
	"github.com/godwit-mta/godwit/compat/user"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/trace"
)

// fromMember answers what members ask of the parent. Each may ask only for what its role
// needs.
func (p *parent) fromMember(s *set, from Role, r *ipc.Request) {
	switch {
	case r.Kind == kindLogLine:
		var l logLine
		if r.Decode(&l) == nil && p.opts.Sink != nil {
			p.opts.Sink.Log(trace.Level(l.Level), trace.Escape(l.Line))
		}
	case r.Kind == kindAgent && from == Queue:
		p.bounded(r, func() { p.agent(s, r) })
	case r.Kind == kindForward && from == Lookup:
		p.bounded(r, func() { p.forward(s, r) })
	case r.Kind == kindTableFile && from == Lookup:
		p.bounded(r, func() { p.openTable(s, r) })
	case r.Kind == kindSTSFiles && from == Lookup:
		p.bounded(r, func() { p.keepFiles(r, "mta-sts") })
	case r.Kind == kindReportFiles && from == Lookup:
		p.bounded(r, func() { p.keepFiles(r, "tls-report") })
	case r.Kind == kindTableStart && from == Lookup:
		p.bounded(r, func() { p.startTable(s, r) })
	case r.Kind == kindFilterStart && from == Dispatcher:
		p.bounded(r, func() { p.startFilter(s, r) })
	case r.Kind == kindBackend && from == Queue:
		p.bounded(r, func() { p.startBackend(s, r) })
	case r.Kind == kindResumed && from == Queue:
		p.bounded(r, func() { p.resumed(r) })
	case r.Kind == kindPassword && from == Dispatcher:
		bounded(p.passwords.slots, r, func() { p.checkPassword(s, r) })
	case r.Kind == kindProgramStop && (from == Lookup || from == Queue || from == Dispatcher):
		stopProgram(s, from, r)
	case r.Kind == kindAdmin && from == Control:
		r.Go(func() { p.adminRequest(s, r) })
	case r.Kind == kindStats && from == Control:
		r.Reply(&statsReply{})
	default:
		r.Fail(fmt.Errorf("parent: message %d of %s", r.Kind, from))
	}
}

// mostRequests is how many users' files and agents are worked at together. A file system
// that hangs must not take all threads of this process with it.
const mostRequests = 128

// bounded answers a request in the background unless too many are under way.
func (p *parent) bounded(r *ipc.Request, f func()) { bounded(p.slots, r, f) }

func bounded(slots chan struct{}, r *ipc.Request, f func()) {
	select {
	case slots <- struct{}{}:
		r.Go(func() {
			defer func() { <-slots }()
			f()
		})
	default:
		r.Fail(errors.New("too many requests at a time, try again later"))
	}
}

// inLoop runs f in the parent's loop and waits for it.
func (p *parent) inLoop(f func()) {
	done := make(chan struct{})
	p.admin <- func() { f(); close(done) }
	<-done
}

// resumed forgets what the command line paused: it holds until it is resumed, also when the
// members have to be started again meanwhile.
func (p *parent) resumed(r *ipc.Request) {
	var req resumed
	if r.Decode(&req) != nil {
		return
	}
	p.inLoop(func() {
		switch req.Part {
		case partMDA:
			p.opts.PausedMDA = false
		case partMTA:
			p.opts.PausedMTA = false
		case partSMTP:
			p.opts.PausedSMTP = false
		}
	})
}

// agent starts an agent for a user and gives the queue the socket to it. The queue says
// only the name: who that is, and that it is not root, is found out here.
func (p *parent) agent(s *set, r *ipc.Request) {
	var req agentRequest
	if err := r.Decode(&req); err != nil {
		r.Fail(err)
		return
	}
	u, err := p.resolveUser(s, &req)
	if err != nil {
		var refused *refusedUser
		r.Reply(&agentReply{Error: err.Error(), Permanent: errors.As(err, &refused)})
		return
	}
	sock, err := p.startAgent(s, &req, u)
	if err != nil {
		r.Reply(&agentReply{Error: err.Error()})
		return
	}
	r.Reply(&agentReply{Home: u.Home, UID: u.UID, GID: u.GID}, sock)
}

// refusedUser is a user for whom no agent will ever be started.
type refusedUser struct{ text string }

func (e *refusedUser) Error() string { return e.text }

func (p *parent) resolveUser(s *set, req *agentRequest) (user.User, error) {
	var u user.User
	// Pipes and files of aliases belong to the daemon's own user, who is in no table.
	system := req.UserBase == "" || req.UserBase == config.GetPwNam || req.User == p.opts.Facts.Users.Daemon
	if system {
		var err error
		u, err = user.Lookup(req.User)
		if errors.Is(err, user.ErrNotFound) {
			return u, &refusedUser{"no such user: " + req.User}
		}
		if err != nil {
			return u, err
		}
	} else {
		ctx, cancel := context.WithTimeout(context.Background(), setupWait)
		defer cancel()
		var info userinfoReply
		err := s.members[Lookup].conn.Call(ctx, kindUserinfo, &userinfoRequest{req.UserBase, req.User}, &info)
		if err == nil && info.Error != "" {
			err = errors.New(info.Error)
		}
		if err != nil {
			return u, err
		}
		if !info.Found {
			return u, &refusedUser{"no such user: " + req.User}
		}
		u = user.User{Name: req.User, UID: info.UID, GID: info.GID, Groups: []uint32{info.GID}, Home: info.Home}
	}
	if u.UID == 0 {
		return u, &refusedUser{"MDA not allowed to deliver to: " + req.User}
	}
	if !p.root && !p.opts.InProcess && u.UID != uint32(os.Getuid()) {
		return u, &refusedUser{"smtpd does not run as root and cannot deliver to: " + req.User}
	}
	return u, nil
}

// startAgent starts an agent as the user and joins it with the queue.
func (p *parent) startAgent(s *set, req *agentRequest, u user.User) (*os.File, error) {
	h := &hello{Version: p.opts.Version, Commands: req.Commands, Stderr: p.opts.Stderr, Verbosity: verbosityOf(p.log), Drop: p.root,
		User: u.Name, UID: u.UID, GID: u.GID, Groups: u.Groups, Home: u.Home}
	if req.Mailbox && p.root {
		if err := p.mailbox(h, u); err != nil {
			return nil, err
		}
	}
	c, err := p.spawn(s, Agent)
	if err != nil {
		return nil, err
	}
	if err := s.adopt(c); err != nil {
		c.proc.kill()
		return nil, err
	}
	sock, err := p.joinAgent(c, h)
	if err != nil {
		c.proc.kill()
		return nil, err
	}
	return sock, nil
}

// mailbox makes a missing system mailbox, and puts the agent into the group of the
// directory when that may make lock files there, as the system's own tools are.
func (p *parent) mailbox(h *hello, u user.User) error {
	dir := p.opts.Facts.MailboxDir
	if err := mailbox.Create(dir, u.Name, u.UID, u.GID, 0o600); err != nil {
		return err
	}
	st, err := os.Stat(dir)
	if err != nil {
		return err
	}
	gid, ok := owner.GID(st)
	if ok && gid != 0 && st.Mode().Perm()&0o020 != 0 && st.Mode().Perm()&0o002 == 0 {
		h.Groups = append(append([]uint32(nil), h.Groups...), uint32(gid))
	}
	return nil
}

func (p *parent) joinAgent(c *child, h *hello) (*os.File, error) {
	ctx, cancel := context.WithTimeout(context.Background(), setupWait)
	defer cancel()
	if err := p.greet(ctx, c, h); err != nil {
		return nil, err
	}
	ours, theirs, err := reexec.Socketpair()
	if err != nil {
		return nil, err
	}
	if err = c.conn.Call(ctx, kindPeer, &peer{string(Queue)}, nil, theirs); err == nil {
		err = c.conn.Call(ctx, kindPrepare, nil, nil)
	}
	if err == nil {
		err = c.conn.Call(ctx, kindActivate, nil, nil)
	}
	if err != nil {
		ours.Close()
		return nil, err
	}
	return ours, nil
}

// adminWait bounds a request of smtpctl.
const adminWait = 30 * time.Second
