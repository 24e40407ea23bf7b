// Package tlspolicy reads the versions and cipher suites of TLS in the way of libtls and
// OpenSSL, as smtpd.conf(5) has them, for crypto/tls.
//
// What crypto/tls does not have, such as DHE or Camellia, is left out of a list as libtls
// leaves out what was not compiled in; a list of which nothing remains is an error, and so is
// a word that OpenSSL does not know. The order of a list has no effect, because crypto/tls
// has an order of its own. The suites of TLS 1.3 cannot be chosen: they are used whenever
// that version is.
//
// It also tells whether the certificate of a server is the one that TLSA records ask for.
package tlspolicy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
)

// Policy is which versions and suites are used. The zero Policy is the default: TLS 1.2 and
// 1.3 with the suites of crypto/tls.
type Policy struct {
	min, max uint16   // 0: the default
	suites   []uint16 // of TLS 1.2 and before; nil: the default
}

// Parse reads protocols and ciphers, each of which is the default when it is empty.
func Parse(protocols, ciphers string) (Policy, error) {
	var p Policy
	var err error
	if protocols != "" {
		if p.min, p.max, err = parseProtocols(protocols); err != nil {
			return Policy{}, err
		}
	}
	if ciphers == "" {
		return p, nil
	}
	suites, newest, err := parseCiphers(ciphers)
	if err != nil {
		return Policy{}, err
	}
	p.suites = suites
	if len(suites) > 0 {
		return p, nil
	}
	// Only suites of TLS 1.3 are asked for.
	if !newest {
		return Policy{}, fmt.Errorf("ciphers %q: none that can be used: write HIGH:!aNULL", ciphers)
	}
	if p.max != 0 && p.max < tls.VersionTLS13 {
		return Policy{}, fmt.Errorf("ciphers %q: they are of TLS 1.3, which protocols %q excludes: write tlsv1.3 there", ciphers, protocols)
	}
	p.min = tls.VersionTLS13
	return p, nil
}

// Apply sets what the policy says in a configuration.
func (p Policy) Apply(c *tls.Config) {
	c.MinVersion, c.MaxVersion, c.CipherSuites = max(p.min, tls.VersionTLS10), p.max, p.suites
	if p.min == 0 {
		c.MinVersion = tls.VersionTLS12
	}
}

// versions in the order of their numbers.
var versions = [...]uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13}

// Sets of versions, a bit for each of versions.
const (
	tls10 = 1 << iota
	tls11
	tls12
	tls13
	usual = tls12 | tls13
)

// parseProtocols reads words with commas or colons between them, of which "!" takes away.
func parseProtocols(s string) (lowest, highest uint16, err error) {
	set := 0
	for word := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ',' || r == ':' }) {
		word = strings.ToLower(strings.TrimSpace(word))
		word, not := strings.CutPrefix(word, "!")
		if not && set == 0 {
			set = usual
		}
		bits := 0
		switch word {
		case "all", "legacy", "default", "secure", "tlsv1":
			bits = usual
		case "tlsv1.0":
			bits = tls10
		case "tlsv1.1":
			bits = tls11
		case "tlsv1.2":
			bits = tls12
		case "tlsv1.3":
			bits = tls13
		default:
			return 0, 0, fmt.Errorf("protocols %q: unknown word %q: expected tlsv1.2, tlsv1.3, secure or default", s, word)
		}
		if set |= bits; not {
			set &^= bits
		}
	}
	if set == 0 {
		return 0, 0, fmt.Errorf("protocols %q: no version is left: write tlsv1.2,tlsv1.3", s)
	}
	return span(set)
}

// span gives the first and the last version of a set. crypto/tls leaves out none between.
func span(set int) (lowest, highest uint16, err error) {
	for i, v := range versions {
		switch in := set&(1<<i) != 0; {
		case in && lowest == 0:
			lowest, highest = v, v
		case in && versions[i-1] != highest:
			return 0, 0, errors.New("protocols: a version between others cannot be left out: write it as well")
		case in:
			highest = v
		}
	}
	return lowest, highest, nil
}
