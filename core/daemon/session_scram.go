package daemon

import (
	"context"
	"errors"

	"github.com/godwit-mta/godwit/core/smtp"
)

// scramSession is one exchange of a session. The keys stay in lookup.
type scramSession struct {
	s     *mailSession
	user  string
	state []byte // lookup's
}

// ScramFirst is of smtp.ScramKeys, as the next two are.
func (x *scramSession) ScramFirst(user, message string) (string, error) {
	x.user = user
	reply, err := x.ask(message)
	if err != nil {
		return "", x.s.authenticated(user, false, err)
	}
	if reply.Malformed {
		return "", smtp.MalformedAuth()
	}
	x.state = reply.State
	return reply.Message, nil
}

func (x *scramSession) ScramFinal(message string) (string, error) {
	reply, err := x.ask(message)
	switch {
	case err == nil && reply.Malformed:
		return "", smtp.MalformedAuth()
	case err != nil || !reply.Found:
		return "", x.s.authenticated(x.user, false, err)
	}
	return reply.Message, nil
}

func (x *scramSession) ScramDone() { _ = x.s.authenticated(x.user, true, nil) }

var errScram = errors.New("lookup could not tell")

func (x *scramSession) ask(message string) (*scramReply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupWait)
	defer cancel()
	s, reply := x.s, new(scramReply)
	err := s.d.m.peers[Lookup].Call(ctx, kindScram, &scramRequest{Generation: s.s.Generation, Table: s.l.AuthTable,
		Message: message, State: x.state, Source: s.c.RemoteAddr().Addr().Unmap()}, reply)
	if err != nil {
		s.c.Trace().Warnf("%s smtp: %v", s.c.ID(), err)
	} else if reply.Failed {
		err = errScram
	}
	return reply, err
}
