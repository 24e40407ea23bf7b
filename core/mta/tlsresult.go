package mta

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/godwit-mta/godwit/core/mtasts"
	"github.com/godwit-mta/godwit/core/tlspolicy"
	"github.com/godwit-mta/godwit/core/tlsrpt"
)

// tell reports what became of TLS in a session with a mail exchanger, for the owner of the
// domain (RFC 8460). Sessions that did not get so far are not counted, nor those that carry
// mail which may go without TLS, such as reports.
func (s *session) tell(o *opener, err error) {
	if s.m.cfg.TLSResult == nil || s.opts.Quiet || s.r.domain == "" || s.opts.URL.scheme() != SMTP || s.opts.NoVerify {
		return
	}
	kind, reason, counts := o.tlsFailure(err)
	if !counts {
		return
	}
	res := tlsrpt.Result{Domain: s.r.domain, Policy: o.policy.report}
	if res.Policy.Type == "" {
		res.Policy = tlsrpt.Policy{Type: tlsrpt.NoPolicy, Domain: s.r.domain}
	}
	if kind != "" {
		f := tlsrpt.Failure{Type: kind, MX: s.choice.target.host, Helo: o.peerName, To: s.choice.target.addr.String(), Reason: limitText(clean(reason))}
		if s.origin.source != "-" {
			f.From = s.origin.source
		}
		res.Failures = []tlsrpt.Failure{f}
	}
	s.m.cfg.TLSResult(res)
}

// tlsFailure gives the type of a failure (https://www.rfc-editor.org/rfc/rfc8460#section-4.3),
// "" for a success, and what there is to say about it, or reports that the session says nothing
// about TLS.
func (o *opener) tlsFailure(err error) (kind, reason string, counts bool) {
	of := func(e error) bool { return errors.Is(err, e) }
	switch {
	case o.policy.local:
		return tlsrpt.DANERequired, "", of(errNoDANE)
	case err == nil && o.policy.failure != "":
		return o.policy.failure, o.policy.failureText, true
	case o.badCert != nil:
		return certFailure(o.badCert), o.badCert.Error(), true
	case o.badTLS != nil:
		return tlsrpt.Invalid, o.badTLS.Error(), true
	case of(errNoTLS), of(errTLSRefused), err == nil && !o.secure:
		return tlsrpt.NoSTARTTLS, "", true
	case of(errUnsure) && o.policy.report.Type == tlsrpt.TLSA:
		return tlsrpt.DNSSECInvalid, err.Error(), true
	case of(errNotListed), of(errInjection):
		return tlsrpt.Invalid, err.Error(), true
	}
	return "", "", err == nil
}

// certFailure gives the type of what is wrong with a certificate.
func certFailure(err error) string {
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &name):
		return tlsrpt.WrongName
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return tlsrpt.Expired
	case errors.As(err, &invalid), errors.As(err, &unknown):
		return tlsrpt.NotTrusted
	}
	return tlsrpt.Invalid
}

// daneReport is how a report says what TLSA records are.
func daneReport(host string, records []tlspolicy.Record) tlsrpt.Policy {
	p := tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: host}
	for _, r := range records {
		p.Strings = append(p.Strings, fmt.Sprintf("%d %d %d %x", r.Usage, r.Selector, r.Matching, r.Data[:min(len(r.Data), 64)]))
	}
	slices.Sort(p.Strings) // they come in any order
	return p
}

// stsReport is how a report says what an MTA-STS policy is.
func stsReport(domain string, p *mtasts.Policy) tlsrpt.Policy {
	out := tlsrpt.Policy{Type: tlsrpt.STS, Domain: domain}
	if p.Mode == mtasts.None {
		return out
	}
	out.Strings = []string{"version: STSv1", "mode: " + string(p.Mode)}
	for _, mx := range p.MX {
		out.Strings = append(out.Strings, "mx: "+mx)
	}
	out.Strings, out.MX = append(out.Strings, fmt.Sprintf("max_age: %d", int64(p.MaxAge.Seconds()))), p.MX
	return out
}
