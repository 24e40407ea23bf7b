package tlsrpt

import (
	"fmt"
	"strings"
)

// Types of policies, https://www.rfc-editor.org/rfc/rfc8460#section-4.4
const (
	TLSA     = "tlsa"
	STS      = "sts"
	NoPolicy = "no-policy-found"
)

// Types of failures, https://www.rfc-editor.org/rfc/rfc8460#section-4.3
const (
	NoSTARTTLS    = "starttls-not-supported"
	WrongName     = "certificate-host-mismatch"
	Expired       = "certificate-expired"
	NotTrusted    = "certificate-not-trusted"
	Invalid       = "validation-failure"
	TLSAInvalid   = "tlsa-invalid"
	DNSSECInvalid = "dnssec-invalid"
	DANERequired  = "dane-required"
	STSFetch      = "sts-policy-fetch-error"
	STSInvalid    = "sts-policy-invalid"
	STSWebPKI     = "sts-webpki-invalid"
)

// Policy is what a session had to obey.
type Policy struct {
	Type    string   `json:"policy-type"`
	Strings []string `json:"policy-string,omitempty"`
	Domain  string   `json:"policy-domain"` // for TLSA the name below which the records are
	MX      []string `json:"mx-host,omitempty"`
}

// Failure is what went wrong. What is not known is empty.
type Failure struct {
	Type   string `json:"result-type"`
	From   string `json:"sending-mta-ip,omitempty"`
	MX     string `json:"receiving-mx-hostname,omitempty"`
	Helo   string `json:"receiving-mx-helo,omitempty"`
	To     string `json:"receiving-ip,omitempty"`
	Reason string `json:"failure-reason-code,omitempty"` // in words
}

// Result is what became of TLS in sessions with a server of a domain.
type Result struct {
	Domain   string // of recipients: its record says who is told
	Policy   Policy
	Failures []Failure // one, or none for a success
	Count    int       // sessions; 0 is 1
}

// Bounds on one result: servers have a say in some of it.
const (
	maxText    = 255 // octets of one field
	maxStrings = 32  // of a policy
)

// bounded cuts what is too long.
func (r Result) bounded() Result {
	cut := func(s string) string {
		if len(s) > maxText {
			s = s[:maxText]
		}
		return strings.ToValidUTF8(s, "?")
	}
	all := func(list []string) (out []string) {
		for _, s := range list[:min(len(list), maxStrings)] {
			out = append(out, cut(s))
		}
		return out
	}
	r.Domain, r.Count = strings.ToLower(r.Domain), max(r.Count, 1)
	r.Policy = Policy{cut(r.Policy.Type), all(r.Policy.Strings), cut(r.Policy.Domain), all(r.Policy.MX)}
	if len(r.Failures) > 0 {
		f := r.Failures[0]
		r.Failures = []Failure{{cut(f.Type), cut(f.From), cut(f.MX), cut(f.Helo), cut(f.To), cut(f.Reason)}}
	}
	return r
}

// Merge adds r to those of list that are the same but for their count.
func Merge(list []Result, r Result) []Result {
	k := r.key()
	for i := range list {
		if list[i].key() == k {
			list[i].Count = max(list[i].Count, 1) + max(r.Count, 1)
			return list
		}
	}
	return append(list, r)
}

func (r *Result) key() string { return fmt.Sprintf("%q %q %q", r.Domain, r.Policy, r.Failures) }

func (p *Policy) key() string { return fmt.Sprintf("%q", *p) }
