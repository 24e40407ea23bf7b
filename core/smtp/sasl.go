package smtp

import (
	"bytes"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
)

// MaxUser is the longest name that a client may authenticate with, in octets.
const MaxUser = 255

// Authenticate checks a user's password. nil lets the client in; an *SMTPError is the
// reply. RefusedAuth is the one for a wrong password.
type Authenticate func(user, password string) error

// RefusedAuth is the reply to an unknown user or a wrong password; which one it was is
// not told (RFC 4954 section 6).
func RefusedAuth() *gosmtp.SMTPError { return reply(535, 7, 8, textRefused) }

// Mechanisms are the names that NewMechanism knows.
func Mechanisms() []string { return []string{"PLAIN", "LOGIN"} }

// NewMechanism gives the server's side of an exchange, nil for a name that is not among
// Mechanisms. It checks the form of what the client says before check hears of it.
func NewMechanism(name string, check Authenticate) sasl.Server {
	switch name {
	case "PLAIN":
		return &plain{check}
	case "LOGIN":
		return &login{check: check}
	}
	return nil
}

// plain is RFC 4616. Everybody acts as himself: another identity to act as is refused, whatever
// the password is (section 2: the server must see that it is permitted).
type plain struct{ check Authenticate }

func (p *plain) Next(response []byte) (challenge []byte, done bool, err error) {
	if response == nil {
		return []byte{}, false, nil
	}
	act, rest, found := bytes.Cut(response, []byte{0})
	user, password, again := bytes.Cut(rest, []byte{0})
	switch {
	case !found || !again:
		return nil, false, reply(501, 5, 2, textSyntax)
	case len(act) > 0 && !bytes.Equal(act, user):
		return nil, false, RefusedAuth()
	}
	return nil, true, credentials(user, password, p.check)
}

// login is the mechanism that draft-murchison-sasl-login describes. The initial response,
// which the draft does not have, is the user.
type login struct {
	check Authenticate
	user  []byte
	asked bool // for the password
}

func (l *login) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case response == nil:
		return []byte("Username:"), false, nil
	case !l.asked:
		l.asked, l.user = true, response
		return []byte("Password:"), false, checkUser(response)
	}
	return nil, true, credentials(l.user, response, l.check)
}

// credentials refuses what no table can hold before it asks.
func credentials(user, password []byte, check Authenticate) error {
	if err := checkUser(user); err != nil {
		return err
	}
	if bytes.ContainsAny(password, "\x00\r\n") {
		return reply(501, 5, 2, textSyntax)
	}
	return check(string(user), string(password))
}

func checkUser(user []byte) error {
	if len(user) == 0 || len(user) > MaxUser {
		return reply(501, 5, 2, textSyntax)
	}
	for _, c := range user {
		if c < ' ' || c == 0x7f {
			return reply(501, 5, 2, textSyntax)
		}
	}
	return nil
}
