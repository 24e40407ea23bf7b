package mta

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/godwit-mta/godwit/core/mtasts"
	"github.com/godwit-mta/godwit/core/tlspolicy"
	"github.com/godwit-mta/godwit/core/tlsrpt"
	"github.com/godwit-mta/godwit/core/trace"
)

// policyTime bounds the look-ups before a connection.
const policyTime = time.Minute

// TLSA is what the validated TLSA records of a server say.
type TLSA struct {
	Records []tlspolicy.Record // none: the server has none
	Base    string             // the name below which they are
	Owner   string             // the name that the server's name is an alias of; may be empty
	Reason  string             // why there are none, for the log
}

// STS is the MTA-STS policy of a domain. Without a mode there is none.
type STS struct {
	mtasts.Policy
	Reason string // why there is none, for the log
	// Failure is the type of failure because of which there is none, as tlsrpt has them; "" when
	// the domain has none.
	Failure string
}

// serverPolicy is what is demanded of TLS with a server beyond what the action says.
type serverPolicy struct {
	name     string // "dane", "dane-unusable", "mta-sts", "mta-sts-testing", "encrypt" or "secure"; "" for none
	title    string // for people
	required bool
	verified bool   // by authorities
	testing  bool   // a failure is only logged
	sni      string // the name to ask for, "" is the server's
	dane     tlspolicy.DANE

	report      tlsrpt.Policy // for its owner; without a type there is none
	failure     string        // type of what is wrong with it, for the same
	failureText string
	local       bool // it is of the table: none of the owner's business
}

// Errors of policies.
var (
	errUnsure    = errors.New("TLS policy unknown")
	errNotListed = errors.New("server is not one of those that the policy names")
)

// policyError is a failure because of what the owner of a destination demands. It says nothing
// about the route: others may demand less of it.
type policyError struct {
	title string
	err   error
}

func (e *policyError) Error() string { return e.title + ": " + e.err.Error() }
func (e *policyError) Unwrap() error { return e.err }

// blame tells when a failure comes from the policy.
func (p *serverPolicy) blame(err error) error {
	of := func(e error) bool { return errors.Is(err, e) }
	if p.name != "" && slices.ContainsFunc([]error{errNoTLS, errTLSRefused, errHandshake}, of) {
		return &policyError{p.title, err}
	}
	return err
}

// apply sets the verification in c and reports whether there is one.
func (p *serverPolicy) apply(c *tls.Config) bool {
	if p.sni != "" {
		c.ServerName = p.sni
	}
	if len(p.dane.Records) == 0 {
		return false
	}
	dane := p.dane
	c.InsecureSkipVerify = true // the records decide, not the authorities
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if err := dane.Verify(s.PeerCertificates, time.Now()); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
		}
		return nil
	}
	return true
}

// policy finds out what is demanded of the server of a session. On an error it must not be used.
func (s *session) policy() (serverPolicy, error) {
	p, reason, err := s.lookupPolicy()
	if err != nil {
		return p, err
	}
	text := ""
	switch host := s.choice.target.host; {
	case p.name != "":
		text = fmt.Sprintf("tls=%s host=%s reason=%q", p.name, host, reason)
		s.tr.Infof("mta tls-policy policy=%s host=%s reason=%q", p.name, host, reason)
	case reason != "":
		text = fmt.Sprintf("tls=- host=%s reason=%q", host, reason)
		s.m.cfg.Log.Debugf("mta tls-policy policy=none host=%s reason=%q", host, reason)
	}
	s.m.mu.Lock()
	s.r.policy = text
	s.m.mu.Unlock()
	return p, nil
}

// lookupPolicy gives the policy and the reason for it, or for none. DANE comes first
// (https://www.rfc-editor.org/rfc/rfc8461#section-2): where a server has validated records,
// they decide alone.
func (s *session) lookupPolicy() (p serverPolicy, reason string, err error) {
	t := s.choice.target
	_, notLiteral := netip.ParseAddr(t.host)
	if !s.opts.DANE && !s.opts.STS && !s.opts.Policies || s.opts.URL.scheme() != SMTP || s.opts.NoVerify || notLiteral == nil {
		return p, "", nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, policyTime)
	defer cancel()
	if s.opts.Policies && s.r.domain != "" {
		return s.listed(ctx, t)
	}
	return s.published(ctx, t)
}

