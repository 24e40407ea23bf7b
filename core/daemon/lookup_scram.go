package daemon

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/scram"
	"github.com/godwit-mta/godwit/core/table"
)

// scramTime is how long a client may take between its two messages.
const scramTime = 5 * time.Minute

// scramState is what lookup has to know at the client's second message. It goes by way of
// the dispatcher, sealed: nothing is kept here for clients that never come back. No key is
// part of it.
type scramState struct {
	Exchange    *scram.Exchange
	Table, User string
	Until       time.Time
}

var errScramState = errors.New("an exchange that is too old, or not one of this process")

// seal writes a state with its sum behind it.
func (l *lookupRole) seal(s *scramState) ([]byte, error) {
	b, err := json.Marshal(s)
	return append(b, l.sum(b)...), err
}

// unseal reads what seal gave.
func (l *lookupRole) unseal(b []byte, now time.Time) (*scramState, error) {
	n := len(b) - sha256.Size
	if n < 0 || !hmac.Equal(b[n:], l.sum(b[:n])) {
		return nil, errScramState
	}
	s := new(scramState)
	if err := json.Unmarshal(b[:n], s); err != nil || s.Exchange == nil || now.After(s.Until) {
		return nil, errScramState
	}
	return s, nil
}

func (l *lookupRole) sum(b []byte) []byte {
	h := hmac.New(sha256.New, l.scramSecret[:])
	h.Write(b)
	return h.Sum(nil)
}

// scramKey gives the key of a user. One who does not exist, or whose password is kept in
// another way, has a key that nobody has a password for.
func (l *lookupRole) scramKey(ctx context.Context, s *lookupSettings, name, user string) (*scram.Key, error) {
	fake := scram.FakeKey(append([]byte(name+"\x00"), s.ScramSecret...), user)
	if s.decoys[name] == nil {
		return nil, fmt.Errorf("table %q is not for authentication", name)
	}
	value, found, err := s.tables.Lookup(ctx, name, table.Credentials, user)
	if err != nil {
		return nil, err
	}
	if hash := hashOf(value); found && strings.HasPrefix(hash, scram.Prefix) {
		return scram.ParseKey(hash)
	}
	return fake, nil
}

// scramFirst answers a client's first message.
func (l *lookupRole) scramFirst(ctx context.Context, req *scramRequest) (*scramReply, error) {
	first, err := scram.ParseFirst(req.Message)
	if err != nil {
		return &scramReply{Malformed: true}, nil
	}
	key, err := l.scramKey(ctx, l.cfg.get(req.Generation), req.Table, first.User)
	if err != nil {
		return nil, err
	}
	e := scram.Begin(first, key)
	state, err := l.seal(&scramState{e, req.Table, first.User, time.Now().Add(scramTime)})
	return &scramReply{Message: e.Challenge, State: state}, err
}

// scramFinal checks the proof in the second one, unless the password is being guessed. The
// key is looked up again: a user who was taken out since does not get in.
func (l *lookupRole) scramFinal(ctx context.Context, req *scramRequest) (*scramReply, error) {
	state, err := l.unseal(req.State, time.Now())
	if err != nil {
		return nil, err
	}
	reply := new(scramReply)
	attempt := &authRequest{User: state.User, Source: req.Source}
	reply.Found, err = l.guesses.try(attempt, time.Now, func() (ok bool, err error) {
		key, err := l.scramKey(ctx, l.cfg.get(req.Generation), state.Table, state.User)
		if err != nil {
			return false, err
		}
		reply.Message, ok, err = state.Exchange.Finish(req.Message, key)
		return ok, err
	})
	if errors.Is(err, scram.ErrSyntax) {
		return &scramReply{Malformed: true}, nil
	}
	return reply, err
}

func (l *lookupRole) scram(r *ipc.Request) {
	var req scramRequest
	l.answer(r, &req, func(ctx context.Context) any {
		step := l.scramFirst
		if len(req.State) > 0 {
			step = l.scramFinal
		}
		reply, err := step(ctx, &req)
		if err != nil {
			l.m.log.Warnf("table %q: SCRAM: %v", req.Table, err)
			return &scramReply{Failed: true}
		}
		return reply
	})
}
