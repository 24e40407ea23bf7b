// Package expand turns a recipient into envelopes: through the rules to an action,
// through aliases, virtual domains and .forward files to the users, files, commands and
// remote addresses that finally get the message.
package expand

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/rules"
	"github.com/godwit-mta/godwit/core/srs"
	"github.com/godwit-mta/godwit/core/table"
	"github.com/godwit-mta/godwit/core/trace"
)

// Limits of one expansion.
const (
	maxDepth        = 10      // from an address to what it finally becomes
	maxNodes        = 10000   // everything met on the way
	maxForward      = 4095    // octets of a .forward
	maxInclude      = 8 << 20 // octets of an included file
	maxForwardNodes = 100     // destinations of a .forward
)

// ErrInsecure is wrapped by the errors of Sources.Forward that stay until the user mends
// something: a file that others could have written, a symbolic link, a fifo.
var ErrInsecure = errors.New("insecure .forward")

// Tables answers for the tables of a configuration.
type Tables interface {
	Lookup(ctx context.Context, name string, service table.Service, key string) (string, bool, error)
	Prepare(name string, service table.Service) error
}

// Rules chooses actions.
type Rules interface {
	Evaluate(ctx context.Context, s *rules.Session, dest address.Address) (*config.Rule, error)
}

// Sources are what an Expander asks. All may be called by several goroutines.
type Sources struct {
	Tables Tables
	Rules  Rules
	// Forward gives the .forward of a user, checked and read with the rights of its
	// owner; at most one octet more than 4095 is looked at. An error that wraps
	// ErrInsecure is permanent, others are temporary. nil: there are none.
	Forward func(ctx context.Context, user table.User) (content []byte, found bool, err error)
	// ReadFile reads what :include: names. nil: a file of at most 8 MiB.
	ReadFile func(path string) ([]byte, error)
	// DaemonUser is the user as whom commands and files of aliases are run and written.
	DaemonUser string
	// SRS reads rewritten senders. nil: they are addresses as any others.
	SRS *srs.Codec
	Log *trace.Logger
}

// Expander expands recipients by one configuration. It has no state of its own and may
// be used by several goroutines.
type Expander struct {
	Sources
	actions map[string]*config.Action
	delim   string
}

// New checks that the tables can answer what will be asked. The error names the place of
// each action that cannot be used.
func New(cfg *config.Config, src Sources) (*Expander, error) {
	if src.ReadFile == nil {
		src.ReadFile = func(path string) ([]byte, error) { return table.ReadFile(path, maxInclude) }
	}
	e := &Expander{Sources: src, delim: cfg.SubAddrDelim, actions: make(map[string]*config.Action, len(cfg.Actions))}
	var errs []error
	for i := range cfg.Actions {
		a := &cfg.Actions[i]
		e.actions[a.Name] = a
		for _, err := range e.check(a) {
			errs = append(errs, fmt.Errorf("%s:%d: action %q: %w", a.Pos.File, a.Pos.Line, a.Name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return e, nil
}

func (e *Expander) check(a *config.Action) (errs []error) {
	for _, t := range [...]struct {
		name    string
		service table.Service
	}{{a.Alias, table.Alias}, {a.Virtual, table.Alias}, {a.UserBase, table.UserInfo}} {
		if t.name == "" {
			continue
		}
		if err := e.Tables.Prepare(t.name, t.service); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// Expand gives the envelopes of s.Rcpt: all of them, or none and a *gosmtp.SMTPError. In
// each, the fields of base are kept and Dispatcher, Type, Dest, Flags, the MDA fields
// and, where the action has its own, TTL are set. The ID is left to the caller. Before
// them comes the envelope of a notice when the sender is to be told of the expansion.
func (e *Expander) Expand(ctx context.Context, s *rules.Session, base *envelope.Envelope) ([]*envelope.Envelope, error) {
	x := &expansion{Expander: e, Log: cmp.Or(s.Log, e.Log), session: *s, base: base, seen: make(map[nodeKey]bool)}
	x.queue = append(x.queue, &node{target: target{kind: addressKind, addr: s.Rcpt}})
	for i := 0; i < len(x.queue); i++ {
		n := x.queue[i]
		x.queue[i] = nil
		if err := ctx.Err(); err != nil {
			return nil, rules.TempFail(s.Rcpt)
		}
		if n.depth >= maxDepth {
			x.Log.Infof("expansion of <%s> is too deep: a loop?", s.Rcpt)
			return nil, x.listProblem(5)
		}
		if err := x.visit(ctx, n); err != nil {
			return nil, err
		}
	}
	if len(x.out) == 0 { // everything led back to where it came from
		x.Log.Infof("expansion of <%s> leads to nobody", s.Rcpt)
		return nil, x.listProblem(5)
	}
	x.tell()
	return confirm(base, x.out), nil
}
