package mtasts

import (
	"crypto/tls"
	"errors"
	"slices"

	"github.com/godwit-mta/godwit/core/tlsrpt"
)

// Failure gives the type of failure because of which a domain that says it has a policy has
// none that is known, as reports have it (https://www.rfc-editor.org/rfc/rfc8460#section-4.3.2.2),
// otherwise "".
func (c *Cache) Failure(domain string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[domain]; e != nil && e.id != "" && !e.valid(c.o.Now()) {
		return e.failure
	}
	return ""
}

func failureOf(err error) string {
	var cert *tls.CertificateVerificationError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &cert):
		return tlsrpt.STSWebPKI
	case slices.ContainsFunc([]error{errSyntax, errVersion, errMode, errMaxAge, errMX, errSize}, func(e error) bool { return errors.Is(err, e) }):
		return tlsrpt.STSInvalid
	}
	return tlsrpt.STSFetch
}
