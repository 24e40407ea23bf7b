package dns

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	miekg "github.com/miekg/dns"
)

// Bounds on the records about one server.
const (
	maxTLSA     = 64
	maxTLSAData = 8 << 10 // octets of one record; a longer one could only be a certificate
)

// TLSARecord is a TLSA record (RFC 6698 section 2.1).
type TLSARecord struct {
	Usage, Selector, Matching uint8
	Data                      []byte
}

// TLSA is what the DNS says about the certificate of a server, if that can be believed.
type TLSA struct {
	Records []TLSARecord // none: the server has no valid ones
	Base    string       // the name below which Records were found
	Owner   string       // the name that the server's name is an alias of, or itself; "" if not validated
	Reason  string       // why there are no records
}

// LookupTLSA gives the validated TLSA records of a server. An error means that it is not known
// whether there are any: then the server must not be used (RFC 7672 section 2.1.2).
func (r *Resolver) LookupTLSA(ctx context.Context, host string, port uint16) (TLSA, error) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" { // its address is not from the DNS, see LookupHost
		return TLSA{Reason: "localhost has no TLSA records"}, nil
	}
	bases, owner, err := r.tlsaBases(ctx, host)
	if err != nil {
		return TLSA{}, tlsaError(host, err)
	}
	t := TLSA{Owner: owner, Reason: "address of " + host + " is not validated"}
	for _, base := range bases {
		f := r.query(ctx, fmt.Sprintf("_%d._tcp.%s", port, base), miekg.TypeTLSA)
		if f.err != nil && !f.err.NotFound {
			return TLSA{}, tlsaError(host, f.err)
		}
		if t.Reason = "no TLSA records of " + host; len(f.rrs) > 0 && !f.secure {
			t.Reason = "TLSA records of " + host + " are not validated"
		}
		if f.secure {
			t.Records = tlsaRecords(f.rrs)
		}
		if len(t.Records) > 0 {
			t.Base, t.Reason = base, ""
			break
		}
	}
	return t, nil
}

func tlsaError(host string, e *Error) *Error {
	return &Error{Kind: Temporary, Text: "TLSA records of " + host + ": " + e.Text}
}

// tlsaBases gives the names below which TLSA records are looked for, in that order. There are
// none if the address of the host was not validated (RFC 7672 section 2.1.3: servers of
// domains without signatures may not answer such questions rightly).
func (r *Resolver) tlsaBases(ctx context.Context, host string) (bases []string, owner string, err *Error) {
	var addrs found
	var failed *Error
	for _, qtype := range []uint16{miekg.TypeA, miekg.TypeAAAA} {
		f := r.query(ctx, host, qtype)
		if f.err != nil && !f.err.NotFound {
			failed = f.err
		}
		// Both families are of one zone. One of which there is nothing decides only when the
		// other has nothing either.
		if addrs.owner == "" || len(f.rrs) > 0 && (len(addrs.rrs) == 0 || !f.secure) {
			addrs = f
		}
	}
	switch {
	case len(addrs.rrs) == 0:
		return nil, "", failed
	case addrs.secure && addrs.owner != host: // https://www.rfc-editor.org/rfc/rfc7672#section-2.2.3
		return []string{addrs.owner, host}, addrs.owner, nil
	case addrs.secure:
		return []string{host}, host, nil
	case addrs.owner == host:
		return nil, "", nil
	}
	// It may be the alias alone that is in a signed zone.
	f := r.query(ctx, host, miekg.TypeCNAME)
	switch {
	case f.err != nil && !f.err.NotFound:
		return nil, "", f.err
	case f.err != nil || !f.secure:
		return nil, "", nil
	}
	return []string{host}, "", nil
}

func tlsaRecords(rrs []miekg.RR) (out []TLSARecord) {
	for _, rr := range rrs {
		t, ok := rr.(*miekg.TLSA)
		if !ok || len(out) == maxTLSA {
			continue
		}
		data, err := hex.DecodeString(t.Certificate)
		if err != nil || len(data) > maxTLSAData {
			data = nil // the record cannot be used, but that it is there counts
		}
		out = append(out, TLSARecord{t.Usage, t.Selector, t.MatchingType, data})
	}
	return out
}
