//go:build !darwin

package user

import (
	"errors"
	"io"
	"strconv"
	"strings"
)

const (
	passwdFile = "/etc/passwd"
	groupFile  = "/etc/group"
)

func lookup(name string) (User, error) {
	u, err := fromFile(func(u User) bool { return u.Name == name })
	if !errors.Is(err, ErrNotFound) {
		return u, err
	}
	// A directory may be blind to case; what it answers must still be the one asked for.
	return fromGetent(name, func(u User) bool { return strings.EqualFold(u.Name, name) })
}

func lookupID(uid uint32) (User, error) {
	is := func(u User) bool { return u.UID == uid }
	u, err := fromFile(is)
	if !errors.Is(err, ErrNotFound) {
		return u, err
	}
	return fromGetent(strconv.FormatUint(uint64(uid), 10), is)
}

func fromFile(match func(User) bool) (u User, err error) {
	err = inFile(passwdFile, func(r io.Reader) (err error) {
		u, err = findUser(r, match)
		return err
	})
	if err != nil {
		return User{}, err
	}
	err = inFile(groupFile, func(r io.Reader) (err error) {
		u.Groups, err = findGroups(r, u.Name, u.GID)
		return err
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return User{}, err
	}
	return u, nil
}

func fromGetent(key string, match func(User) bool) (u User, err error) {
	err = getent("passwd", key, func(r io.Reader) (err error) {
		u, err = findUser(r, match)
		return err
	})
	if err != nil {
		return User{}, err
	}
	if u.Groups, err = idGroups(u.Name, u.GID); err != nil {
		return User{}, err
	}
	return u, nil
}

func lookupGroup(name string) (gid uint32, err error) {
	find := func(r io.Reader) (err error) {
		gid, err = findGroup(r, name)
		return err
	}
	if err = inFile(groupFile, find); errors.Is(err, ErrNotFound) {
		err = getent("group", name, find)
	}
	return gid, err
}
