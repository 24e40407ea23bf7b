package mta

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
)

// Message is a message with the recipients that are to be tried now. It belongs to the
// MTA from Submit until the last of its results was given.
type Message struct {
	ID         envelope.MessageID
	Sender     address.Address
	Body       Body
	EnvID      string // xtext, as received
	Ret        string // "", "FULL" or "HDRS"
	UTF8       bool   // it came with SMTPUTF8
	RequireTLS bool   // it came with REQUIRETLS
	// TLSOptional: its sender wants it sent whatever the destination demands of TLS.
	TLSOptional bool
	Recipients  []Recipient
	Close       func() // called once when the body is not needed any more; may be nil; must not call the MTA

	open atomic.Int64 // recipients without a result

	scanned sync.Once
	header8 bool // octets beyond ASCII in the header section
	body8   bool // after it
}

// Recipient is one envelope of a message.
type Recipient struct {
	ID      envelope.ID
	Dest    address.Address
	Rcpt    address.Address // as the client gave it
	Notify  envelope.Notify
	ORcpt   string // type;xtext, as received
	Created time.Time
}

// Body is the header and text of a message with LF line ends: Bytes, or the first Size
// octets of File. It may be read by several transactions at the same time.
type Body struct {
	Bytes []byte
	File  io.ReaderAt
	Size  int64 // octets; of File only
}

// Credentials are what AUTH sends.
type Credentials struct{ User, Password string }

// String keeps the password out of everything that is printed.
func (Credentials) String() string { return "[credentials]" }

// GoString is the same for %#v.
func (c Credentials) GoString() string { return c.String() }

// Relay is how messages are relayed: the options of an action. It must not be changed
// after it was given to Submit.
type Relay struct {
	Name         string // of the action
	URL          URL    // without Host: by the mail exchangers of the recipient's domain
	RequireTLS   bool   // "tls": makes SMTP mandatory and verified
	NoVerify     bool
	Strict       bool        // for messages with REQUIRETLS: the server has to offer it
	Policies     bool        // a table has policies for domains
	STS          bool        // RFC 8461, for domains, unless NoVerify is set
	DANE         bool        // RFC 7672, for SMTP unless NoVerify is set
	Quiet        bool        // Config.TLSResult is not told
	TLSConfig    *tls.Config // roots, certificates, versions, ciphers; nil is the default
	Auth         *Credentials
	Helo         string // "" is the host's name
	HeloBySource map[netip.Addr]string
	MailFrom     string       // user, @domain or a mailbox that takes the sender's place
	Sources      []netip.Addr // addresses to connect from; none: the system chooses
	Backup       bool         // only exchangers that are better than this host
	BackupMX     string       // the name of this host among them, "" is its name
	Limits       Limits
	Filters      *Filters // nil: none
	// Elsewhere gives the options for another host of the list that URL is of, if there is one
	// that can be tried; nil when URL is of no list. It may take its time.
	Elsewhere func(context.Context) (*Relay, bool)
}

// Limits are the limits of mta limit. What is zero is the default, except that delays
// are none: pauses between connections that work are only made when asked for.
type Limits struct {
	Family                string // "", "inet4" or "inet6"
	MaxConnPerHost        int
	MaxConnPerRoute       int
	MaxConnPerSource      int
	MaxConnPerConnector   int
	MaxConnPerRelay       int
	MaxConnPerDomain      int
	ConnDelayHost         time.Duration
	ConnDelayRoute        time.Duration
	ConnDelaySource       time.Duration
	ConnDelayConnector    time.Duration
	ConnDelayRelay        time.Duration
	ConnDelayDomain       time.Duration
	ReconnDelayRoute      time.Duration
	SessionMailMax        int
	TransactionDelay      time.Duration
	SessionKeepalive      time.Duration
	MaxFailuresPerSession int
	StartConn             int    // connections at a time to what nothing is known of
	MailPerMinuteHost     int    // messages, 0 for any number
	MailPerMinuteDomain   int    // the same
	Prefer                string // "", "inet4" or "inet6": the family that comes first
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		value *int
		def   int
	}{
		{&l.MaxConnPerHost, 10}, {&l.MaxConnPerRoute, 5}, {&l.MaxConnPerSource, 100},
		{&l.MaxConnPerConnector, 20}, {&l.MaxConnPerRelay, 100}, {&l.MaxConnPerDomain, 100},
		{&l.SessionMailMax, 1000}, {&l.MaxFailuresPerSession, 25}, {&l.StartConn, 5},
	} {
		if *d.value <= 0 {
			*d.value = d.def
		}
	}
	if l.SessionKeepalive <= 0 {
		l.SessionKeepalive = 10 * time.Second
	}
	return l
}

// key names the relay object for these options and a domain. Everything that makes a
// difference on the wire is in it: two actions never share a connection, and what was
// opened with an old password serves no new message.
func (r *Relay) key(domain string) string {
	k := fmt.Sprintf("%s\x00%s\x00%s\x00%t%t%t%t\x00%s\x00%s\x00%s\x00%v", r.Name, r.URL, domain,
		r.RequireTLS, r.NoVerify, r.Strict, r.Backup, r.BackupMX, r.Helo, r.MailFrom, r.Sources)
	if r.Auth != nil {
		sum := sha256.Sum256([]byte(r.Auth.User + "\x00" + r.Auth.Password))
		k += "\x00auth" + string(sum[:])
	}
	if r.DANE || r.STS || r.Policies || r.Quiet {
		k += fmt.Sprintf("\x00%t%t%t%t", r.DANE, r.STS, r.Policies, r.Quiet)
	}
	if r.Filters != nil { // those of one configuration
		k += fmt.Sprintf("\x00%p", r.Filters)
	}
	if len(r.HeloBySource) > 0 {
		k += fmt.Sprintf("\x00%v", r.HeloBySource) // fmt sorts maps
	}
	return k
}

// describe gives the relay as smtpctl show relays does.
func (r *Relay) describe(domain string) string {
	var b strings.Builder
	if domain == "" {
		domain = r.URL.Host
	}
	fmt.Fprintf(&b, "[relay:%s", domain)
	if p := r.URL.Port; p != 0 {
		fmt.Fprintf(&b, ",port=%d", p)
	}
	switch s := r.URL.scheme(); {
	case r.RequireTLS && s == SMTP:
		b.WriteString(",smtp+tls")
	default:
		b.WriteString("," + string(s))
	}
	if key := r.URL.Key(); key != "" {
		b.WriteString(",auth=" + key)
	}
	if r.Backup {
		b.WriteString(",mx=" + r.BackupMX)
	}
	return b.String() + "]"
}

// sender gives the reverse-path with mail-from applied. The null sender stays what it is.
func (r *Relay) sender(a address.Address) address.Address {
	if r.MailFrom == "" || a.Null() {
		return a
	}
	local, domain, ok := strings.Cut(r.MailFrom, "@")
	if local != "" {
		a.Local = local
	}
	if ok && domain != "" {
		a.Domain = strings.ToLower(domain)
	}
	return a
}

// size gives the octets of the body as stored; on the wire each line is one longer.
func (b *Body) size() int64 {
	if b.File != nil {
		return b.Size
	}
	return int64(len(b.Bytes))
}
