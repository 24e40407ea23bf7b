// Package address holds the mailbox, the value that everything else in the
// server talks about: a local part and a domain, parsed strictly and printed
// in a form that parses to the same value again.
package address

import (
	"errors"
	"net/netip"
	"strings"
)

// Limits of RFC 5321 section 4.5.3.1, in octets. MaxLocal is generous: sub-addresses
// and SRS senders exceed the 64 octets of the RFC in practice.
const (
	MaxLocal  = 255
	MaxDomain = 255
	MaxPath   = 512
)

// Address is a mailbox (RFC 5321 section 4.1.2). Local is the local part without
// quoting, in UTF-8 (RFC 6531); Domain is in lower case as a name or an address literal in
// brackets, in ASCII: labels in other letters are A-labels.
// The zero Address is the null reverse-path.
type Address struct {
	Local  string
	Domain string
}

// Errors of the parser. All of them are permanent.
var (
	ErrSyntax  = errors.New("address syntax error")
	ErrTooLong = errors.New("address too long")
)

// Null reports whether a is the null reverse-path.
func (a Address) Null() bool { return a.Local == "" && a.Domain == "" }

// String gives the address as it is written between angle brackets, the local part
// quoted where RFC 5321 asks for it. The null reverse-path is the empty string.
func (a Address) String() string {
	var room [64]byte
	return string(a.Append(room[:0]))
}

// Append appends what String gives.
func (a Address) Append(b []byte) []byte {
	if a.Null() {
		return b
	}
	if dotString(a.Local) {
		b = append(b, a.Local...)
	} else {
		b = append(b, quote(a.Local)...)
	}
	if a.Domain != "" {
		b = append(append(b, '@'), a.Domain...)
	}
	return b
}

// Parse reads a mailbox without angle brackets. A missing domain is accepted and left
// empty: the caller decides what it stands for. The empty string is an error.
func Parse(s string) (Address, error) {
	if len(s) > MaxPath {
		return Address{}, ErrTooLong
	}
	local, rest, err := localPart(s)
	if err != nil {
		return Address{}, err
	}
	if rest == "" {
		return Address{Local: local}, nil
	}
	domain, err := ParseDomain(rest[1:])
	if err != nil {
		return Address{}, err
	}
	return Address{Local: local, Domain: domain}, nil
}

// ParsePath reads what stands between the angle brackets of MAIL and RCPT: the empty
// string is the null reverse-path, a source route is dropped (RFC 5321 appendix C).
func ParsePath(s string) (Address, error) {
	if s == "" {
		return Address{}, nil
	}
	if len(s) > 2*MaxPath {
		return Address{}, ErrTooLong
	}
	if s[0] == '@' {
		route, mailbox, ok := strings.Cut(s, ":")
		if !ok {
			return Address{}, ErrSyntax
		}
		for hop := range strings.SplitSeq(route, ",") {
			if len(hop) < 2 || hop[0] != '@' {
				return Address{}, ErrSyntax
			}
			if _, err := ParseDomain(hop[1:]); err != nil {
				return Address{}, err
			}
		}
		s = mailbox
	}
	return Parse(s)
}

// ParseDomain checks a domain name or an address literal and gives it in lower case.
func ParseDomain(s string) (string, error) {
	if len(s) > MaxDomain {
		return "", ErrTooLong
	}
	if strings.HasPrefix(s, "[") {
		if _, ok := Literal(s); !ok {
			return "", ErrSyntax
		}
		return strings.ToLower(s), nil
	}
	if !ASCII(s) {
		var ok bool
		if s, ok = asciiDomain(s); !ok {
			return "", ErrSyntax
		}
	}
	if !ValidHost(s) {
		return "", ErrSyntax
	}
	return strings.ToLower(s), nil
}

// Literal gives the address inside an address literal such as [192.0.2.1] or
// [IPv6:2001:db8::1] (RFC 5321 section 4.1.3).
func Literal(s string) (netip.Addr, bool) {
	if len(s) < 3 || s[0] != '[' || s[len(s)-1] != ']' {
		return netip.Addr{}, false
	}
	inner := s[1 : len(s)-1]
	v6 := len(inner) > 5 && strings.EqualFold(inner[:5], "ipv6:")
	if v6 {
		inner = inner[5:]
	}
	ip, err := netip.ParseAddr(inner)
	if err != nil || ip.Zone() != "" || (v6 && !ip.Is6()) {
		return netip.Addr{}, false
	}
	return ip, true
}

// ValidHost reports whether s is a host name: labels of letters, digits, hyphens and,
// because they are in use, underscores; no empty label and no final dot.
func ValidHost(s string) bool {
	if s == "" || len(s) > MaxDomain {
		return false
	}
	start := 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '.' {
			if c := s[i]; !alnum(c) && c != '-' && c != '_' {
				return false
			}
			continue
		}
		label := s[start:i]
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		start = i + 1
	}
	return true
}

// localPart splits off a dot-string or a quoted-string and gives it unquoted, and the
// rest of s, which is empty or begins with the at sign.
func localPart(s string) (local, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		return quotedString(s)
	}
	local = s
	if i := strings.IndexByte(s, '@'); i >= 0 {
		local, rest = s[:i], s[i:]
	}
	if len(local) > MaxLocal {
		return "", "", ErrTooLong
	}
	if !dotString(local) {
		return "", "", ErrSyntax
	}
	return local, rest, nil
}

func quotedString(s string) (local, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			rest = s[i+1:]
			if b.Len() == 0 || (rest != "" && rest[0] != '@') {
				return "", "", ErrSyntax
			}
			if b.Len() > MaxLocal {
				return "", "", ErrTooLong
			}
			return b.String(), rest, utf8Error(b.String())
		case c == '\\':
			if i++; i == len(s) {
				return "", "", ErrSyntax
			}
			c = s[i]
			fallthrough
		default:
			if c < ' ' || c == 0x7f {
				return "", "", ErrSyntax
			}
			b.WriteByte(c)
		}
	}
	return "", "", ErrSyntax
}

func utf8Error(local string) error {
	if !utf8Text(local) {
		return ErrSyntax
	}
	return nil
}

// dotString reports whether s needs no quoting (RFC 5321 section 4.1.2).
func dotString(s string) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c != '.' && !atext(c) {
			return false
		}
	}
	return ASCII(s) || utf8Text(s)
}

func quote(s string) string {
	b := make([]byte, 0, len(s)+2)
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return string(append(b, '"'))
}

func alnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// atext of RFC 5322 section 3.2.3, with what RFC 6531 section 3.3 adds.
func atext(c byte) bool {
	return alnum(c) || c >= 0x80 || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}
