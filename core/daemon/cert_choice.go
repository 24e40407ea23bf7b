package daemon

import (
	"crypto/tls"
	"crypto/x509"
)

// certChoice are the certificates of a listener, in the order of the configuration.
type certChoice []namedCert

// namedCert is a certificate and what it is looked for by: itself, or when it has no
// alternative names, one with its common name as the only one. Who makes a certificate by
// hand often gives no other.
type namedCert struct {
	cert  *tls.Certificate
	names *x509.Certificate
}

func newCertChoice(certs []*tls.Certificate) certChoice {
	list := make(certChoice, len(certs))
	for i, c := range certs {
		leaf := c.Leaf
		if len(leaf.DNSNames)+len(leaf.IPAddresses)+len(leaf.EmailAddresses)+len(leaf.URIs) == 0 {
			leaf = &x509.Certificate{DNSNames: []string{leaf.Subject.CommonName}}
		}
		list[i] = namedCert{c, leaf}
	}
	return list
}

// choose gives the first certificate that is for the name which the client asks for and
// that the client can use. Who asks for none or for another gets the first that he can use.
func (l certChoice) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	usable := *hello
	usable.ServerName = "" // names are compared here
	other := l[0].cert
	found := false
	for _, c := range l {
		if usable.SupportsCertificate(c.cert) != nil {
			continue
		}
		if hello.ServerName == "" || c.names.VerifyHostname(hello.ServerName) == nil {
			return c.cert, nil
		}
		if !found {
			other, found = c.cert, true
		}
	}
	return other, nil
}
