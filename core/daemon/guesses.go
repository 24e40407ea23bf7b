package daemon

import (
	"errors"
	"hash/maphash"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Bounds of guessing the password of one user, wherever the guesses come from.
const (
	guessBurst  = 20               // wrong passwords that are looked at one after the other
	guessEvery  = 30 * time.Second // then one in this time
	guessPlaces = 1 << 14
)

// errGuessed is said of a user whose password is being guessed. Whether the password was
// right is not looked at.
var errGuessed = errors.New("too many wrong passwords of this user")

// guesses counts the wrong passwords of users, those of a source that has proved itself
// for the user apart: who guesses does not lock the user out where he usually is. Its size
// is fixed. Two users may share a place, which makes the bound for both tighter, never
// wider; made-up names cannot fill the places, as each is drained faster than passwords can
// be compared.
type guesses struct {
	once   sync.Once
	seed   maphash.Seed
	mu     sync.Mutex
	wrong  []guessPlace
	proved []uint64 // sums of a user and the source that it logged in from
}

// guessPlace is a bucket: level is the count at a time, in Unix nanoseconds.
type guessPlace struct {
	at    int64
	level float32
}

func (g *guesses) init() {
	g.once.Do(func() {
		g.seed = maphash.MakeSeed()
		g.wrong = make([]guessPlace, guessPlaces)
		g.proved = make([]uint64, guessPlaces)
	})
}

// try checks a password unless too many were wrong. A check that failed counts for nothing.
func (g *guesses) try(req *authRequest, now func() time.Time, check func() (bool, error)) (bool, error) {
	g.init()
	user, source := strings.ToLower(req.User), sourceOf(req.Source) // tables know no case
	if !g.allow(user, source, now()) {
		return false, errGuessed
	}
	ok, err := check()
	if ok || err != nil {
		g.settle(user, source, ok)
	}
	return ok, err
}

// place gives where a user's guesses from a source are counted.
func (g *guesses) place(user string, source netip.Prefix) (place *guessPlace, sum uint64) {
	var h maphash.Hash
	h.SetSeed(g.seed)
	h.WriteString(user)
	general := h.Sum64()
	h.WriteByte(0)
	text, _ := source.MarshalBinary()
	h.Write(text)
	if sum = h.Sum64(); g.proved[sum%guessPlaces] == sum {
		return &g.wrong[sum%guessPlaces], sum
	}
	return &g.wrong[general%guessPlaces], sum
}

// allow takes a token, which is given back when the password was right: many attempts at
// the same moment are counted before their results are known.
func (g *guesses) allow(user string, source netip.Prefix, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	p, _ := g.place(user, source)
	at := now.UnixNano()
	if p.at != 0 {
		p.level = max(0, p.level-float32(at-p.at)/float32(guessEvery))
	}
	p.at = at
	if p.level+1 > guessBurst {
		return false
	}
	p.level++
	return true
}

// settle gives the token of an attempt back that was no wrong password.
func (g *guesses) settle(user string, source netip.Prefix, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p, sum := g.place(user, source)
	p.level = max(0, p.level-1)
	if ok {
		g.proved[sum%guessPlaces] = sum
	}
}
