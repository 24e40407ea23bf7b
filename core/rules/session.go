package rules

import (
	"net/netip"
	"strings"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/trace"
)

// Session holds the facts that rules are about.
type Session struct {
	Local         bool       // over the local socket; Addr is not set then
	Addr          netip.Addr // of the client
	RDNS          string     // name of the client, empty when it has none
	FCrDNS        bool       // the name leads back to the address; rules do not ask for it
	Helo          string
	Tag           string // of the listener
	Authenticated bool   // local sessions count without it
	Username      string // of an authenticated session, empty for local ones
	TLS           bool
	Internal      bool            // the address was made by expansion: it comes from this host
	Sender        address.Address // null for bounces; regular expressions see an empty text then
	Rcpt          address.Address // as the client gave it, for replies
	Log           *trace.Logger   // for what is decided, when the session is traced by itself; else nil
}

// source is the address of the client, or "local" for everything that this host made. A
// client whose address is not known is covered by no table.
func (s *Session) source() string {
	if s.Local || s.Internal {
		return "local"
	}
	if !s.Addr.IsValid() {
		return ""
	}
	return s.Addr.Unmap().String()
}

// name gives the name of the client, "" when it has none. Those who use the socket are
// called localhost.
func (s *Session) name() string {
	switch {
	case s.Internal:
		return ""
	case s.Local:
		return "localhost"
	}
	return s.RDNS
}

// authenticated says whether a criterion finds what it is about: sessions over the
// socket count as authenticated, but have no name that a table could hold.
func (s *Session) authenticated(m config.Match) bool {
	if m.Table != "" {
		return s.Authenticated && s.Username != ""
	}
	return s.Authenticated || s.Local
}

// bracketed writes IPv6 addresses as the regular expressions of users expect them.
func bracketed(source string) string {
	if strings.Contains(source, ":") {
		return "[" + source + "]"
	}
	return source
}

func isAddress(s string) bool { return strings.Contains(s, "@") }

// destDomain gives the domain as <localnames> holds it: address literals have many
// spellings, the table has one.
func destDomain(dest address.Address) string {
	if ip, ok := address.Literal(dest.Domain); ok {
		return "[" + ip.Unmap().String() + "]"
	}
	return dest.Domain
}
