package daemon

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"github.com/godwit-mta/godwit/compat/user"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/mda"
)

// agentRole delivers mail of one user, as that user. It speaks to the queue alone and ends
// with the connection to it. Or it reads the user's .forward for the parent.
type agentRole struct {
	m     *member
	user  string
	uid   uint32
	home  string
	agent *mda.Agent
}

func newAgent(m *member, h *hello) *agentRole {
	a := &agentRole{m: m, user: h.User, uid: h.UID, home: h.Home}
	if a.uid == 0 { // an ordinary user's daemon
		a.uid = uint32(os.Getuid())
	}
	return a
}

func (a *agentRole) prepare(r *ipc.Request, _ []*os.File) error { return nil }
func (a *agentRole) activate()                                  {}
func (a *agentRole) abandon()                                   {}
func (a *agentRole) drain(context.Context)                      {}

// forward reads the .forward of the user.
func (a *agentRole) forward(r *ipc.Request) {
	var req forwardRequest
	if err := r.Decode(&req); err != nil {
		r.Fail(err)
		return
	}
	reply := &forwardReply{}
	reply.fill(readForward(user.User{Name: req.User, UID: req.UID, GID: req.GID, Home: req.Home}))
	r.Reply(reply)
}

// handle makes a delivery. The connection is served by one goroutine, so they come one at
// a time, as the queue sends them.
func (a *agentRole) handle(from Role, r *ipc.Request) {
	if from == Parent && r.Kind == kindForward {
		a.forward(r)
		return
	}
	if from != Queue || r.Kind != kindDeliver {
		r.Fail(fmt.Errorf("agent: message %d of %s", r.Kind, from))
		return
	}
	var req deliverRequest
	if err := r.Decode(&req); err != nil {
		r.Fail(err)
		return
	}
	if a.agent == nil {
		a.agent = mda.NewAgent(mda.Host{Hostname: req.Hostname})
	}
	job := mda.Job{Method: mda.Method(req.Method), Path: req.Path, Argv: req.Argv, Junk: req.Junk, RcptTo: req.RcptTo, User: req.User,
		UID: a.uid, Home: a.home, Sender: req.Sender, Rcpt: req.Rcpt, Dest: req.Dest, Subaddress: req.Subaddress,
		Body: bytes.NewReader(req.Body), Size: req.Size, Wrapper: req.Wrapper, WrapperArgv: req.WrapperArgv}
	if req.Body == nil {
		files := r.Files()
		if len(files) != 1 {
			r.Fail(fmt.Errorf("agent: message without its file"))
			return
		}
		defer files[0].Close()
		job.Body = files[0]
	}
	out := a.agent.Deliver(context.Background(), &job, a.m.log.NewTrace())
	r.Reply(&out)
}
