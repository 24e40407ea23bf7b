// Package password compares passwords with the hashes of crypt(3) and makes such hashes.
//
// Hashes come from tables, which others may write: what a hash may ask for in time and in
// memory is bounded before anything is computed. A password that stands in a table as it
// is, or with a scheme such as {PLAIN}, is never accepted.
package password

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"

	"github.com/godwit-mta/godwit/core/scram"
)

// MaxPassword is the longest password, in octets. libxcrypt takes no longer ones either.
const MaxPassword = 511

// MaxHash is the longest hash, in octets.
const MaxHash = 511

// Errors of Verify. They say what is wrong with a hash and never show it.
var (
	ErrScheme  = errors.New("password hash of an unknown scheme")
	ErrFormat  = errors.New("malformed password hash")
	ErrTooDear = errors.New("password hash asks for too much time or memory")
)

// Verify reports whether password is the one that hash was made from. Known are bcrypt
// ($2a$, $2b$, $2y$), SHA-crypt ($5$, $6$), yescrypt ($y$), scrypt ($scrypt$), argon2
// ($argon2i$, $argon2d$, $argon2id$), MD5-crypt ($1$) and SHA1-crypt ($sha1$), each also
// behind the scheme that Dovecot writes before it, such as {BLF-CRYPT}, and the keys of
// SCRAM-SHA-256. A hash that begins
// with an asterisk or an exclamation mark locks the account, as in passwd(5): no password
// is right. An error means that the hash is of no use, whatever the password.
//
// It takes as long as the hash asks for, up to several seconds, and up to 256 MiB.
func Verify(hash, password string) (ok bool, err error) {
	if hash != "" && (hash[0] == '*' || hash[0] == '!') {
		return false, nil
	}
	if strings.HasPrefix(hash, scram.Prefix) {
		return verifyScram(hash, password)
	}
	s, err := parse(hash)
	if err != nil {
		return false, err
	}
	if err := s.affordable(); err != nil {
		return false, err
	}
	// crypt(3) reads up to the first NUL: two passwords would be the same.
	if len(password) > MaxPassword || strings.IndexByte(password, 0) >= 0 {
		return false, nil
	}
	return s.match(password)
}

func verifyScram(hash, password string) (bool, error) {
	key, err := scram.ParseKey(hash)
	switch {
	case errors.Is(err, scram.ErrIterations):
		return false, ErrTooDear
	case err != nil:
		return false, ErrFormat
	case len(password) > MaxPassword || strings.IndexByte(password, 0) >= 0:
		return false, nil
	}
	return key.Match(password)
}

// match computes. The library is given hashes that others wrote: should it panic at one,
// that is an error of this hash.
func (s *setting) match(password string) (ok bool, err error) {
	defer func() {
		if recover() != nil {
			ok, err = false, ErrFormat
		}
	}()
	digest, err := s.decode(s.hash)
	if err != nil {
		return false, ErrFormat
	}
	if ok, err = digest.MatchAdvanced(password); err != nil {
		return false, ErrFormat
	}
	return ok, nil
}

// Methods of Hash, by the sign that crypt(3) knows them by.
const (
	Bcrypt      = "2b"
	BcryptOld   = "2a" // for systems that do not know the sign 2b
	SHA512Crypt = "6"
	SCRAM       = "SCRAM-SHA-256" // not of crypt(3)
)

// What a new hash costs: about a tenth of a second on a small machine.
const (
	bcryptCost   = 10
	sha512Rounds = 60000
)

// Hash makes a hash of a password by a method, with a salt of its own. bcrypt takes no
// more than 72 octets.
func Hash(method, password string) (string, error) {
	if len(password) > MaxPassword || strings.ContainsAny(password, "\x00\r\n") {
		return "", fmt.Errorf("password is longer than %d octets or has a line end or NUL in it", MaxPassword)
	}
	var h algorithm.Hash
	var err error
	switch method {
	case SCRAM:
		key, err := scram.NewKey(password)
		if err != nil {
			return "", err
		}
		return key.String(), nil
	case Bcrypt, BcryptOld:
		h, err = bcrypt.New(bcrypt.WithIterations(bcryptCost))
	case SHA512Crypt:
		h, err = shacrypt.New(shacrypt.WithVariant(shacrypt.VariantSHA512), shacrypt.WithIterations(sha512Rounds))
	default:
		return "", ErrScheme
	}
	if err != nil {
		return "", err
	}
	digest, err := h.Hash(password)
	if err != nil {
		return "", err
	}
	text := digest.Encode()
	if method == BcryptOld {
		text = strings.Replace(text, "$2b$", "$2a$", 1) // the same up to 72 octets
	}
	return text, nil
}
