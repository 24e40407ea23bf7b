package tlspolicy

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Record is a TLSA record (RFC 6698 section 2.1).
type Record struct {
	Usage, Selector, Matching uint8
	Data                      []byte
}

// What the fields of a record mean (RFC 7218).
const (
	trustAnchor  = 2 // DANE-TA
	endEntity    = 3 // DANE-EE
	wholeCert    = 0
	publicKey    = 1
	matchFull    = 0
	matchSHA256  = 1
	matchSHA512  = 2
	maxPresented = 32 // certificates of a server that are looked at
)

// DANE is what validated TLSA records demand of the certificate of a server (RFC 7672). The
// zero value demands nothing.
type DANE struct {
	Records []Record
	Names   []string // the certificate must have one of them, when a trust anchor vouches for it
}

// usable reports whether a record can be used for SMTP. Usages 0 and 1 cannot: there are no
// authorities on which both sides agree (RFC 7672 section 3.1.3).
func (r *Record) usable() bool {
	if r.Usage != trustAnchor && r.Usage != endEntity || r.Selector != wholeCert && r.Selector != publicKey {
		return false
	}
	switch r.Matching {
	case matchFull:
		return len(r.Data) > 0
	case matchSHA256:
		return len(r.Data) == sha256.Size
	case matchSHA512:
		return len(r.Data) == sha512.Size
	}
	return false
}

// Usable gives the records that count. Of two digests of a usage and selector only the
// stronger one does (RFC 7671 section 9). When there are records but none can be used, TLS is
// demanded all the same, and any certificate is good (RFC 7672 section 2.2).
func (d *DANE) Usable() []Record {
	var stronger [endEntity + 1][publicKey + 1]bool
	for i := range d.Records {
		if r := &d.Records[i]; r.usable() && r.Matching == matchSHA512 {
			stronger[r.Usage][r.Selector] = true
		}
	}
	var out []Record
	for i := range d.Records {
		if r := &d.Records[i]; r.usable() && !(r.Matching == matchSHA256 && stronger[r.Usage][r.Selector]) {
			out = append(out, *r)
		}
	}
	return out
}

// matches compares a certificate with a record.
func (r *Record) matches(c *x509.Certificate) bool {
	data := c.Raw
	if r.Selector == publicKey {
		data = c.RawSubjectPublicKeyInfo
	}
	switch r.Matching {
	case matchSHA256:
		sum := sha256.Sum256(data)
		return bytes.Equal(sum[:], r.Data)
	case matchSHA512:
		sum := sha512.Sum512(data)
		return bytes.Equal(sum[:], r.Data)
	}
	return bytes.Equal(data, r.Data)
}

var errNoCertificate = errors.New("the server showed no certificate")

// Verify says what is wrong with the certificates that a server showed, its own first. It must
// not be called without usable records.
func (d *DANE) Verify(shown []*x509.Certificate, now time.Time) error {
	if len(shown) == 0 {
		return errNoCertificate
	}
	shown = shown[:min(len(shown), maxPresented)]
	records := d.Usable()
	anchors := x509.NewCertPool()
	anchored := false
	for i := range records {
		r := &records[i]
		if r.Usage == endEntity {
			// Names and dates of the certificate mean nothing,
			// https://www.rfc-editor.org/rfc/rfc7672#section-3.1.1
			if r.matches(shown[0]) {
				return nil
			}
			continue
		}
		for _, c := range r.anchors(shown[1:]) {
			anchors.AddCert(c)
			anchored = true
		}
	}
	if !anchored {
		return fmt.Errorf("certificate matches none of %d TLSA records", len(records))
	}
	return d.verifyAnchored(shown, anchors, now)
}

// anchors gives the certificates that a record makes trust anchors: those of the others that
// match, or the one that is in the record.
func (r *Record) anchors(others []*x509.Certificate) (list []*x509.Certificate) {
	for _, c := range others {
		if r.matches(c) {
			list = append(list, c)
		}
	}
	if len(list) == 0 && r.Selector == wholeCert && r.Matching == matchFull {
		if c, err := x509.ParseCertificate(r.Data); err == nil {
			list = append(list, c)
		}
	}
	return list
}

func (d *DANE) verifyAnchored(shown []*x509.Certificate, anchors *x509.CertPool, now time.Time) error {
	between := x509.NewCertPool()
	for _, c := range shown[1:] {
		between.AddCert(c)
	}
	if _, err := shown[0].Verify(x509.VerifyOptions{Roots: anchors, Intermediates: between, CurrentTime: now}); err != nil {
		return fmt.Errorf("certificate is not vouched for by the trust anchor of a TLSA record: %w", err)
	}
	for _, name := range d.Names {
		if shown[0].VerifyHostname(name) == nil {
			return nil
		}
	}
	return fmt.Errorf("certificate has none of the names %s", strings.Join(d.Names, ", "))
}
