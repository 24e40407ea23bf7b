package smtp

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"slices"
	"strings"
	"testing"
)

func holder(common string, addrs ...string) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: common}, EmailAddresses: addrs, DNSNames: []string{"host.example.org"}}
}

func TestExternal(t *testing.T) {
	both := holder("ann", "ann@example.org", "a@example.org")
	for _, v := range []struct {
		name     string
		cert     *x509.Certificate
		response string
		user     string
		code     int
	}{
		{"address first", both, "", "ann@example.org", 0},
		{"common name", holder("ann"), "", "ann", 0},
		{"second address", both, "a@example.org", "a@example.org", 0},
		{"chosen common name", both, "ann", "ann", 0},
		{"somebody else", both, "bea", "", 535},
		{"other case", both, "Ann", "", 535},
		{"a part", both, "ann@example.or", "", 535},
		{"a host is nobody", both, "host.example.org", "", 535},
		{"no identity", holder(""), "", "", 535},
		{"no identity, but asked", holder(""), "ann", "", 535},
		{"identity with a NUL", holder("ann\x00bea"), "", "", 535},
		{"identity that is too long", holder(strings.Repeat("x", MaxUser+1)), "", "", 535},
		{"NUL", both, "ann\x00", "", 501},
		{"too long", both, strings.Repeat("x", MaxUser+1), "", 501},
	} {
		asked := ""
		m := NewExternal(v.cert, func(user string) error { asked = user; return nil })
		if challenge, done, err := m.Next(nil); challenge == nil || len(challenge) != 0 || done || err != nil {
			t.Errorf("%s: challenge %q, %v, %v", v.name, challenge, done, err)
		}
		_, done, err := m.Next([]byte(v.response))
		checkCode(t, err, v.code)
		if asked != v.user || done != (v.code == 0) {
			t.Errorf("%s: asked about %q, done %v", v.name, asked, done)
		}
	}
	refused := errors.New("refused")
	if _, _, err := NewExternal(both, func(string) error { return refused }).Next([]byte{}); err != refused {
		t.Errorf("the check's error became %v", err)
	}
}

// Whatever is asked for, nobody gets in who is not in the certificate.
func FuzzExternal(f *testing.F) {
	f.Add("ann", "ann@example.org", []byte("ann"))
	f.Add("ann", "", []byte{})
	f.Add("a\x00b", "\r\n", []byte("a\x00b"))
	f.Fuzz(func(t *testing.T, common, addr string, response []byte) {
		cert := holder(common, addr)
		m := NewExternal(cert, func(user string) error {
			if checkUser([]byte(user)) != nil || !slices.Contains([]string{common, addr}, user) || len(response) > 0 && user != string(response) {
				t.Errorf("%q lets %q in as %q", []string{common, addr}, response, user)
			}
			return nil
		})
		if response == nil {
			response = []byte{}
		}
		if _, done, err := m.Next(response); done == (err != nil) {
			t.Errorf("%q: %v, %v", response, done, err)
		}
	})
}
