// Package user looks up the users and groups of the system.
//
// The files passwd(5) and group(5) are read first. Users that live elsewhere (LDAP,
// sssd, NIS, systemd) are found through getent(1) where it exists; macOS asks Open
// Directory. Nothing is remembered between calls.
package user

import (
	"errors"
	"fmt"
	"strconv"
)

// User is one user of the system. Groups are the supplementary groups without GID.
// Shell is empty where the system does not tell it (macOS).
type User struct {
	Name     string
	UID, GID uint32
	Groups   []uint32
	Home     string
	Shell    string
}

// ErrNotFound means that there is no such user or group for certain. Any other error
// means that it is not known whether there is, and the same question should be asked
// again later.
var ErrNotFound = errors.New("user: not found")

// maxName bounds a name in octets. useradd(8) stops at 32, directories do not.
const maxName = 255

// Lookup gives the user with that name. The name may come from a stranger: one that
// cannot be a user's is ErrNotFound without asking anybody.
func Lookup(name string) (User, error) {
	if !safe(name) {
		return User{}, ErrNotFound
	}
	u, err := lookup(name)
	return u, wrap(err, name)
}

// LookupID gives the user with that number.
func LookupID(uid uint32) (User, error) {
	u, err := lookupID(uid)
	return u, wrap(err, strconv.FormatUint(uint64(uid), 10))
}

// LookupGroup gives the number of the group with that name.
func LookupGroup(name string) (uint32, error) {
	if !safe(name) {
		return 0, ErrNotFound
	}
	gid, err := lookupGroup(name)
	return gid, wrap(err, "group "+name)
}

func wrap(err error, what string) error {
	if err == nil || errors.Is(err, ErrNotFound) {
		return err
	}
	return fmt.Errorf("user: %s: %w", what, err)
}

// safe says whether a name can be one of a user or group, and can be given to a program
// as an argument. Names of digits only are numbers to getent(1) and id(1): 0 would find
// root. A plus or minus sign in front has a meaning in passwd(5) or is an option.
func safe(name string) bool {
	if name == "" || len(name) > maxName || name == "." || name == ".." {
		return false
	}
	digits := true
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= '0' && c <= '9':
			continue
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_', c == '.':
		case i > 0 && (c == '-' || c == '+' || c == '@' || c == '$'):
		default:
			return false
		}
		digits = false
	}
	return !digits
}
