// Package dns resolves names: mail exchangers, addresses, the verified name of an
// address, and text records. It asks the servers of resolv.conf(5), looks into hosts(5)
// first, keeps answers for as long as they allow, and asks once when many want to know.
//
// The resolver of the standard library is not used: it silently turns to 127.0.0.1 once
// resolv.conf is out of reach, and hides the difference between a domain that does not
// exist and a server that does not answer, on which the life of a message depends.
//
// The search list of resolv.conf is never applied: a domain of a mail address is complete.
//
// Signatures are not verified here. Whether an answer was validated is what the name server
// says in the AD bit, which is believed from servers alone that Trust names.
package dns

import (
	"cmp"
	"context"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/trace"
)

// Kind says whether asking again later can help.
type Kind uint8

// The kinds.
const (
	Temporary Kind = iota + 1
	Permanent
)

// Error is what every method of Resolver fails with.
type Error struct {
	Kind     Kind
	NotFound bool   // the name, or a record of that type, does not exist
	Text     string // for the sender of a message; printable
}

func (e *Error) Error() string { return e.Text }

// Temporary reports whether asking again later can help.
func (e *Error) Temporary() bool { return e.Kind == Temporary }

// Exists reports whether the name exists. With a permanent error it does not want mail.
func (e *Error) Exists() bool { return !e.NotFound }

// Family restricts the addresses of a look-up.
type Family uint8

// The families.
const (
	AnyFamily Family = iota
	IPv4
	IPv6
)

// Options of a Resolver. The zero value asks 127.0.0.1 and knows no hosts file.
type Options struct {
	ResolvConf string           // path; re-read when it changes
	Hosts      string           // path; re-read when it changes
	Servers    []netip.AddrPort // instead of those of ResolvConf
	Timeout    time.Duration    // for one server, instead of that of ResolvConf
	Attempts   int              // rounds over all servers, instead of that of ResolvConf
	CacheSize  int              // answers kept; 0 is 4096
	Log        *trace.Logger
}

// Bounds on what one answer may make us do.
const (
	maxMX      = 32               // exchangers of a domain, those with the lowest preferences
	maxAddrs   = 32               // addresses of a host
	maxPTR     = 8                // names of an address that are verified
	maxTXT     = 256              // text records of a name
	maxCNAME   = 8                // aliases in a row
	maxLookup  = 60 * time.Second // for all servers and attempts together
	mxParallel = 8                // exchangers resolved at the same time
)

// Resolver answers questions. It is safe for use by several goroutines.
type Resolver struct {
	log   *trace.Logger
	conf  *confFile
	hosts *hostsFile
	cache *cache
	first atomic.Uint32 // the server to begin with

	trust      atomic.Pointer[Trust]
	distrusted atomic.Pointer[resolvConf] // a warning was given that it has no trusted server
}

// New gives a Resolver. It does not fail: a file that cannot be read is looked for again.
func New(o Options) *Resolver {
	if o.CacheSize <= 0 {
		o.CacheSize = 4096
	}
	return &Resolver{
		log:   o.Log,
		conf:  newConfFile(o),
		hosts: newHostsFile(o.Hosts),
		cache: newCache(o.CacheSize),
	}
}

// found is what a question gave in the end. The records are shared with other callers and
// must not be changed.
type found struct {
	rrs    []miekg.RR
	owner  string // the name that all aliases lead to
	err    *Error
	secure bool // everything on the way was validated, also that there is nothing
}

// query gives the records of one type of a name, aliases followed.
func (r *Resolver) query(ctx context.Context, name string, qtype uint16) found {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if !address.ValidHost(name) {
		return found{err: noDomain()}
	}
	secure := true
	for range maxCNAME {
		k := key{name, qtype}
		a := r.cache.get(ctx, k, func(ctx context.Context) answer { return r.fetch(ctx, k) })
		secure = secure && a.secure
		if a.err != nil || a.alias == "" {
			return found{a.rrs, cmp.Or(a.owner, name), a.err, secure}
		}
		name = a.alias
	}
	return found{err: &Error{Kind: Temporary, Text: "Too many aliases in a row"}}
}

// LookupTXT gives the text records of a name, the strings of each joined.
func (r *Resolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	f := r.query(ctx, name, miekg.TypeTXT)
	if f.err != nil {
		return nil, f.err
	}
	var out []string
	for _, rr := range f.rrs {
		if t, ok := rr.(*miekg.TXT); ok && len(out) < maxTXT {
			out = append(out, strings.Join(t.Txt, ""))
		}
	}
	return out, nil
}

func noDomain() *Error {
	return &Error{Kind: Permanent, NotFound: true, Text: "Domain does not exist"}
}

func temporary(qtype uint16, why string) *Error {
	return &Error{Kind: Temporary, Text: "Temporary failure in " + miekg.TypeToString[qtype] + " lookup: " + why}
}
