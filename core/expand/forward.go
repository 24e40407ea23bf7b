package expand

import (
	"context"
	"errors"

	"github.com/godwit-mta/godwit/core/table"
	"github.com/godwit-mta/godwit/core/trace"
)

const traceExpand = trace.Expand

// forward adds what the .forward of a user names. A file without a destination counts as
// none. Users make mistakes: what can be mended is a temporary failure.
func (x *expansion) forward(ctx context.Context, n *node, u table.User) (found bool, err error) {
	content, found, err := x.Forward(ctx, u)
	if errors.Is(err, ErrInsecure) {
		x.Log.Warnf("user %s: %v", u.Name, err)
		return false, x.listProblem(5)
	}
	if err == nil && len(content) > maxForward {
		err = errors.New(".forward is too large")
	}
	var list []target
	if err == nil && found {
		list, err = parseLines(content, maxForwardNodes)
	}
	if err != nil {
		x.Log.Infof("user %s: .forward: %v", u.Name, err)
		return false, x.listProblem(4)
	}
	list = x.withoutIncludes(list, "~"+u.Name+"/.forward")
	for _, t := range list {
		if err := x.addTarget(n, &node{target: t, owner: u.Name, root: u.UID == 0}); err != nil {
			return false, err
		}
	}
	return len(list) > 0, nil
}
