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

// The schemes of OpenSMTPD before 6.4. None of them verifies a certificate, as then.
const (
	TLS       Scheme = "tls"        // STARTTLS or nothing
	SSL       Scheme = "ssl"        // TLS from the first byte, or on another connection STARTTLS; also "secure"
	TLSAuth   Scheme = "tls+auth"   // the same with AUTH
	SMTPSAuth Scheme = "smtps+auth" // TLS from the first byte, with AUTH
	SSLAuth   Scheme = "ssl+auth"   // as SSL, with AUTH; also "secure+auth"
)

// traits are what a scheme means.
type traits struct {
	smtps    bool // TLS from the first byte
	fallback bool // where that cannot be had, STARTTLS
	required bool // no mail without TLS
	verified bool // nor without a good certificate
	auth     bool // AUTH, also without a label
	never    bool // no TLS
}

func (s Scheme) traits() (traits, bool) {
	switch s {
	case SMTP:
		return traits{}, true
	case SMTPTLS:
		return traits{required: true, verified: true}, true
	case SMTPS:
		return traits{smtps: true, required: true, verified: true}, true
	case SMTPNoTLS, LMTP:
		return traits{never: true}, true
	case TLS, TLSAuth:
		return traits{required: true, auth: s == TLSAuth}, true
	case SMTPSAuth:
		return traits{smtps: true, required: true, auth: true}, true
	case SSL, SSLAuth:
		return traits{smtps: true, fallback: true, required: true, auth: s == SSLAuth}, true
	}
	return traits{}, false
}

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
// is sure to be encrypted, because it makes a password travel; with smtp it demands TLS.
func ParseURL(s string) (URL, error) {
	u := URL{Scheme: SMTP}
	if len(s) > 1024 {
		return URL{}, ErrURL
	}
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		u.Scheme, s = Scheme(strings.Replace(strings.ToLower(scheme), "secure", "ssl", 1)), rest
	}
	means, ok := u.Scheme.traits()
	if !ok {
		return URL{}, ErrURL
	}
	if label, rest, ok := strings.Cut(s, "@"); ok {
		if label == "" || means.never || !printable(label) {
			return URL{}, ErrURL
		}
		if u.Scheme == SMTP {
			u.Scheme = SMTPTLS
		}
		u.Label, s = label, rest
	}
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

// Key gives the key of the credentials that the URL asks for, "" when it asks for none.
func (u URL) Key() string {
	if means, _ := u.scheme().traits(); u.Label == "" && means.auth {
		return u.Host
	}
	return u.Label
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
		host, rest, ok = strings.TrimSuffix(strings.ToLower(s[:i]), "."), s[i:], true
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

// port gives the port to connect to, for TLS from the first byte or for anything else.
func (u URL) port(smtps bool) uint16 {
	switch {
	case u.Port != 0:
		return u.Port
	case smtps:
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
