package smtp

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
)

// loginClient is the client's side, with go-smtp's client and go-sasl's mechanisms.
func loginClient(t *testing.T, c *gosmtp.Client, password string) error {
	t.Helper()
	if err := c.Hello("client.example.net"); err != nil {
		t.Fatal(err)
	}
	return c.Auth(sasl.NewPlainClient("", "ann", password))
}

// Our backend authenticates under go-smtp's server.
func TestAuthUnderGoSMTP(t *testing.T) {
	server := gosmtp.NewServer(gosmtp.BackendFunc(func(*gosmtp.Conn) (gosmtp.Session, error) {
		return &sampleSession{b: &sample{auth: true}}, nil
	}))
	server.Domain, server.AllowInsecureAuth = "mx1.example.org", true
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(l)
	defer server.Close()
	for password, code := range map[string]int{"annpw": 0, "wrong": 535} {
		c, err := gosmtp.Dial(l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		checkCode(t, loginClient(t, c, password), code)
		c.Close()
	}
}

// A backend that knows nothing but go-smtp authenticates under our engine.
func TestAuthOfPlainBackend(t *testing.T) {
	for password, code := range map[string]int{"annpw": 0, "wrong": 535} {
		cfg := testConfig()
		cfg.TLSConfig, cfg.SMTPS = testTLS(t), true
		s := start(t, context.Background(), cfg, &authOnly{}, testPeer())
		c := gosmtp.NewClient(tls.Client(s, &tls.Config{InsecureSkipVerify: true}))
		checkCode(t, loginClient(t, c, password), code)
		c.Close()
	}
}

func checkCode(t *testing.T, err error, want int) {
	t.Helper()
	code := 0
	if said, ok := err.(*gosmtp.SMTPError); ok {
		code = said.Code
	}
	if code != want || want == 0 && err != nil {
		t.Errorf("%v, want %d", err, want)
	}
}

// authOnly has sessions of go-smtp's kind that authenticate with go-sasl's mechanism.
type authOnly struct{}

func (authOnly) NewSession(*Conn) (gosmtp.Session, error) {
	return authOnlySession{plainSession{&sampleSession{b: &sample{}}}}, nil
}

type authOnlySession struct{ plainSession }

func (authOnlySession) AuthMechanisms() []string { return []string{sasl.Plain} }
func (s authOnlySession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		return (&sampleSession{b: &sample{}}).authenticate(user, password)
	}), nil
}

// Whatever the responses are, a mechanism comes to an end and asks about nothing that a
// table could misread.
func FuzzMechanism(f *testing.F) {
	f.Add("PLAIN", []byte("\x00ann\x00annpw"), []byte(nil))
	f.Add("PLAIN", []byte("a\x00b\x00c\x00d"), []byte("x"))
	f.Add("LOGIN", []byte("ann"), []byte("annpw"))
	f.Add("LOGIN", []byte("ann\n"), []byte("x\x00"))
	f.Fuzz(func(t *testing.T, name string, first, second []byte) {
		asked := 0
		m := NewMechanism(name, func(user, password string) error {
			asked++
			if user == "" || len(user) > MaxUser || strings.ContainsAny(user, "\x00\r\n\t") || strings.ContainsAny(password, "\x00\r\n") {
				t.Errorf("asked about %q and %q", user, password)
			}
			return nil
		})
		if m == nil {
			return
		}
		for _, response := range [][]byte{nil, first, second} {
			challenge, done, err := m.Next(bytes.Clone(response))
			if done || err != nil {
				return
			}
			if challenge == nil || len(challenge) > 20 || asked > 0 {
				t.Errorf("challenge %q after %d questions", challenge, asked)
			}
		}
	})
}
