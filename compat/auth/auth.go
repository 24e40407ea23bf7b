// Package auth checks the passwords of the system's users, each system in its own way:
// with the login scripts of bsd_auth(3) on OpenBSD, with PAM where its helper is
// installed, else with the hashes in shadow(5) or master.passwd(5). It has to run as root.
//
// A user who does not exist, is locked, has expired or has no password costs the same work
// as any other: how long an answer takes does not tell who exists.
package auth

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/compat/owner"
	"github.com/godwit-mta/godwit/platform"
)

// PAMHelper is the name of the program that asks PAM, in the directory for helpers.
const PAMHelper = "auth-pam"

// MaxName and MaxPassword are the longest that are looked at, in octets.
const (
	MaxName     = 255
	MaxPassword = 511
)

// ErrUnusable says that the system has a password for a user, in a form that cannot be
// checked. The user is refused like any other.
var ErrUnusable = errors.New("the password is kept in a form that cannot be checked")

// Verify compares a password with a hash of crypt(3). An error means that the hash is of no
// use.
type Verify func(hash, password string) (bool, error)

// System says where the passwords of a system are.
type System struct {
	facts platform.Passwords
	pam   string // the helper, "" without PAM
	seed  maphash.Seed
}

// Of gives where the passwords are. libexec is the directory in which the helper for PAM
// is, if it is installed.
func Of(facts platform.Passwords, libexec string) *System {
	s := &System{facts: facts, seed: maphash.MakeSeed()}
	helper := filepath.Join(libexec, PAMHelper)
	if st, err := os.Stat(helper); err == nil && st.Mode().IsRegular() {
		s.pam = helper
	}
	return s
}

// Usable says why passwords cannot be checked here; nil when they can.
func (s *System) Usable() error {
	switch {
	case s.pam != "":
		return trusted(s.pam)
	case s.facts.Scripts != "":
		return trusted(s.facts.Scripts)
	case s.facts.Hashes == "":
		return fmt.Errorf("this system has no file of password hashes: PAM is needed, and the program %s for it is not installed", PAMHelper)
	}
	f, err := os.Open(s.facts.Hashes)
	if err == nil {
		err = f.Close()
	}
	return err
}

// trusted refuses a program, or a directory of programs, that others than root can change.
func trusted(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if uid, ok := owner.UID(st); ok && uid != 0 && uid != os.Geteuid() || st.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s: insecure: must belong to root and be writable by nobody else", path)
	}
	return nil
}

// Check reports whether a password is the one of a user who may log in now. decoy is
// compared when the system has no hash at all. An error other than ErrUnusable is a failure
// of the system, which says nothing about the password.
func (s *System) Check(ctx context.Context, user, password, decoy string, verify Verify) (bool, error) {
	if len(password) > MaxPassword || strings.IndexByte(password, 0) >= 0 {
		password, user = "", "" // never right, but as slow as any other
	}
	if !validName(user) {
		user = ""
	}
	switch {
	case s.pam != "":
		return runScript(ctx, s.pam, user, "", password)
	case s.facts.Scripts != "":
		return s.askScript(ctx, user, password)
	case s.facts.Hashes == "":
		return false, s.Usable()
	}
	return s.compare(user, password, decoy, verify)
}

// validName refuses what is no user of any system, and what programs take for an option or
// for the name of a style.
func validName(name string) bool {
	if name == "" || len(name) > MaxName || strings.IndexByte("-+~", name[0]) >= 0 {
		return false
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c == 0x7f || c == ':' || c == '/' {
			return false
		}
	}
	return true
}

// compare looks the user's hash up.
func (s *System) compare(user, password, decoy string, verify Verify) (bool, error) {
	found, hashes, err := s.find(user, time.Now())
	if err != nil {
		return false, err
	}
	if len(hashes) > 0 { // who does not exist is as slow as one of those who do, always the same
		decoy = hashes[maphash.String(s.seed, user)%uint64(len(hashes))]
	}
	if found == "" {
		_, err = verify(decoy, password)
		return false, failure(err)
	}
	ok, err := verify(found, password)
	if errors.Is(err, ErrUnusable) {
		_, _ = verify(decoy, password)
	}
	return ok && err == nil, err
}

// failure leaves out that a hash was of no use: it was not the user's.
func failure(err error) error {
	if errors.Is(err, ErrUnusable) {
		return nil
	}
	return err
}