// published gives what the owner of the destination demands.
func (s *session) published(ctx context.Context, t target) (p serverPolicy, reason string, err error) {
	if s.opts.DANE {
		p, reason, err = s.dane(ctx, t)
	}
	if err == nil && p.name == "" && s.opts.STS && s.r.domain != "" {
		var why string
		p, why, err = s.sts(ctx, t.host)
		if reason == "" || p.name != "" {
			reason = why
		} else if why != "" {
			reason += "; " + why
		}
	}
	return p, reason, err
}

func (s *session) dane(ctx context.Context, t target) (p serverPolicy, reason string, err error) {
	if !t.secure {
		return p, "MX records are not validated", nil
	}
	found, err := s.m.cfg.Resolver.TLSA(ctx, t.host, s.opts.URL.port(false))
	if err != nil {
		p.report = daneReport(t.host, nil)
		// https://www.rfc-editor.org/rfc/rfc7672#section-2.1.2
		return p, "", &policyError{"DANE", fmt.Errorf("%w: %s", errUnsure, clean(err.Error()))}
	}
	if len(found.Records) == 0 {
		return p, found.Reason, nil
	}
	return danePolicy(&found, t.host, s.r.domain), fmt.Sprintf("%d TLSA records", len(found.Records)), nil
}

func (s *session) sts(ctx context.Context, host string) (p serverPolicy, reason string, err error) {
	found, err := s.m.cfg.Resolver.STS(ctx, s.r.domain)
	if err != nil {
		return p, "", &policyError{"MTA-STS", fmt.Errorf("%w: %s", errUnsure, clean(err.Error()))}
	}
	listed := found.Allows(host)
	if found.Mode == mtasts.Testing || found.Mode == mtasts.Enforce || found.Failure != "" {
		p.report, p.failure = stsReport(s.r.domain, &found.Policy), found.Failure
	}
	switch {
	case found.Mode == mtasts.Testing && !listed:
		p.name, p.testing, p.failure, p.failureText = "mta-sts-testing", true, tlsrpt.Invalid, errNotListed.Error()
		return p, "would fail: " + errNotListed.Error(), nil
	case found.Mode == mtasts.Testing:
		p.name, p.testing = "mta-sts-testing", true
		return p, "policy of " + s.r.domain, nil
	case found.Mode != mtasts.Enforce:
		return p, found.Reason, nil
	case !listed:
		return p, "", &policyError{"MTA-STS", fmt.Errorf("%w: %s", errNotListed, host)}
	}
	p.name, p.title, p.required, p.verified = "mta-sts", "MTA-STS", true, true
	return p, "policy of " + s.r.domain, nil
}

// try logs what would be wrong with the certificates of a server if its domain was not only
// trying its policy out.
func (p *serverPolicy) try(tr *trace.Trace, host string, s tls.ConnectionState, roots *x509.CertPool) error {
	if !p.testing || len(s.PeerCertificates) == 0 {
		return nil
	}
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between})
	if err != nil {
		tr.Infof("mta tls-policy policy=%s host=%s reason=%q", p.name, host, "would fail: "+clean(err.Error()))
	}
	return err
}

// danePolicy is what TLSA records demand of a server of a domain, "" if the server was
// configured.
func danePolicy(found *TLSA, host, domain string) serverPolicy {
	p := serverPolicy{name: "dane", title: "DANE", required: true, sni: found.Base, report: daneReport(found.Base, found.Records)}
	d := tlspolicy.DANE{Records: found.Records}
	if len(d.Usable()) == 0 { // https://www.rfc-editor.org/rfc/rfc7672#section-2.2
		p.name, p.title, p.failure = "dane-unusable", "DANE (TLSA records unusable)", tlsrpt.TLSAInvalid
		return p
	}
	// https://www.rfc-editor.org/rfc/rfc7672#section-3.2.3
	for _, name := range []string{found.Base, host, found.Owner, domain} {
		if name != "" && !slices.Contains(d.Names, name) {
			d.Names = append(d.Names, name)
		}
	}
	p.dane = d
	return p
}
