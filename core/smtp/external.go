package smtp

import (
	"crypto/x509"
	"slices"

	"github.com/emersion/go-sasl"
)

// External is the name of the mechanism that NewExternal makes.
const External = "EXTERNAL"

// CertUsers gives the names that a client's certificate may authenticate: its e-mail
// addresses, then the common name of its subject. Those that no user can have are left out.
func CertUsers(cert *x509.Certificate) (users []string) {
	for _, name := range append(slices.Clone(cert.EmailAddresses), cert.Subject.CommonName) {
		if checkUser([]byte(name)) == nil {
			users = append(users, name)
		}
	}
	return users
}

// NewExternal gives the server's side of EXTERNAL (RFC 4422 appendix A) for a client whose
// certificate was verified. check says whether the user may come in.
func NewExternal(cert *x509.Certificate, check func(user string) error) sasl.Server {
	return &external{CertUsers(cert), check}
}

type external struct {
	users []string
	check func(user string) error
}

// Next takes the identity to act as, which has to be one of the certificate. Without one
// it is the first of them.
func (e *external) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case response == nil:
		return []byte{}, false, nil
	case len(e.users) == 0:
		return nil, false, RefusedAuth()
	case len(response) == 0:
		return nil, true, e.check(e.users[0])
	}
	if err := checkUser(response); err != nil {
		return nil, false, err
	}
	if user := string(response); slices.Contains(e.users, user) {
		return nil, true, e.check(user)
	}
	return nil, false, RefusedAuth()
}
