package daemon

import (
	"net/netip"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/mta"
)

type addrRequest struct{ Addr netip.Addr }

type ptrReply struct {
	Name      string
	Confirmed bool
	Failed    bool // no answer now
}

type nameRequest struct {
	Name   string
	Family string
}

type mxHost struct {
	Name       string
	Preference uint16
	Addrs      []netip.Addr
	Secure     bool
}

// tlsaRequest asks for the validated TLSA records of a server.
type tlsaRequest struct {
	Host string
	Port uint16
}

type tlsaReply struct {
	TLSA  mta.TLSA
	Error *dnsError
}

type stsReply struct{ STS mta.STS }

// dnsError is an error of a look-up that can travel.
type dnsError struct {
	Text      string
	Permanent bool
	NotFound  bool
}

type mxReply struct {
	Hosts []mxHost
	Error *dnsError
}

type hostReply struct {
	Addrs []netip.Addr
	Error *dnsError
}

// authRequest asks whether a password is the one of a user in a table, or of a user of the
// system.
type authRequest struct {
	Generation     uint64
	Table          string
	User, Password string
	Source         netip.Addr // of the client
}

// scramRequest has a message of a client that authenticates with SCRAM, the second one
// with the state of the answer to the first.
type scramRequest struct {
	Generation     uint64
	Table, Message string
	State          []byte
	Source         netip.Addr // of the client
}

// scramReply has the server's message. Found means that the proof was right, Malformed that
// the client is at fault, Failed that the table could not be asked.
type scramReply struct {
	Found, Malformed, Failed bool
	Message                  string
	State                    []byte
}

// verifyRequest asks for a comparison.
type verifyRequest struct{ Hash, Password string }

// verifyReply says in Error what is wrong with the hash.
type verifyReply struct {
	OK    bool
	Error string
}

// senderRequest asks whether a table lets a user send as an address.
type senderRequest struct {
	Generation          uint64
	Table, User, Sender string
}

// addrNameRequest asks for the name that a table has for one of our addresses.
type addrNameRequest struct {
	Generation uint64
	Table      string
	Addr       netip.Addr
}

// foundReply is what a table says. Failed means that it could not be asked.
type foundReply struct {
	Found, Failed bool
	Value         string
}

// routeRequest asks where a message of a relay action with tables goes. Domains are those of
// its recipients, when the action has a table for them.
type routeRequest struct {
	Generation uint64
	Action     string
	Domains    []string
	Message    envelope.MessageID
	Retry      int // attempts so far
	// Local are this host's addresses, when the action has names for them and leaves it to
	// the system to choose one.
	Local []netip.Addr
	// Avoid are hosts of the list that do not take mail, Probe is one to try; as mta.URL gives
	// them.
	Avoid []string
	Probe string
}

// routeReply has a route for each domain, otherwise one. Error is about all.
type routeReply struct {
	Error   string
	Routes  []route
	Sources []routeSource
}

// route is a relay URL with its credentials, or why there is none. The URL is empty where
// mail exchangers decide.
type route struct {
	Error          string
	URL            string
	Auth           bool
	User, Password string
}

// routeSource is an address to connect from and the name in EHLO, "" for the usual one.
type routeSource struct {
	Addr netip.Addr
	Helo string
}
