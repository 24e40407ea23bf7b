package expand

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/rules"
	"github.com/godwit-mta/godwit/core/table"
)

// virtual looks an address up in the table of a virtual domain. An address that is not
// in it does not exist: other rules and the system's users are not tried.
func (x *expansion) virtual(ctx context.Context, n *node) error {
	user, domain := strings.ToLower(n.addr.Local), n.addr.Domain
	name, detail := x.split(user)
	keys := []string{user + "@" + domain}
	if detail != "" {
		keys = append(keys, name+"@"+domain)
	}
	keys = append(keys, x.aliasKeys(user)...)
	keys = append(keys, "@"+domain, "@")
	found, err := x.alias(ctx, n, n.action.Virtual, keys)
	if err == nil && !found {
		x.Log.Tracef(traceExpand, "<%s> is not in table %s", n.addr, n.action.Virtual)
		return x.listProblem(5)
	}
	return err
}

// aliasKeys gives the keys of a user name: with its detail, then without.
func (x *expansion) aliasKeys(user string) []string {
	if name, detail := x.split(user); detail != "" {
		return []string{user, name}
	}
	return []string{user}
}

// alias adds what the first key that is in the table stands for. A list with nothing in
// it counts as not found.
func (x *expansion) alias(ctx context.Context, n *node, name string, keys []string) (found bool, err error) {
	for _, key := range keys {
		value, ok, err := x.Tables.Lookup(ctx, name, table.Alias, key)
		if err != nil {
			x.Log.Warnf("table %s: %v", name, err)
			return false, rules.TempFail(x.session.Rcpt)
		}
		if !ok {
			continue
		}
		list, err := parseList(value)
		if err != nil {
			x.Log.Warnf("table %s: %s: %v", name, key, err)
			return false, x.listProblem(4)
		}
		if list, err = x.include(list, name+": "+key); err != nil {
			return false, err
		}
		for _, t := range list {
			if err := x.addTarget(n, &node{target: t}); err != nil {
				return false, err
			}
		}
		return len(list) > 0, nil
	}
	return false, nil
}

// include puts the contents of the files that a list names into their places. Included
// files cannot include. A file that is not there is an empty one, so that the list
// without it still gets its mail; a file that cannot be read may be there later.
func (x *expansion) include(list []target, where string) (out []target, err error) {
	for _, t := range list {
		if t.kind != includeKind {
			out = append(out, t)
			continue
		}
		content, err := x.ReadFile(t.text)
		if errors.Is(err, fs.ErrNotExist) {
			x.Log.Warnf("%s: include: %v", where, err)
			continue
		}
		if err != nil {
			x.Log.Warnf("%s: include: %v", where, err)
			return nil, rules.TempFail(x.session.Rcpt)
		}
		inner, err := parseLines(content, maxNodes)
		if err != nil {
			x.Log.Warnf("%s: include %s: %v", where, t.text, err)
			return nil, x.listProblem(4)
		}
		out = append(out, x.withoutIncludes(inner, t.text)...)
		if len(out) > maxNodes {
			x.Log.Warnf("%s: more than %d destinations", where, maxNodes)
			return nil, x.listProblem(4)
		}
	}
	return out, nil
}

func (x *expansion) withoutIncludes(list []target, where string) []target {
	out := list[:0]
	for _, t := range list {
		if t.kind == includeKind {
			x.Log.Warnf("%s: include %s is not allowed here", where, t.text)
			continue
		}
		out = append(out, t)
	}
	return out
}

// addTarget adds n below parent.
func (x *expansion) addTarget(parent, n *node) error {
	n.parent, n.action, n.dest = parent, parent.action, parent.dest
	switch n.kind {
	case addressKind:
		n.action = nil
	case userKind:
		// A user in the user's own list is the user, not the list again.
		if parent.kind == userKind {
			name, _ := x.split(n.text)
			own, _ := x.split(parent.text)
			n.same = name == own
			n.forward = n.same && n.owner != ""
		}
		n.owner = ""
	}
	return x.add(n)
}

// user finds out what a user name stands for: an alias, a user with a .forward, a user.
func (x *expansion) user(ctx context.Context, n *node) error {
	for _, name := range [...]string{n.action.Alias, n.action.Virtual} {
		if name == "" || n.same {
			continue
		}
		if found, err := x.alias(ctx, n, name, x.aliasKeys(n.text)); err != nil || found {
			return err
		}
	}
	u, err := x.userInfo(ctx, n)
	if err != nil {
		return err
	}
	skip := n.forward || (n.action.User != "" && n.action.User != u.Name)
	if x.Forward != nil && !skip {
		if found, err := x.forward(ctx, n, u); err != nil || found {
			return err
		}
	}
	switch n.action.Method {
	case config.ForwardOnly: // temporary: the user may write a .forward
		x.Log.Infof("<%s>: user %s does not forward, but the action allows only that", x.session.Rcpt, u.Name)
		return x.listProblem(4)
	case config.ExpandOnly:
		x.Log.Infof("<%s>: user %s has no delivery method of their own", x.session.Rcpt, u.Name)
		return x.listProblem(5)
	}
	return x.emit(n, envelope.MDA)
}

// userInfo asks the userbase of the action.
func (x *expansion) userInfo(ctx context.Context, n *node) (table.User, error) {
	base := n.action.UserBase
	if base == "" {
		base = config.GetPwNam
	}
	name, _ := x.split(n.text)
	if name == "" || name != trim(name) { // the queue does not keep blanks at the ends
		return table.User{}, x.unknown()
	}
	value, found, err := x.Tables.Lookup(ctx, base, table.UserInfo, name)
	if err == nil && !found {
		return table.User{}, x.unknown()
	}
	var u table.User
	if err == nil {
		u, err = table.ParseUser(name, value)
	}
	if err != nil {
		x.Log.Warnf("table %s: %v", base, err)
		return table.User{}, rules.TempFail(x.session.Rcpt)
	}
	return u, nil
}
