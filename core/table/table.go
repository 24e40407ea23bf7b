// Package table answers named look-ups: lists and mappings written in smtpd.conf(5) or
// in files, the system's users, and the built-in tables. It does not know who asks.
//
// Keys are compared without regard to case. Which way a key is compared depends on the
// service it is asked for: a domain is a pattern, an address may be a whole domain, a
// network covers its hosts.
package table

import "context"

// Service says what a key stands for and so how it is compared.
type Service uint8

// The services, with the names of smtpd-tables(7).
const (
	Alias       Service = iota // user or address -> list of destinations
	Domain                     // name against patterns such as *.example.org
	Credentials                // user -> hash; label -> user:password
	NetAddr                    // address against addresses and networks
	UserInfo                   // user -> uid:gid:home
	Source                     // addresses to send from
	MailAddr                   // address against user, @domain, user@domain, user@*.domain, @
	AddrName                   // address -> name
	MailAddrMap                // user -> list of addresses
	RelayHost                  // relay URLs
	String                     // exact
	Regex                      // text against extended regular expressions
	Auth                       // user:password, programs only
	serviceCount
)

var serviceNames = [serviceCount]string{"alias", "domain", "credentials", "netaddr", "userinfo",
	"source", "mailaddr", "addrname", "mailaddrmap", "relayhost", "string", "regex", "auth"}

func (s Service) String() string {
	if s < serviceCount {
		return serviceNames[s]
	}
	return "unknown"
}

// ParseService gives the service with that name.
func ParseService(name string) (Service, bool) {
	for s, n := range serviceNames {
		if n == name {
			return Service(s), true
		}
	}
	return 0, false
}

// MaxKey is the longest key, in octets. Longer ones are in no table.
const MaxKey = 1023

// Table is one named table. Its methods may be called by several goroutines and may take
// as long as the context allows: tables can be programs. Every error is temporary, not
// finding a key is no error.
type Table interface {
	// Lookup gives the value of key.
	Lookup(ctx context.Context, service Service, key string) (value string, found bool, err error)
	// Match reports whether key is covered by an entry.
	Match(ctx context.Context, service Service, key string) (bool, error)
	// Fetch gives the entries one after the other, for ever.
	Fetch(ctx context.Context, service Service) (value string, found bool, err error)
	// Prepare is called at load time for each service that will be asked for. It
	// reports what makes that impossible, such as a bad regular expression.
	Prepare(service Service) error
	// Reload takes up changes. After an error the table answers as before.
	Reload(ctx context.Context) error
}
