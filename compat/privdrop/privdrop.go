// Package privdrop gives up privileges for good: the user, the groups, the root
// directory, inherited descriptors and the way back.
//
// A Go program has threads before main runs. Everything here holds for all of them.
package privdrop

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// Identity is who a process becomes. Groups are the supplementary groups; GID need not
// be among them. User is for messages only.
type Identity struct {
	User     string
	UID, GID uint32
	Groups   []uint32
}

// ErrRoot is the wish to give up privileges by becoming root.
var ErrRoot = errors.New("privdrop: user 0 is not less privileged")

// Check refuses an identity that gives up nothing, and one that the kernel would take
// for "no change".
func (id Identity) Check() error {
	if id.UID == 0 {
		return ErrRoot
	}
	const nobody = ^uint32(0)
	if id.UID == nobody || id.GID == nobody || slices.Contains(id.Groups, nobody) {
		return fmt.Errorf("privdrop: %d is not a user or group", nobody)
	}
	return nil
}

// GroupList gives the list for setgroups(2): GID first, because the BSDs take the first
// for the effective group, then the others without it, as many as the system takes.
func (id Identity) GroupList() []uint32 {
	list := []uint32{id.GID}
	seen := map[uint32]bool{id.GID: true}
	for _, g := range id.Groups {
		if !seen[g] && len(list) < maxGroups {
			seen[g] = true
			list = append(list, g)
		}
	}
	return list
}

// Drop makes root the root directory, unless it is "" or "/", becomes id, and then makes
// sure that neither the user nor a group of before can be had back. Only root may call
// it. After an error the process may be anything between the two and must end.
func Drop(root string, id Identity) error {
	if err := id.Check(); err != nil {
		return err
	}
	if err := enter(root); err != nil {
		return err
	}
	groups := make([]int, 0, len(id.Groups)+1)
	for _, g := range id.GroupList() {
		groups = append(groups, int(g))
	}
	if err := syscall.Setgroups(groups); err != nil {
		return fmt.Errorf("privdrop: setgroups for %s: %w", id.User, err)
	}
	if err := setGID(int(id.GID)); err != nil {
		return fmt.Errorf("privdrop: cannot take group %d: %w", id.GID, err)
	}
	if err := setUID(int(id.UID)); err != nil {
		return fmt.Errorf("privdrop: cannot become %s (%d): %w", id.User, id.UID, err)
	}
	return verify(id, groups)
}

func enter(root string) error {
	if root == "" || root == "/" {
		if err := os.Chdir("/"); err != nil {
			return fmt.Errorf("privdrop: %w", err)
		}
		return nil
	}
	if !filepath.IsAbs(root) {
		return fmt.Errorf("privdrop: root directory %q is not an absolute path", root)
	}
	if err := os.Chdir(root); err != nil {
		return fmt.Errorf("privdrop: %w", err)
	}
	// "." and not the path: what was entered and what becomes the root are one.
	if err := syscall.Chroot("."); err != nil {
		return fmt.Errorf("privdrop: chroot %s: %w", root, err)
	}
	if err := os.Chdir("/"); err != nil {
		return fmt.Errorf("privdrop: %w", err)
	}
	return nil
}

// verify tries to undo what was done. A kernel that lets it happen, for example because
// of a capability that was kept, must not meet bytes from outside.
func verify(id Identity, groups []int) error {
	if err := checkIDs(int(id.UID), int(id.GID)); err != nil {
		return err
	}
	have, err := syscall.Getgroups()
	if err != nil {
		return fmt.Errorf("privdrop: getgroups: %w", err)
	}
	for _, g := range have {
		if !slices.Contains(groups, g) {
			return fmt.Errorf("privdrop: still in group %d", g)
		}
	}
	if syscall.Setuid(0) == nil || syscall.Seteuid(0) == nil {
		return errors.New("privdrop: could become root again")
	}
	if id.GID != 0 && (syscall.Setgid(0) == nil || syscall.Setegid(0) == nil) {
		return errors.New("privdrop: could take group 0 again")
	}
	return nil
}

// IsRoot says whether this process may call Drop.
func IsRoot() bool { return os.Geteuid() == 0 }

// Umask sets the file mode creation mask of the process and gives the one before.
func Umask(mask int) int { return syscall.Umask(mask) }

// RaiseFileLimit raises the number of files that this process may have open as far as
// it may go without privileges, and gives the limit that now holds. The Go runtime does
// the same when a program starts; where that failed the error says why. Programs that
// this process starts get back the limit that it found.
func RaiseFileLimit() (uint64, error) {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return 0, os.NewSyscallError("getrlimit", err)
	}
	if lim.Cur >= lim.Max {
		return uint64(lim.Cur), nil
	}
	before := uint64(lim.Cur)
	lim.Cur = lim.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return before, os.NewSyscallError("setrlimit", err)
	}
	return uint64(lim.Cur), nil
}
