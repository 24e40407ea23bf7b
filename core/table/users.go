package table

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// User is what userinfo says about a user.
type User struct {
	Name     string
	UID, GID uint32
	Home     string // absolute
}

// Users looks up the system's users.
type Users interface {
	Lookup(ctx context.Context, name string) (user User, found bool, err error)
}

// String gives the value of a userinfo table: uid:gid:home.
func (u User) String() string { return fmt.Sprintf("%d:%d:%s", u.UID, u.GID, u.Home) }

// ParseUser reads the value of a userinfo table. Trailing fields, as of passwd(5), are
// refused rather than taken for a part of the home directory.
func ParseUser(name, value string) (User, error) {
	f := strings.Split(value, ":")
	if len(f) != 3 {
		return User{}, fmt.Errorf("user %s: %q is not uid:gid:home", name, value)
	}
	uid, err1 := strconv.ParseUint(f[0], 10, 32)
	gid, err2 := strconv.ParseUint(f[1], 10, 32)
	if err1 != nil || err2 != nil {
		return User{}, fmt.Errorf("user %s: invalid uid or gid in %q", name, value)
	}
	if len(f[2]) == 0 || len(f[2]) > 1023 || f[2][0] != '/' || strings.ContainsFunc(f[2], control) {
		return User{}, fmt.Errorf("user %s: invalid home directory %q", name, f[2])
	}
	return User{Name: name, UID: uint32(uid), GID: uint32(gid), Home: f[2]}, nil
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// systemUsers is the built-in table of userinfo.
type systemUsers struct{ users Users }

// Lookup gives uid:gid:home of a user.
func (t systemUsers) Lookup(ctx context.Context, service Service, key string) (string, bool, error) {
	if err := t.Prepare(service); err != nil {
		return "", false, err
	}
	if key == "" || len(key) > MaxKey {
		return "", false, nil
	}
	u, found, err := t.users.Lookup(ctx, key)
	if err != nil || !found {
		return "", false, err
	}
	return u.String(), true, nil
}

// Match reports whether there is a user of that name.
func (t systemUsers) Match(ctx context.Context, service Service, key string) (bool, error) {
	_, found, err := t.Lookup(ctx, service, key)
	return found, err
}

// Fetch is refused: users are not handed out in turn.
func (t systemUsers) Fetch(context.Context, Service) (string, bool, error) {
	return "", false, fmt.Errorf("getpwnam: users cannot be fetched")
}

// Prepare accepts userinfo only.
func (t systemUsers) Prepare(service Service) error {
	if service != UserInfo {
		return fmt.Errorf("getpwnam: service %s is not supported", service)
	}
	return nil
}

// Reload has nothing to do: the system is asked each time.
func (t systemUsers) Reload(context.Context) error { return nil }
