package expand

import (
	"context"
	"strings"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/rules"
	"github.com/godwit-mta/godwit/core/srs"
	"github.com/godwit-mta/godwit/core/trace"
)

// expansion is the work on one recipient.
type expansion struct {
	*Expander
	Log     *trace.Logger // of the session, or the Expander's
	session rules.Session
	base    *envelope.Envelope
	queue   []*node
	seen    map[nodeKey]bool
	out     []*envelope.Envelope
	nodes   int
}

// tell traces what came of an expansion.
func (x *expansion) tell() {
	if x.Log == nil || x.Log.Traced()&traceExpand == 0 {
		return
	}
	for _, e := range x.out {
		x.Log.Tracef(traceExpand, "<%s> becomes %s for <%s> by action %s", x.session.Rcpt, e.Type, e.Dest, e.Dispatcher)
	}
}

// node is a destination and how it was come by.
type node struct {
	target
	parent  *node
	action  *config.Action // of the address that it belongs to; nil for addresses
	dest    address.Address
	depth   int
	owner   string // the user whose .forward it stands in
	root    bool   // that user is root
	same    bool   // the user that its list belongs to
	forward bool   // same, and the list was a .forward
	decoded bool   // the address was a rewritten sender of ours
}

// nodeKey is what makes two nodes one. The action belongs to it: the same name may stand
// for different users in the userbases of two actions. So does the address: a user who gets
// mail under two addresses gets both.
type nodeKey struct {
	kind    kind
	text    string
	action  *config.Action
	dest    address.Address
	owner   string
	same    bool
	forward bool
}

// visit does what the kind of a node asks for: more nodes, an envelope, or an error.
func (x *expansion) visit(ctx context.Context, n *node) error {
	switch n.kind {
	case addressKind:
		return x.address(ctx, n)
	case userKind:
		return x.user(ctx, n)
	case errorKind:
		return x.errorText(n)
	default:
		return x.program(n)
	}
}

// add queues a destination that parent's list named.
func (x *expansion) add(n *node) error {
	key := nodeKey{kind: n.kind, text: n.text, action: n.action, dest: n.dest, owner: n.owner, same: n.same, forward: n.forward}
	if n.kind == addressKind {
		key = nodeKey{kind: n.kind, text: strings.ToLower(n.addr.String())}
	}
	if x.nodes++; x.nodes > maxNodes {
		x.Log.Warnf("expansion of <%s> has more than %d destinations", x.session.Rcpt, maxNodes)
		return x.listProblem(4)
	}
	if !x.seen[key] {
		x.seen[key] = true
		n.depth = n.parent.depth + 1
		x.queue = append(x.queue, n)
	}
	return nil
}

// address asks the rules. What expansion made comes from this host.
func (x *expansion) address(ctx context.Context, n *node) error {
	s := x.session
	x.decode(n)
	s.Internal = s.Internal || n.internal()
	rule, err := x.Rules.Evaluate(ctx, &s, n.addr)
	if err != nil {
		return err
	}
	n.action, n.dest = x.actions[rule.Action], n.addr
	switch {
	case n.action == nil:
		x.Log.Warnf("rule %s:%d: action %q is not defined", rule.Pos.File, rule.Pos.Line, rule.Action)
		return rules.TempFail(x.session.Rcpt)
	case n.action.Method == config.RelayMethod:
		return x.emit(n, envelope.MTA)
	case n.action.Virtual != "":
		return x.virtual(ctx, n)
	}
	u := target{kind: userKind, text: strings.ToLower(n.addr.Local)}
	return x.add(&node{target: u, parent: n, action: n.action, dest: n.dest})
}

// errorText is an alias whose only purpose is its reply.
func (x *expansion) errorText(n *node) error {
	if n.action.Method == config.ForwardOnly {
		x.Log.Infof("<%s> leads to an error text, but its action allows only forwarding", x.session.Rcpt)
		return rules.TempFail(x.session.Rcpt)
	}
	class, text := n.code/100, n.text
	enhanced := gosmtp.EnhancedCode{class, 0, 0}
	if word, rest, ok := strings.Cut(text, " "); ok {
		if e, ok := parseEnhanced(word); ok && e[0] == class {
			enhanced, text = e, rest
		}
	}
	return &gosmtp.SMTPError{Code: n.code, EnhancedCode: enhanced,
		Message: text + ": <" + x.session.Rcpt.String() + ">"}
}

