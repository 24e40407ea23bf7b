package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// guesser makes attempts at one moment after the other.
type guesser struct {
	g   guesses
	now time.Time
}

func (g *guesser) attempt(user, source string, ok bool, fail error) (bool, error) {
	return g.g.try(&authRequest{User: user, Source: netip.MustParseAddr(source)}, func() time.Time { return g.now },
		func() (bool, error) { return ok, fail })
}

func TestGuesses(t *testing.T) {
	g := &guesser{now: time.Unix(1.7e9, 0)}
	if ok, err := g.attempt("ann", "192.0.2.1", true, nil); !ok || err != nil {
		t.Fatalf("%v, %v", ok, err)
	}
	broken := errors.New("broken")
	for range 3 * guessBurst { // neither says anything about a password
		if _, err := g.attempt("ann", "192.0.2.9", false, broken); err != broken {
			t.Fatal(err)
		}
		if ok, err := g.attempt("ann", "192.0.2.9", true, nil); !ok || err != nil {
			t.Fatalf("%v, %v", ok, err)
		}
	}
	for i := range guessBurst { // each from another source, in another way of writing it
		user := [...]string{"ann", "Ann", "ANN"}[i%3]
		if _, err := g.attempt(user, fmt.Sprintf("198.51.100.%d", i), false, nil); err != nil {
			t.Fatalf("attempt %d: %v", i, err)
		}
	}
	for _, ok := range []bool{true, false} {
		if got, err := g.attempt("ann", "203.0.113.1", ok, nil); got || err != errGuessed {
			t.Errorf("beyond the bound: %v, %v", got, err)
		}
	}
	if ok, err := g.attempt("ann", "192.0.2.1", true, nil); !ok || err != nil {
		t.Errorf("from where the user usually is: %v, %v", ok, err)
	}
	if _, err := g.attempt("bea", "198.51.100.1", false, nil); err != nil {
		t.Errorf("another user: %v", err)
	}
	g.now = g.now.Add(guessEvery)
	if _, err := g.attempt("ann", "203.0.113.1", false, nil); err != nil {
		t.Errorf("after a while: %v", err)
	}
	if _, err := g.attempt("ann", "203.0.113.1", false, nil); err != errGuessed {
		t.Errorf("one more: %v", err)
	}
	// A source that is trusted is bounded too.
	for range guessBurst {
		_, _ = g.attempt("ann", "192.0.2.1", false, nil)
	}
	if _, err := g.attempt("ann", "192.0.2.1", true, nil); err != errGuessed {
		t.Errorf("guessing from where the user usually is: %v", err)
	}
}

// Names that nobody has do not shut out those who exist, as long as no more passwords are
// compared than can be.
func TestGuessesOfMadeUpNames(t *testing.T) {
	g := &guesser{now: time.Unix(1.7e9, 0)}
	refused := 0
	for i := range 200000 {
		g.now = g.now.Add(10 * time.Millisecond)
		if _, err := g.attempt(fmt.Sprint("made-up", i), "198.51.100.1", false, nil); err != nil {
			refused++
		}
	}
	if refused > 0 {
		t.Errorf("%d places are full", refused)
	}
}
