package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/godwit-mta/godwit/compat/auth"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/password"
)

// passwords are those of the system's users, as the parent checks them for the
// dispatcher. Only root can read the hashes; a process without any rights compares.
type passwords struct {
	system  *auth.System
	wanted  atomic.Bool // a listener of a configuration that is or was in use asks for them
	gate    *fairGate
	slots   chan struct{}
	guesses guesses
}

// mostPasswords is how many checks of passwords of the system are under way, most of them
// waiting.
const mostPasswords = 1024

func newPasswords(system *auth.System) *passwords {
	return &passwords{system: system, gate: newFairGate(hashSlots()), slots: make(chan struct{}, mostPasswords)}
}

// ready sees that passwords can be checked when a listener of a configuration wants it.
func (p *passwords) ready(cfg *config.Config) error {
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		if !systemAuth(l) {
			continue
		}
		if err := p.system.Usable(); err != nil {
			return errors.New(listenText(l, "passwords of the system: %v", err))
		}
		p.wanted.Store(true)
	}
	return nil
}

// systemAuth reports whether a listener takes the passwords of the system.
func systemAuth(l *config.Listener) bool {
	return (l.Auth || l.AuthOptional) && l.AuthTable == ""
}

// checkPassword answers the dispatcher. It says no more than whether a password is right,
// and nothing at all to who guesses.
func (p *parent) checkPassword(s *set, r *ipc.Request) {
	var req authRequest
	if err := r.Decode(&req); err != nil {
		r.Fail(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	ok, err := p.systemPassword(ctx, s, &req)
	switch {
	case errors.Is(err, auth.ErrUnusable):
		p.log.Warnf("password of %s: %v", visible(req.User), err)
		err = nil
	case err != nil:
		p.log.Warnf("passwords of the system: %s: %v", visible(req.User), err)
	}
	r.Reply(&foundReply{Found: ok, Failed: err != nil})
}

func (p *parent) systemPassword(ctx context.Context, s *set, req *authRequest) (bool, error) {
	if !p.passwords.wanted.Load() {
		return false, errors.New("asked for by no listener")
	}
	return p.passwords.guesses.try(req, time.Now, func() (bool, error) {
		if err := p.passwords.gate.enter(ctx, sourceOf(req.Source)); err != nil {
			return false, err
		}
		defer p.passwords.gate.leave()
		return p.passwords.system.Check(ctx, req.User, req.Password, decoy, func(hash, secret string) (bool, error) {
			return p.compare(ctx, s, &verifyRequest{hash, secret})
		})
	})
}

// compare lets a process of its own compare a password with a hash: what it computes is
// long, may take much memory, and comes from a library.
func (p *parent) compare(ctx context.Context, s *set, req *verifyRequest) (bool, error) {
	h, err := p.hello(Hasher)
	if err != nil {
		return false, err
	}
	var reply verifyReply
	err = p.short(ctx, s, Hasher, h, func(conn *ipc.Conn) error {
		return conn.Call(ctx, kindVerify, req, &reply)
	})
	if err == nil && reply.Error != "" {
		err = fmt.Errorf("%w: %s", auth.ErrUnusable, reply.Error)
	}
	return reply.OK, err
}

// hasherRole compares one password and ends.
type hasherRole struct{ agentRole }

func (h *hasherRole) handle(from Role, r *ipc.Request) {
	var req verifyRequest
	if from != Parent || r.Kind != kindVerify {
		r.Fail(fmt.Errorf("auth: message %d of %s", r.Kind, from))
		return
	}
	if err := r.Decode(&req); err != nil {
		r.Fail(err)
		return
	}
	reply := &verifyReply{}
	ok, err := password.Verify(req.Hash, req.Password)
	if reply.OK = ok && err == nil; err != nil {
		reply.Error = err.Error()
	}
	r.Reply(reply)
}
