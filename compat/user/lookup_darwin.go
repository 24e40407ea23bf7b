package user

import (
	"errors"
	"os/user"
	"strconv"
)

// os/user asks Open Directory through libSystem here, without cgo.

func lookup(name string) (User, error) { return convert(user.Lookup(name)) }

func lookupID(uid uint32) (User, error) {
	return convert(user.LookupId(strconv.FormatUint(uint64(uid), 10)))
}

func convert(u *user.User, err error) (User, error) {
	var unknownName user.UnknownUserError
	var unknownID user.UnknownUserIdError
	if errors.As(err, &unknownName) || errors.As(err, &unknownID) {
		return User{}, ErrNotFound
	}
	if err != nil {
		return User{}, err
	}
	r := User{Name: u.Username, Home: u.HomeDir}
	if r.UID, err = id(u.Uid); err != nil {
		return User{}, err
	}
	if r.GID, err = id(u.Gid); err != nil {
		return User{}, err
	}
	groups, err := u.GroupIds()
	if err != nil {
		return User{}, err
	}
	for _, s := range groups {
		g, err := id(s)
		if err != nil {
			return User{}, err
		}
		if g != r.GID {
			r.Groups = append(r.Groups, g)
		}
	}
	return r, nil
}

func lookupGroup(name string) (uint32, error) {
	g, err := user.LookupGroup(name)
	var unknown user.UnknownGroupError
	if errors.As(err, &unknown) {
		return 0, ErrNotFound
	}
	if err != nil {
		return 0, err
	}
	return id(g.Gid)
}
