package auth

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/platform"
)

// maxLine bounds a line of the files, in octets.
const maxLine = 1 << 16

// find gives the hash of a user who may log in at a time, "" when there is none, and the
// hashes of all who may. The files are read to their ends, whoever is looked for.
func (s *System) find(user string, now time.Time) (hash string, all []string, err error) {
	known := s.facts.Accounts == "" // master.passwd(5) has the accounts themselves
	if !known {
		err = scan(s.facts.Accounts, func(f []string) {
			known = known || len(f) >= 7 && f[0] == user
		})
		if err != nil {
			return "", nil, err
		}
	}
	read := shadow
	if s.facts.Format == platform.MasterPasswd {
		read = masterPasswd
	}
	seen := false // the first line of a user counts
	err = scan(s.facts.Hashes, func(f []string) {
		text, current := read(f, now)
		if current && strings.HasPrefix(text, "$") {
			all = append(all, text)
		}
		if f[0] == user && !seen {
			if seen = true; current {
				hash = text
			}
		}
	})
	if !known || user == "" || locked(hash) {
		hash = ""
	}
	return hash, all, err
}

// locked is a hash that no password has: an asterisk or an exclamation mark before it, and
// an account without a password.
func locked(hash string) bool {
	return hash == "" || hash[0] == '*' || hash[0] == '!' || hash == "x"
}

// shadow reads name:hash:changed:min:max:warn:inactive:expires:, times in days. A password
// that is too old, or that has to be changed at once, is none: there is no way to change it
// here.
func shadow(f []string, now time.Time) (hash string, current bool) {
	if len(f) < 2 {
		return "", false
	}
	today := now.Unix() / 86400
	changed, hasChanged := days(f, 2)
	longest, hasLongest := days(f, 4)
	expires, hasExpires := days(f, 7)
	switch {
	case hasExpires && today >= expires, hasChanged && changed == 0, hasChanged && hasLongest && today > changed+longest:
		return f[1], false
	}
	return f[1], true
}

// masterPasswd reads name:hash:uid:gid:class:change:expire:gecos:home:shell, times in
// seconds; 0 is never.
func masterPasswd(f []string, now time.Time) (hash string, current bool) {
	if len(f) < 10 {
		return "", false
	}
	for _, field := range f[5:7] {
		at, err := strconv.ParseInt(field, 10, 64)
		if field != "" && (err != nil || at != 0 && at <= now.Unix()) {
			return f[1], false
		}
	}
	return f[1], true
}

// days reads a number of days; an empty or negative one, or none, is not set.
func days(f []string, i int) (n int64, set bool) {
	if i >= len(f) {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(f[i]), 10, 32)
	return n, err == nil && n >= 0
}

// scan calls f with the fields of each line of a file but comments and pointers to NIS.
func scan(path string, f func(fields []string)) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return scanText(file, f)
}

func scanText(r io.Reader, f func(fields []string)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' || line[0] == '+' || line[0] == '-' {
			continue
		}
		if fields := strings.Split(line, ":"); fields[0] != "" {
			f(fields)
		}
	}
	return lines.Err()
}
