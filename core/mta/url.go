package mta

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/godwit-mta/godwit/core/address"
)

// Scheme is the protocol of a relay URL.
type Scheme string

// The schemes of smtpd.conf(5).
const (
	SMTP      Scheme = "smtp"       // TLS when it is offered, not verified
	SMTPTLS   Scheme = "smtp+tls"   // STARTTLS or nothing, verified
	SMTPNoTLS Scheme = "smtp+notls" // never TLS
	SMTPS     Scheme = "smtps"      // TLS from the first byte, verified
	LMTP      Scheme = "lmtp"       // RFC 2033, never TLS
)

// URL is a relay URL: [scheme://][label@]host[:port].
type URL struct {
	Scheme Scheme // "" is SMTP
	Label  string // the entry of the credentials table, "" for none
	Host   string // a host name in lower case, or an address without brackets
	Port   uint16 // 0: that of the scheme
}

// ErrURL is what ParseURL fails with.
var ErrURL = errors.New("invalid relay URL")

// ParseURL reads a relay URL of smtpd.conf(5). A label is only taken where the connection
// is sure to be encrypted, because it makes a password travel.
func ParseURL(s string) (URL, error) {
	u := URL{Scheme: SMTP}
	if len(s) > 1024 {
		return URL{}, ErrURL
	}
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		u.Scheme, s = Scheme(strings.ToLower(scheme)), rest
	}
	switch u.Scheme {
	case SMTP, SMTPTLS, SMTPNoTLS, SMTPS, LMTP:
	default:
		return URL{}, ErrURL
	}
	if label, rest, ok := strings.Cut(s, "@"); ok {
		if label == "" || u.Scheme != SMTPTLS && u.Scheme != SMTPS || !printable(label) {
			return URL{}, ErrURL
		}
		u.Label, s = label, rest
	}
	var ok bool
	if u.Host, s, ok = cutHost(s); !ok {
		return URL{}, ErrURL
	}
	if s != "" {
		n, err := strconv.ParseUint(s[1:], 10, 16)
		if err != nil || n == 0 || s[1] == '+' {
			return URL{}, ErrURL
		}
		u.Port = uint16(n)
	}
	if u.Scheme == LMTP && u.Port == 0 {
		return URL{}, ErrURL
	}
	return u, nil
}

// cutHost splits off the host and leaves "" or a colon with at least one character.
func cutHost(s string) (host, rest string, ok bool) {
	if strings.HasPrefix(s, "[") {
		host, rest, ok = strings.Cut(s[1:], "]")
		host = strings.TrimPrefix(strings.ToLower(host), "ipv6:")
		if ip, err := netip.ParseAddr(host); err != nil || ip.Zone() != "" {
			return "", "", false
		}
	} else {
		i := strings.IndexByte(s, ':')
		if i < 0 {
			i = len(s)
		}
		host, rest, ok = strings.ToLower(s[:i]), s[i:], true
		if !address.ValidHost(host) {
			return "", "", false
		}
	}
	return host, rest, ok && (rest == "" || rest[0] == ':' && len(rest) > 1)
}

func printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// port gives the port to connect to.
func (u URL) port() uint16 {
	switch {
	case u.Port != 0:
		return u.Port
	case u.Scheme == SMTPS:
		return 465
	default:
		return 25
	}
}

// scheme gives the scheme, SMTP when none is set.
func (u URL) scheme() Scheme {
	if u.Scheme == "" {
		return SMTP
	}
	return u.Scheme
}

// String gives the URL in a form that ParseURL reads to the same value.
func (u URL) String() string {
	s := string(u.scheme()) + "://"
	if u.Label != "" {
		s += u.Label + "@"
	}
	if _, err := netip.ParseAddr(u.Host); err == nil {
		s += "[" + u.Host + "]"
	} else {
		s += u.Host
	}
	if u.Port != 0 {
		s += ":" + strconv.Itoa(int(u.Port))
	}
	return s
}
