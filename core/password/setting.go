package password

import (
	"encoding/base64"
	"math"
	"strconv"
	"strings"

	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/md5crypt"
	"github.com/go-crypt/crypt/algorithm/scrypt"
	"github.com/go-crypt/crypt/algorithm/sha1crypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
)

// setting is what a hash asks for. Work is counted in the time that a small machine takes
// for it, in rough microseconds; memory in octets.
type setting struct {
	hash   string
	decode algorithm.DecodeFunc
	work   float64
	memory float64
}

// Limits of one comparison.
const (
	maxWork   = 10e6
	maxMemory = 256 << 20
)

func (s *setting) affordable() error {
	if s.work > maxWork || s.memory > maxMemory {
		return ErrTooDear
	}
	return nil
}

// schemes are the names before a hash, in braces, behind which a hash of crypt(3) follows.
var schemes = []string{"CRYPT", "MD5-CRYPT", "BLF-CRYPT", "SHA256-CRYPT", "SHA512-CRYPT", "ARGON2I", "ARGON2ID"}

// parse reads the parameters of a hash. It is strict where the library is not: what it
// does not know does not reach the library.
func parse(hash string) (*setting, error) {
	if len(hash) > MaxHash {
		return nil, ErrFormat
	}
	hash = withoutScheme(hash)
	parts := strings.Split(hash, "$")
	if len(parts) < 4 || parts[0] != "" {
		return nil, ErrScheme
	}
	s := &setting{hash: hash}
	id, rest := parts[1], parts[2:]
	ok := false
	switch id {
	case "2a", "2b", "2y":
		ok = s.bcrypt(rest)
	case "1":
		s.decode, s.work = md5crypt.Decode, 2000
		ok = len(rest) == 2 && crypt64(rest[0], 0, 8) && crypt64(rest[1], 22, 22)
	case "5":
		ok = s.shacrypt(rest, 43)
	case "6":
		ok = s.shacrypt(rest, 86)
	case "sha1":
		ok = s.sha1crypt(rest)
	case "y":
		ok = s.yescrypt(rest)
	case "scrypt":
		ok = s.scrypt(rest)
	case "argon2i", "argon2d", "argon2id":
		ok = s.argon2(rest)
	default:
		return nil, ErrScheme
	}
	if !ok {
		return nil, ErrFormat
	}
	return s, nil
}

func withoutScheme(hash string) string {
	if !strings.HasPrefix(hash, "{") {
		return hash
	}
	name, rest, found := strings.Cut(hash[1:], "}")
	if found {
		for _, s := range schemes {
			if strings.EqualFold(name, s) {
				return rest
			}
		}
	}
	return hash
}

// bcrypt is $2b$COST$ and 22 characters of salt and 31 of the key.
func (s *setting) bcrypt(parts []string) bool {
	cost, ok := number(parts[0], 4, 31)
	s.decode, s.work, s.memory = bcrypt.Decode, math.Ldexp(100, cost), 8<<10
	return ok && len(parts) == 2 && len(parts[0]) == 2 && crypt64(parts[1], 53, 53)
}

// shacrypt is $6$rounds=N$SALT$KEY; the rounds may be missing. The length of the password
// counts too: a long one makes it six times as slow.
func (s *setting) shacrypt(parts []string, size int) bool {
	rounds, ok := 5000, true
	if n, given := strings.CutPrefix(parts[0], "rounds="); given {
		rounds, ok = number(n, 1000, 999999999)
		parts = parts[1:]
	}
	s.decode, s.work = shacrypt.Decode, 4*float64(rounds)
	return ok && len(parts) == 2 && salt(parts[0]) && crypt64(parts[1], size, size)
}

// sha1crypt is $sha1$ROUNDS$SALT$KEY of NetBSD.
func (s *setting) sha1crypt(parts []string) bool {
	rounds, ok := number(parts[0], 1, math.MaxInt32)
	s.decode, s.work = sha1crypt.Decode, float64(rounds)
	return ok && len(parts) == 3 && crypt64(parts[1], 1, 64) && crypt64(parts[2], 28, 28)
}

// yescrypt is $y$jNR$SALT$KEY: N and R are one character each, as libxcrypt writes them.
func (s *setting) yescrypt(parts []string) bool {
	if len(parts) != 3 || len(parts[0]) != 3 || parts[0][0] != 'j' || !crypt64(parts[0], 3, 3) {
		return false
	}
	s.decode = scrypt.Decode
	s.memoryHard(strings.IndexByte(alphabet, parts[0][1])+1, strings.IndexByte(alphabet, parts[0][2])+1, 1)
	return crypt64(parts[1], 1, 86) && crypt64(parts[2], 43, 43)
}

// scrypt is $scrypt$ln=N,r=R,p=P$SALT$KEY.
func (s *setting) scrypt(parts []string) bool {
	p := parameters(parts[0], "ln", "r", "p")
	if len(parts) != 3 || p == nil {
		return false
	}
	s.decode = scrypt.Decode
	s.memoryHard(p[0], p[1], p[2])
	return raw64(parts[1], 0, 64) && raw64(parts[2], 16, 64)
}

func (s *setting) memoryHard(ln, r, p int) {
	s.memory = math.Ldexp(128, ln)*float64(r) + 128*float64(r)*float64(p)
	s.work = math.Ldexp(1, ln) * float64(r) * float64(p)
}

// argon2 is $argon2id$v=19$m=M,t=T,p=P$SALT$KEY, M in KiB.
func (s *setting) argon2(parts []string) bool {
	if len(parts) != 4 || parts[0] != "v=19" {
		return false
	}
	p := parameters(parts[1], "m", "t", "p")
	if p == nil || p[2] > 64 {
		return false
	}
	s.decode = argon2.Decode
	memory := max(float64(p[0]), 8*float64(p[2]))
	s.memory, s.work = 1024*memory, 4*memory*float64(p[1])
	return raw64(parts[2], 1, 64) && raw64(parts[3], 16, 64)
}

// parameters reads "a=1,b=2,c=3" with exactly these names in this order; all are
// positive.
func parameters(text string, names ...string) []int {
	values := make([]int, 0, len(names))
	for _, name := range names {
		var one string
		one, text, _ = strings.Cut(text, ",")
		n, found := strings.CutPrefix(one, name+"=")
		value, ok := number(n, 1, math.MaxInt32)
		if !found || !ok {
			return nil
		}
		values = append(values, value)
	}
	if text != "" {
		return nil
	}
	return values
}

func number(text string, least, most int) (int, bool) {
	n, err := strconv.ParseUint(text, 10, 31)
	return int(n), err == nil && int(n) >= least && int(n) <= most && text[0] != '+'
}

// alphabet is what crypt(3) writes numbers and octets with.
const alphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func crypt64(text string, least, most int) bool {
	return len(text) >= least && len(text) <= most && strings.Trim(text, alphabet) == ""
}

// salt checks one of SHA-crypt, which may be any printable text.
func salt(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] <= ' ' || text[i] > '~' || text[i] == ':' {
			return false
		}
	}
	return len(text) <= 16
}

func raw64(text string, least, most int) bool {
	b, err := base64.RawStdEncoding.Strict().DecodeString(text)
	return err == nil && len(b) >= least && len(b) <= most
}
