package daemon

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/password"
	"github.com/godwit-mta/godwit/core/scram"
	"github.com/godwit-mta/godwit/core/table"
)

// tableUse is a place that asks a table.
type tableUse struct {
	Pos     config.Pos
	Option  string // that names the table
	Table   string
	Service table.Service
}

// optionScram needs the keys themselves: a program that compares passwords is not enough.
const optionScram = "scram"

// listenerTables gives the tables that sessions of listeners ask for.
func listenerTables(listeners []config.Listener) (uses []tableUse) {
	for i := range listeners {
		l := &listeners[i]
		uses = append(uses, tableUse{l.Pos, "auth", l.AuthTable, table.Credentials},
			tableUse{l.Pos, "senders", l.Senders, table.MailAddrMap}, tableUse{l.Pos, "hostnames", l.Hostnames, table.AddrName})
		if l.Scram {
			uses = append(uses, tableUse{l.Pos, optionScram, l.AuthTable, table.Credentials})
		}
	}
	return named(uses)
}

// named leaves out what asks no table.
func named(uses []tableUse) []tableUse {
	return slices.DeleteFunc(uses, func(u tableUse) bool { return u.Table == "" })
}

// prepareListeners sees that the tables can answer.
func (s *lookupSettings) prepareListeners() error {
	s.decoys = make(map[string]*atomic.Pointer[string])
	for _, u := range s.Sessions {
		if u.Service == table.Credentials && u.Option != optionScram {
			hash := decoy
			s.decoys[u.Table] = new(atomic.Pointer[string])
			s.decoys[u.Table].Store(&hash)
			if s.tables.Serves(u.Table, table.Auth) {
				u.Service = table.Auth
			}
		}
		if err := s.tables.Prepare(u.Table, u.Service); err != nil {
			return fmt.Errorf("%s:%d: %s: %w", u.Pos.File, u.Pos.Line, u.Option, err)
		}
	}
	return nil
}

// hashSlots is how many passwords are compared at a time. Half of the processors stay for
// everything else that lookup does.
func hashSlots() int { return min(max(runtime.GOMAXPROCS(0)/2, 1), 4) }

// decoy is compared for users that do not exist, until a hash of the table is known: how
// long an answer takes is not to tell who does. Nobody knows a password for it.
const decoy = "$6$rounds=60000$hARCW6JA5eBQkkOg$UhNng2iN3oNUP.58AN7JZCwuNBzGbqlUW6.r0lSXwgZRLM0CtrSe6hJs5q4l7U6BhaUFuWzbQlWqI56GMwQLx/"

// authenticate compares a user's password with what a table has, unless it is being guessed.
func (l *lookupRole) authenticate(ctx context.Context, req *authRequest) (bool, error) {
	return l.guesses.try(req, time.Now, func() (bool, error) { return l.compare(ctx, req) })
}

func (l *lookupRole) compare(ctx context.Context, req *authRequest) (bool, error) {
	s := l.cfg.get(req.Generation)
	decoy := s.decoys[req.Table]
	if decoy == nil {
		return false, fmt.Errorf("table %q is not for authentication", req.Table)
	}
	if s.tables.Serves(req.Table, table.Auth) {
		// A colon in the name would move the place where the password begins.
		if strings.Contains(req.User, ":") || len(req.User)+1+len(req.Password) > table.MaxKey {
			return false, nil
		}
		return s.tables.Match(ctx, req.Table, table.Auth, req.User+":"+req.Password)
	}
	value, found, err := s.tables.Lookup(ctx, req.Table, table.Credentials, req.User)
	if err != nil {
		return false, err
	}
	hash := *decoy.Load()
	if found {
		hash = hashOf(value)
	}
	if err := l.hashing.enter(ctx, sourceOf(req.Source)); err != nil {
		return false, err
	}
	defer l.hashing.leave()
	ok, err := password.Verify(hash, req.Password)
	if err == nil && found {
		decoy.Store(&hash)
	}
	return ok && found, err
}

// hashOf gives the hash of a value of a table, "hash" or "user:hash". Keys of SCRAM have
// colons themselves.
func hashOf(value string) string {
	if strings.HasPrefix(value, scram.Prefix) {
		return value
	}
	if _, rest, named := strings.Cut(value, ":"); named {
		return rest
	}
	return value
}

// userExists asks whether a table has a user who is not locked out. The password does not
// matter.
func (l *lookupRole) userExists(ctx context.Context, req *authRequest) (bool, error) {
	s := l.cfg.get(req.Generation)
	switch {
	case s.decoys[req.Table] == nil:
		return false, fmt.Errorf("table %q is not for authentication", req.Table)
	case s.tables.Serves(req.Table, table.Auth):
		return false, errors.New("its program tells no users without their passwords, as EXTERNAL needs")
	}
	value, found, err := s.tables.Lookup(ctx, req.Table, table.Credentials, req.User)
	hash := hashOf(value)
	return found && !strings.HasPrefix(hash, "*") && !strings.HasPrefix(hash, "!"), err
}

// senderAllowed asks whether a user may send as an address.
func (l *lookupRole) senderAllowed(ctx context.Context, req *senderRequest) (bool, error) {
	s := l.cfg.get(req.Generation)
	list, found, err := s.tables.Lookup(ctx, req.Table, table.MailAddrMap, req.User)
	return found && table.AddressListed(list, req.Sender, s.SubAddrDelim), err
}

// addrName gives the name of one of our addresses. A table may have IPv6 addresses with
// or without brackets.
func (l *lookupRole) addrName(ctx context.Context, req *addrNameRequest) (string, bool, error) {
	s := l.cfg.get(req.Generation)
	addr := req.Addr.Unmap()
	name, found, err := s.tables.Lookup(ctx, req.Table, table.AddrName, addr.String())
	if err == nil && !found && addr.Is6() {
		name, found, err = s.tables.Lookup(ctx, req.Table, table.AddrName, addrText(addr))
	}
	return name, found, err
}

// found makes the answer to a session. What went wrong with a table is told here; no
// password is part of it.
func (l *lookupRole) found(use, name, value string, ok bool, err error) *foundReply {
	if err != nil {
		l.m.log.Warnf("table %q: %s: %v", name, use, err)
	}
	return &foundReply{Found: ok, Value: value, Failed: err != nil}
}

func (l *lookupRole) auth(r *ipc.Request) {
	var req authRequest
	l.answer(r, &req, func(ctx context.Context) any {
		ok, err := l.authenticate(ctx, &req)
		return l.found("credentials of "+visible(req.User), req.Table, "", ok, err)
	})
}

func (l *lookupRole) user(r *ipc.Request) {
	var req authRequest
	l.answer(r, &req, func(ctx context.Context) any {
		ok, err := l.userExists(ctx, &req)
		return l.found("user "+visible(req.User), req.Table, "", ok, err)
	})
}

func (l *lookupRole) sender(r *ipc.Request) {
	var req senderRequest
	l.answer(r, &req, func(ctx context.Context) any {
		ok, err := l.senderAllowed(ctx, &req)
		return l.found("senders of "+visible(req.User), req.Table, "", ok, err)
	})
}

func (l *lookupRole) hostname(r *ipc.Request) {
	var req addrNameRequest
	l.answer(r, &req, func(ctx context.Context) any {
		name, ok, err := l.addrName(ctx, &req)
		return l.found("name of "+req.Addr.String(), req.Table, name, ok, err)
	})
}
