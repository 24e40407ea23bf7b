//go:build freebsd || openbsd || dragonfly || netbsd || darwin

package privdrop

import (
	"errors"
	"fmt"
	"os"
)

// maxGroups is NGROUPS_MAX of the system with the fewest: setgroups(2) fails with more
// on macOS, OpenBSD, NetBSD and DragonFly. A user in more groups than these loses some,
// which takes rights away and never gives any.
const maxGroups = 16

// checkIDs cannot see the saved ids on all of these systems; that they are gone shows
// when verify tries to become root.
func checkIDs(uid, gid int) error {
	if r, e := os.Getuid(), os.Geteuid(); r != uid || e != uid {
		return fmt.Errorf("privdrop: user is %d/%d, not %d", r, e, uid)
	}
	if r, e := os.Getgid(), os.Getegid(); r != gid || e != gid {
		return fmt.Errorf("privdrop: group is %d/%d, not %d", r, e, gid)
	}
	return nil
}

// NoNewPrivs does nothing on these systems, which have no such switch for a process that
// goes on running. Roles that never start programs lose nothing by it; OpenBSD's pledge
// (compat/sandbox) forbids exec to them outright.
func NoNewPrivs() error { return nil }

// DieWithParent is not to be had on these systems for a process that runs: the end of
// the stream on the socket to the parent has to do. The error is errors.ErrUnsupported.
func DieWithParent() error {
	return fmt.Errorf("privdrop: parent death signal: %w", errors.ErrUnsupported)
}
