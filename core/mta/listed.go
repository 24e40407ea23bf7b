package mta

import (
	"context"
	"errors"
	"fmt"
)

// Words of the table of policies.
const (
	wordMay     = "may"     // whatever the destination demands
	wordEncrypt = "encrypt" // TLS, with any certificate
	wordSecure  = "secure"  // TLS, with a certificate that DANE or the authorities vouch for
	wordDANE    = "dane"    // TLS, with a certificate that DANE vouches for
)

var (
	errNoDANE = errors.New("no TLSA records that can be used")
	errWord   = errors.New("the table of policies has an unknown word")
)

// listed gives the policy of the table for the domain of a session, that of its owner where
// the table has none.
func (s *session) listed(ctx context.Context, t target) (p serverPolicy, reason string, err error) {
	word, err := s.m.cfg.Resolver.Policy(ctx, s.r.domain)
	if err != nil {
		return p, "", &policyError{"tls-policy", fmt.Errorf("%w: %s", errUnsure, clean(err.Error()))}
	}
	reason = "tls-policy of " + s.r.domain
	own := serverPolicy{name: word, title: "tls-policy " + word, required: true, verified: word == wordSecure, local: true}
	switch word {
	case "":
		return s.published(ctx, t)
	case wordMay:
		p.local = true
		return p, reason, nil
	case wordEncrypt:
		return own, reason, nil
	case wordSecure, wordDANE:
	default:
		return p, "", &policyError{"tls-policy", fmt.Errorf("%w: %s", errWord, limitText(clean(word)))}
	}
	p, why, err := s.published(ctx, t)
	switch {
	case err != nil || p.name == "dane" || word == wordSecure && p.name == "mta-sts":
		return p, why, err
	case word == wordSecure:
		return own, reason, nil
	case why == "":
		why = "mta dane is not set"
	}
	return own, "", &policyError{own.title, fmt.Errorf("%w: %s", errNoDANE, why)}
}