// program is a file or a command.
func (x *expansion) program(n *node) error {
	switch {
	case n.root:
		x.Log.Warnf("root's .forward may not name files and commands: %s", n.text)
		return rules.TempFail(x.session.Rcpt)
	case n.action.Method == config.ForwardOnly:
		x.Log.Infof("<%s> leads to %s, but its action allows only forwarding", x.session.Rcpt, n.text)
		return rules.TempFail(x.session.Rcpt)
	}
	return x.emit(n, envelope.MDA)
}

// emit makes the envelope of a final destination.
func (x *expansion) emit(n *node, t envelope.Type) error {
	env := *x.base
	env.Dispatcher, env.Type, env.Dest = n.action.Name, t, n.dest
	env.MDAUser, env.MDASubaddress, env.MDAExec = "", "", ""
	if n.action.TTL > 0 {
		env.TTL = n.action.TTL
	}
	if n.fromDecoded() {
		env.Flags |= envelope.Internal
	}
	switch n.kind {
	case userKind:
		env.MDAUser, env.MDASubaddress = x.split(n.text)
		env.MDASubaddress = trim(env.MDASubaddress)
	case fileKind, pipeKind:
		if env.MDAUser, env.MDAExec = n.owner, n.text; n.owner == "" {
			x.Log.Infof("%s from an alias runs as %s", n.text, x.DaemonUser)
			env.MDAUser = x.DaemonUser
		}
	}
	x.out = append(x.out, &env)
	return nil
}

// internal says whether the address that n belongs to was made here: by expansion, or
// because it is hidden in a rewritten sender.
func (n *node) internal() bool {
	for n.kind != addressKind {
		n = n.parent
	}
	return n.parent != nil || n.decoded
}

// fromDecoded says whether n came of a rewritten sender.
func (n *node) fromDecoded() bool {
	for n != nil && !n.decoded {
		n = n.parent
	}
	return n != nil
}

// decode finds the address behind a rewritten sender (SRS) to which a notice comes. One
// that cannot be read is left to the rules.
func (x *expansion) decode(n *node) {
	if x.SRS == nil || !x.session.Sender.Null() || !srs.Encoded(n.addr.Local) {
		return
	}
	a, err := x.SRS.Decode(n.addr, time.Now())
	if err != nil {
		x.Log.Warnf("SRS failed to decode: %s: %v", n.addr, err)
		return
	}
	n.addr, n.decoded = a, true
}

// split separates the detail of a sub-address.
func (e *Expander) split(user string) (name, detail string) {
	if e.delim == "" {
		return user, ""
	}
	name, detail, _ = strings.Cut(user, e.delim)
	return name, detail
}

// listProblem is the reply where a list, not the recipient, is at fault. The codes are
// OpenSMTPD's.
func (x *expansion) listProblem(class int) error {
	return &gosmtp.SMTPError{Code: class*100 + 24, EnhancedCode: gosmtp.EnhancedCode{class, 2, 4},
		Message: "Mailing list expansion problem: <" + x.session.Rcpt.String() + ">"}
}

func (x *expansion) unknown() error {
	return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1},
		Message: "Invalid recipient: <" + x.session.Rcpt.String() + ">"}
}

// parseEnhanced reads an enhanced status code (RFC 3463 section 2).
func parseEnhanced(s string) (e gosmtp.EnhancedCode, ok bool) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return e, false
	}
	for i, p := range parts {
		if len(p) == 0 || len(p) > 3 || (len(p) > 1 && p[0] == '0') {
			return e, false
		}
		for _, c := range []byte(p) {
			if !digit(c) {
				return e, false
			}
			e[i] = e[i]*10 + int(c-'0')
		}
	}
	return e, true
}
