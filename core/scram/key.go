// Package scram is the server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel
// binding: the keys that stand in tables, and the messages.
//
// SASLprep is reduced to what it does to printable ASCII, nothing: names and passwords in
// other UTF-8 are taken octet by octet, and are not normalized. A client that normalizes
// fails with a password that normalizing changes.
package scram

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Prefix is what every key begins with.
const Prefix = "SCRAM-SHA-256$"

// Bounds of a key. RFC 7677 section 4 wants 4096 iterations at least; the most take a
// client some seconds.
const (
	MinIterations     = 4096
	MaxIterations     = 10_000_000
	DefaultIterations = 100_000
	SaltSize          = 16 // of new keys, in octets
	maxSalt           = 64
)

// Errors of ParseKey. They do not show the key.
var (
	ErrKey        = errors.New("malformed SCRAM key")
	ErrIterations = fmt.Errorf("SCRAM key with less than %d or more than %d iterations", MinIterations, MaxIterations)
)

// Key is what a server knows of a password.
type Key struct {
	Iterations     int
	Salt           []byte
	Stored, Server [sha256.Size]byte
}

// NewKey makes the key of a password with a salt of its own.
func NewKey(password string) (*Key, error) {
	k := &Key{Iterations: DefaultIterations, Salt: make([]byte, SaltSize)}
	rand.Read(k.Salt)
	return k, k.derive(password)
}

// derive computes the keys of a password, which takes as long as the iterations ask for.
func (k *Key) derive(password string) error {
	salted, err := pbkdf2.Key(sha256.New, password, k.Salt, k.Iterations, sha256.Size)
	if err != nil {
		return err
	}
	k.Stored = sha256.Sum256(mac(salted, "Client Key"))
	k.Server = [sha256.Size]byte(mac(salted, "Server Key"))
	return nil
}

// Match reports whether the key is that of a password.
func (k *Key) Match(password string) (bool, error) {
	other := Key{Iterations: k.Iterations, Salt: k.Salt}
	if err := other.derive(password); err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(k.Stored[:], other.Stored[:]) == 1, nil
}

// String gives SCRAM-SHA-256$iterations:salt$stored-key:server-key, as PostgreSQL writes it.
func (k *Key) String() string {
	e := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s%d:%s$%s:%s", Prefix, k.Iterations, e(k.Salt), e(k.Stored[:]), e(k.Server[:]))
}

// ParseKey reads what String gives.
func ParseKey(text string) (*Key, error) {
	rest, ok := strings.CutPrefix(text, Prefix)
	cost, keys, found := strings.Cut(rest, "$")
	count, salt, salted := strings.Cut(cost, ":")
	stored, server, both := strings.Cut(keys, ":")
	if !ok || !found || !salted || !both || count == "" || len(count) > 10 || strings.Trim(count, "0123456789") != "" {
		return nil, ErrKey
	}
	k := new(Key)
	var err error
	if k.Iterations, err = strconv.Atoi(count); err != nil || k.Iterations < MinIterations || k.Iterations > MaxIterations {
		return nil, ErrIterations
	}
	if k.Salt, ok = decode(salt, maxSalt); !ok || len(k.Salt) == 0 {
		return nil, ErrKey
	}
	if !decodeSum(&k.Stored, stored) || !decodeSum(&k.Server, server) {
		return nil, ErrKey
	}
	return k, nil
}

func decodeSum(sum *[sha256.Size]byte, text string) bool {
	b, ok := decode(text, sha256.Size)
	return ok && copy(sum[:], b) == sha256.Size
}

// decode reads base64 of at most so many octets.
func decode(text string, most int) ([]byte, bool) {
	if len(text) > base64.StdEncoding.EncodedLen(most) || strings.ContainsAny(text, "\r\n") {
		return nil, false
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	return b, err == nil && len(b) <= most
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// FakeKey gives a user that does not exist a salt that is always the same, and keys that
// nobody has a password for. Secret is random and the server's own.
func FakeKey(secret []byte, user string) *Key {
	user = strings.ToLower(user) // tables know no case
	return &Key{Iterations: DefaultIterations, Salt: mac(secret, "salt "+user)[:SaltSize],
		Stored: [sha256.Size]byte(mac(secret, "stored "+user)), Server: [sha256.Size]byte(mac(secret, "server "+user))}
}
