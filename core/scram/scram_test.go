package scram

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

// The example of RFC 7677 section 3.
const (
	rfcFirst     = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
	rfcNonce     = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	rfcChallenge = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
	rfcFinal     = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	rfcAnswer    = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
)

func rfcKey(t testing.TB, password string) *Key {
	t.Helper()
	salt, _ := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	k := &Key{Iterations: 4096, Salt: salt}
	if err := k.derive(password); err != nil {
		t.Fatal(err)
	}
	return k
}

func TestRFC7677(t *testing.T) {
	k := rfcKey(t, "pencil")
	f, err := ParseFirst(rfcFirst)
	if err != nil {
		t.Fatal(err)
	}
	e := begin(f, k, rfcNonce)
	if e.Challenge != rfcChallenge {
		t.Errorf("challenge %q", e.Challenge)
	}
	if answer, ok, err := e.Finish(rfcFinal, k); answer != rfcAnswer || !ok || err != nil {
		t.Errorf("%q, %v, %v", answer, ok, err)
	}
	for _, wrong := range []*Key{rfcKey(t, "Pencil"), FakeKey([]byte("x"), "user")} {
		if answer, ok, err := e.Finish(rfcFinal, wrong); answer != "" || ok || err != nil {
			t.Errorf("with another key: %q, %v, %v", answer, ok, err)
		}
	}
	for _, message := range []string{
		"", rfcFinal + ",x=y", strings.Replace(rfcFinal, "biws", "eSws", 1), strings.Replace(rfcFinal, "r=rO", "r=rX", 1),
		strings.Replace(rfcFinal, "$k0", "", 1), strings.Replace(rfcFinal, "dHzb", "", 1), strings.Replace(rfcFinal, ",p=", ",=,p=", 1),
		strings.Repeat("x", MaxMessage) + rfcFinal,
	} {
		if answer, ok, err := e.Finish(message, k); answer != "" || ok || err != ErrSyntax {
			t.Errorf("%.80q: %q, %v, %v", message, answer, ok, err)
		}
	}
}

func TestParseFirst(t *testing.T) {
	for _, v := range []struct {
		message, user string
		err           error
	}{
		{"n,,n=ann,r=x", "ann", nil},
		{"y,,n=ann,r=x", "ann", nil},
		{"n,a=ann,n=ann,r=x", "ann", nil},
		{"n,a=a=3Db,n=a=3Db,r=x,e=1", "a=b", nil},
		{"n,,n=a=2Cb=3D=2C,r=x", "a,b=,", nil},
		{"n,,n=\xc3\xa4,r=x", "\xc3\xa4", nil},
		{"n,a=bea,n=ann,r=x", "", ErrOther},
		{"p=tls-unique,,n=ann,r=x", "", ErrBinding},
		{"p=tls-exporter,a=x,n=ann,r=x", "", ErrBinding},
		{"n,a=,n=ann,r=x", "", ErrSyntax},
		{"n,ann,n=ann,r=x", "", ErrSyntax},
		{"z,,n=ann,r=x", "", ErrSyntax},
		{"n,,m=1,n=ann,r=x", "", ErrSyntax},
		{"n,,n=a=2cb,r=x", "", ErrSyntax},
		{"n,,n=a=,r=x", "", ErrSyntax},
		{"n,,n=,r=x", "", ErrSyntax},
		{"n,,n=ann,r=", "", ErrSyntax},
		{"n,,n=ann,r=a b", "", ErrSyntax},
		{"n,,n=ann,r=x,", "", ErrSyntax},
		{"n,,n=ann,r=x,1=y", "", ErrSyntax},
		{"n,,n=ann", "", ErrSyntax},
		{"n,,r=x,n=ann", "", ErrSyntax},
		{"n,,n=a\x00n,r=x", "", ErrSyntax},
		{"n,,n=\xff,r=x", "", ErrSyntax},
		{"n,,n=" + strings.Repeat("x", 256) + ",r=x", "", ErrSyntax},
		{"n,,n=ann,r=" + strings.Repeat("x", maxNonce+1), "", ErrSyntax},
		{"", "", ErrSyntax},
	} {
		f, err := ParseFirst(v.message)
		if !errors.Is(err, v.err) || err == nil && f.User != v.user {
			t.Errorf("%.60q: %+v, %v", v.message, f, err)
		}
	}
}

func TestKey(t *testing.T) {
	k := rfcKey(t, "pencil")
	again, err := ParseKey(k.String())
	if err != nil || again.String() != k.String() {
		t.Fatalf("%v, %v", again, err)
	}
	for password, want := range map[string]bool{"pencil": true, "": false, "Pencil": false} {
		if ok, err := again.Match(password); ok != want || err != nil {
			t.Errorf("%q: %v, %v", password, ok, err)
		}
	}
	good := k.String()
	for _, v := range []struct {
		text string
		err  error
	}{
		{"", ErrKey}, {Prefix, ErrKey}, {good + "=", ErrKey}, {good[:len(good)-4], ErrKey},
		{strings.Replace(good, "4096", "4095", 1), ErrIterations}, {strings.Replace(good, "4096", "10000001", 1), ErrIterations},
		{strings.Replace(good, "4096", "99999999999", 1), ErrKey}, {strings.Replace(good, "4096", "-4096", 1), ErrKey},
		{strings.Replace(good, "4096:W22ZaJ0SNY7soEsUEjb6gQ==", "4096:", 1), ErrKey}, {strings.Replace(good, "W22", "\nW2", 1), ErrKey},
	} {
		if _, err := ParseKey(v.text); err != v.err {
			t.Errorf("%q: %v, want %v", v.text, err, v.err)
		}
	}
}

func TestFakeKey(t *testing.T) {
	a, b := FakeKey([]byte("secret"), "Nobody"), FakeKey([]byte("secret"), "nobody")
	if a.String() != b.String() {
		t.Error("the same user has two keys")
	}
	for _, other := range []*Key{FakeKey([]byte("secret"), "nobodx"), FakeKey([]byte("other"), "nobody")} {
		if string(other.Salt) == string(a.Salt) || other.Stored == a.Stored {
			t.Error("two users have one key")
		}
	}
	if real, err := NewKey("x"); err != nil || len(real.Salt) != len(a.Salt) || real.Iterations != a.Iterations {
		t.Errorf("a new key looks otherwise: %v, %v", real, err)
	}
}

// Whatever a client says, nothing but a right proof gets an answer.
func FuzzMessages(f *testing.F) {
	f.Add(rfcFirst, rfcFinal)
	f.Add("y,a=a=2C,n=a=2C,r=x,e=1", "c=eSxhPWE9MkMs,r=x,p=")
	f.Add("p=tls-unique,,n=user,r=x", "")
	k := rfcKey(f, "another")
	f.Fuzz(func(t *testing.T, first, second string) {
		parsed, err := ParseFirst(first)
		if err != nil {
			return
		}
		if parsed.User == "" || len(parsed.User) > maxName || !text(parsed.User) || parsed.Header+parsed.Bare != first {
			t.Errorf("%q: %+v", first, parsed)
		}
		e := begin(parsed, k, rfcNonce)
		if answer, ok, _ := e.Finish(second, k); ok || answer != "" {
			t.Errorf("%q and %q get in", first, second)
		}
	})
}
