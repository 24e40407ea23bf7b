package tlsrpt

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/godwit-mta/godwit/core/address"
)

// Bounds on what a domain asks for.
const (
	maxTargets = 4
	maxURI     = 1000 // octets
)

// Target is a place that a report goes to: a mailbox or a web server.
type Target struct {
	Mail address.Address // null for the other
	Host string          // of the web server, in lower case
	Path string          // with the query, for the request line
}

func (t Target) String() string {
	if !t.Mail.Null() {
		return "mailto:" + t.Mail.String()
	}
	return "https://" + t.Host + t.Path
}

// ParseRecord gives the targets of the text records at _smtp._tls of a domain
// (https://www.rfc-editor.org/rfc/rfc8460#section-3). More than one record is none. What is no
// mailbox and no web server that reports may go to is left out.
func ParseRecord(records []string) (targets []Target) {
	found := ""
	for _, r := range records {
		version, rest, _ := strings.Cut(r, ";")
		if strings.TrimRight(version, " \t") != "v=TLSRPTv1" {
			continue
		}
		if found != "" {
			return nil
		}
		found = rest + ";"
	}
	for field := range strings.SplitSeq(found, ";") {
		name, value, ok := strings.Cut(field, "=")
		if !ok || strings.TrimSpace(name) != "rua" {
			continue
		}
		for uri := range strings.SplitSeq(value, ",") {
			if t, ok := parseTarget(strings.TrimSpace(uri)); ok && len(targets) < maxTargets {
				targets = append(targets, t)
			}
		}
		break
	}
	return targets
}

func parseTarget(uri string) (Target, bool) {
	if len(uri) > maxURI {
		return Target{}, false
	}
	u, err := url.Parse(uri)
	if err != nil {
		return Target{}, false
	}
	switch strings.ToLower(u.Scheme) {
	case "mailto":
		text, err := url.PathUnescape(u.Opaque)
		if err != nil {
			return Target{}, false
		}
		a, err := address.Parse(text)
		return Target{Mail: a}, err == nil && !a.Null() && a.Domain != ""
	case "https":
		host := strings.ToLower(u.Hostname())
		_, literal := netip.ParseAddr(host)
		path := u.RequestURI()
		ok := u.User == nil && (u.Port() == "" || u.Port() == "443") && literal != nil && address.ValidHost(host) && strings.Contains(host, ".") &&
			!strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r > '~' })
		return Target{Host: host, Path: path}, ok
	}
	return Target{}, false
}
