// Package mtasts finds the MTA-STS policies of domains (RFC 8461): what the owner of a domain
// says about its mail exchangers and their certificates, in a file that is fetched over HTTPS
// and kept for as long as it allows, also across restarts.
//
// A policy protects from the second message on: whoever can disturb the first look-up or the
// fetching hides it. DANE has no such gap, which is why it comes first where a domain has both.
//
// HTTP is spoken here with the little that one small file needs. net/http would be most of
// the code of the process, which reads what strangers send: redirects, cookies, proxies and
// HTTP/2 must not or need not be.
package mtasts

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/address"
)

// Mode is what a policy asks for.
type Mode string

// The modes.
const (
	Enforce Mode = "enforce" // no delivery to other servers, or without a good certificate
	Testing Mode = "testing" // failures are only told
	None    Mode = "none"    // there is no policy any more
)

// Policy is a policy of a domain.
type Policy struct {
	Mode   Mode
	MaxAge time.Duration
	MX     []string // names in lower case, the first label of which may be "*"
}

// Bounds of policies.
const (
	maxPolicy = 64 << 10               // octets of the file, RFC 8461 section 3.3
	maxMX     = 100                    // patterns
	maxMXText = 4 << 10                // octets of all patterns
	maxMaxAge = 31557600 * time.Second // section 3.2
	minMaxAge = 5 * time.Minute        // shorter ones would have it fetched for each message
	maxID     = 32                     // characters of the id of a record
	recordTag = "v=STSv1"
)

// Errors of policies and records.
var (
	errSyntax  = errors.New("policy: invalid line")
	errVersion = errors.New("policy: version is not STSv1")
	errMode    = errors.New("policy: no valid mode")
	errMaxAge  = errors.New("policy: no valid max_age")
	errMX      = errors.New("policy: no valid mx, or too many")
	errSize    = errors.New("policy: larger than 64 KiB")
)

// ParsePolicy reads the file of a policy (RFC 8461 section 3.2). Fields that are not known are
// left out; of those that are there twice the first counts.
func ParsePolicy(text []byte) (Policy, error) {
	if len(text) > maxPolicy {
		return Policy{}, errSize
	}
	fields := make(map[string]string)
	var p Policy
	names := 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if name, value = strings.TrimSpace(name), strings.Trim(value, " \t"); !ok || name == "" {
			return Policy{}, errSyntax
		}
		if name == "mx" {
			pattern, ok := parsePattern(value)
			if names += len(pattern); !ok || len(p.MX) == maxMX || names > maxMXText {
				return Policy{}, errMX
			}
			p.MX = append(p.MX, pattern)
			continue
		}
		if _, twice := fields[name]; !twice {
			fields[name] = value
		}
	}
	return p, p.complete(fields)
}

func (p *Policy) complete(fields map[string]string) error {
	age, err := strconv.ParseUint(fields["max_age"], 10, 64)
	p.Mode = Mode(fields["mode"])
	switch {
	case fields["version"] != "STSv1":
		return errVersion
	case p.Mode != Enforce && p.Mode != Testing && p.Mode != None:
		return errMode
	case err != nil || len(fields["max_age"]) > 10:
		return errMaxAge
	case len(p.MX) == 0 && p.Mode != None:
		return errMX
	}
	p.MaxAge = max(minMaxAge, time.Duration(min(age, uint64(maxMaxAge/time.Second)))*time.Second)
	return nil
}

// parsePattern reads a host name, the first label of which may be "*".
func parsePattern(s string) (string, bool) {
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	return s, address.ValidHost(strings.TrimPrefix(s, "*."))
}

// Allows reports whether a host is one of the mail exchangers of the policy (RFC 8461 section
// 4.1). A "*" stands for one label.
func (p *Policy) Allows(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	_, above, _ := strings.Cut(host, ".")
	return slices.Contains(p.MX, host) || above != "" && slices.Contains(p.MX, "*."+above)
}

// ParseRecord gives the id of the policy that the text records of _mta-sts.DOMAIN announce.
// With none, or with two, there is no policy (RFC 8461 section 3.1).
func ParseRecord(records []string) (id string, ok bool) {
	n := 0
	for _, r := range records {
		tag, rest, more := strings.Cut(r, ";")
		if strings.TrimRight(tag, " \t") != recordTag || !more {
			continue
		}
		n++
		id = ""
		for field := range strings.SplitSeq(rest, ";") {
			name, value, _ := strings.Cut(field, "=")
			if strings.Trim(name, " \t") == "id" && id == "" {
				id = strings.Trim(value, " \t")
			}
		}
	}
	return id, n == 1 && validID(id)
}

func validID(id string) bool {
	return id != "" && len(id) <= maxID && strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
}
