package user

import (
	"bufio"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// maxLine bounds a line of passwd(5) and group(5) in octets. Lines of groups with
// thousands of members are long.
const maxLine = 1 << 20

// scan calls f with the fields of each line until f says that it has enough. Lines that
// do not have at least min fields are passed over, as getpwent(3) does.
func scan(r io.Reader, min int, f func(fields []string) (done bool)) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), maxLine)
	for s.Scan() {
		line := s.Text()
		if line == "" || line[0] == '#' || line[0] == '+' || line[0] == '-' {
			continue // comment, or a pointer to NIS
		}
		if fields := strings.Split(line, ":"); len(fields) >= min && f(fields) {
			return nil
		}
	}
	return s.Err()
}

// findUser gives the first user in passwd(5) text that match wants.
func findUser(r io.Reader, match func(User) bool) (User, error) {
	var found User
	ok := false
	err := scan(r, 7, func(fields []string) bool {
		u, valid := parseUser(fields)
		if ok = valid && match(u); ok {
			found = u
		}
		return ok
	})
	if err == nil && !ok {
		err = ErrNotFound
	}
	return found, err
}

// parseUser reads name:password:uid:gid:gecos:home:shell.
func parseUser(fields []string) (User, bool) {
	uid, err1 := id(fields[2])
	gid, err2 := id(fields[3])
	if fields[0] == "" || err1 != nil || err2 != nil {
		return User{}, false
	}
	return User{Name: fields[0], UID: uid, GID: gid, Home: fields[5], Shell: fields[6]}, true
}

// findGroups gives the groups in group(5) text that have the member, without gid.
func findGroups(r io.Reader, member string, gid uint32) ([]uint32, error) {
	var groups []uint32
	err := scan(r, 4, func(fields []string) bool {
		g, err := id(fields[2])
		if err != nil || g == gid || slices.Contains(groups, g) {
			return false
		}
		for m := range strings.SplitSeq(fields[3], ",") {
			if strings.TrimSpace(m) == member {
				groups = append(groups, g)
				break
			}
		}
		return false
	})
	return groups, err
}

// findGroup gives the number of a group in group(5) text.
func findGroup(r io.Reader, name string) (uint32, error) {
	var gid uint32
	ok := false
	err := scan(r, 3, func(fields []string) bool {
		g, err := id(fields[2])
		if ok = err == nil && fields[0] == name; ok {
			gid = g
		}
		return ok
	})
	if err == nil && !ok {
		err = ErrNotFound
	}
	return gid, err
}

func id(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err
}

// inFile opens a file of the system for one search. A file that does not exist has
// nobody in it.
func inFile(path string, search func(io.Reader) error) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return search(f)
}
