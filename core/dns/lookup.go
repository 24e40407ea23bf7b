package dns

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"

	miekg "github.com/miekg/dns"

	"github.com/godwit-mta/godwit/core/address"
)

// MX is a mail exchanger of a domain. Addrs is empty when its name could not be resolved;
// it is still listed, because its preference can matter (RFC 5321 section 5.1).
type MX struct {
	Host       string // lower case, without the final dot
	Preference uint16
	Addrs      []netip.Addr
	Secure     bool // that it is one was validated; about its addresses this says nothing
}

// LookupMX gives the mail exchangers of a domain in the order of their preference, the
// domain itself when it has none (RFC 5321 section 5.1). It is a permanent error when the
// domain does not exist or does not accept mail, a temporary one when no exchanger has an
// address or the servers do not answer.
func (r *Resolver) LookupMX(ctx context.Context, domain string) ([]MX, error) {
	f := r.query(ctx, domain, miekg.TypeMX)
	if f.err != nil && !(f.err.NotFound && f.err.Kind == Temporary) {
		return nil, f.err
	}
	list, null := exchangers(f.rrs)
	if null && len(list) == 0 {
		// https://www.rfc-editor.org/rfc/rfc7505#section-3, and MX localhost, which is
		// how domains said the same before.
		return nil, &Error{Kind: Permanent, Text: "Domain does not accept mail"}
	}
	if len(list) == 0 && len(f.rrs) > 0 { // https://www.rfc-editor.org/rfc/rfc5321#section-5.1
		return nil, &Error{Kind: Temporary, Text: "No MX of the domain has a name of a host"}
	}
	if len(list) == 0 {
		list = []MX{{Host: strings.ToLower(strings.TrimSuffix(domain, "."))}}
	}
	for i := range list {
		list[i].Secure = f.secure
	}
	if failed := r.resolveAll(ctx, list); failed != nil {
		return nil, failed
	}
	return list, nil
}

// exchangers picks the usable records, and says whether one refuses mail.
func exchangers(rrs []miekg.RR) (list []MX, null bool) {
	for _, rr := range rrs {
		mx, ok := rr.(*miekg.MX)
		if !ok {
			continue
		}
		host := strings.ToLower(strings.TrimSuffix(mx.Mx, "."))
		switch {
		case host == "" || host == "localhost":
			null = true
		case address.ValidHost(host):
			list = append(list, MX{Host: host, Preference: mx.Preference})
		}
	}
	slices.SortStableFunc(list, func(a, b MX) int { return cmp.Compare(a.Preference, b.Preference) })
	return list[:min(len(list), maxMX)], null
}

// resolveAll fills in the addresses. It fails when there is not one.
func (r *Resolver) resolveAll(ctx context.Context, list []MX) error {
	var wg sync.WaitGroup
	slots := make(chan struct{}, mxParallel)
	errs := make([]error, len(list))
	for i := range list {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			list[i].Addrs, errs[i] = r.LookupHost(ctx, list[i].Host, AnyFamily)
		})
	}
	wg.Wait()
	var failed error
	for i := range list {
		if len(list[i].Addrs) > 0 {
			return nil
		}
		if e, ok := errs[i].(*Error); ok && !e.NotFound {
			failed = e
		}
	}
	if failed == nil {
		failed = &Error{Kind: Temporary, NotFound: true, Text: "No MX found for domain"}
	}
	return failed
}

// LookupHost gives the addresses of a host, at least one when err is nil. The hosts file
// is asked first. An address as the name is its own answer.
func (r *Resolver) LookupHost(ctx context.Context, name string, family Family) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(name); err == nil {
		return pick([]netip.Addr{ip.Unmap()}, family)
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if addrs := r.hosts.addrs(name); len(addrs) > 0 {
		return pick(addrs, family)
	}
	if name == "localhost" { // https://www.rfc-editor.org/rfc/rfc6761#section-6.3
		return pick([]netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, family)
	}
	types := [2]uint16{miekg.TypeA, miekg.TypeAAAA}
	if r.conf.load(r.log).ipv6First {
		types = [2]uint16{miekg.TypeAAAA, miekg.TypeA}
	}
	var found [2][]netip.Addr
	var errs [2]*Error
	var wg sync.WaitGroup
	for i, t := range types {
		if family == IPv4 && t != miekg.TypeA || family == IPv6 && t != miekg.TypeAAAA {
			continue
		}
		wg.Go(func() { found[i], errs[i] = r.addrs(ctx, name, t) })
	}
	wg.Wait()
	if addrs := append(found[0], found[1]...); len(addrs) > 0 {
		return addrs[:min(len(addrs), maxAddrs)], nil
	}
	return nil, worst(errs)
}

// worst gives the error that leaves most room for hope: the name may yet have the address
// whose look-up failed.
func worst(errs [2]*Error) error {
	var out *Error
	for _, e := range errs {
		if e != nil && (out == nil || out.NotFound && !e.NotFound || out.Kind == Permanent && e.Kind == Temporary) {
			out = e
		}
	}
	if out == nil {
		out = noAddress()
	}
	return out
}

func noAddress() *Error {
	return &Error{Kind: Temporary, NotFound: true, Text: "No address found for host"}
}

func (r *Resolver) addrs(ctx context.Context, name string, qtype uint16) ([]netip.Addr, *Error) {
	f := r.query(ctx, name, qtype)
	if f.err != nil {
		return nil, f.err
	}
	var out []netip.Addr
	for _, rr := range f.rrs {
		if len(out) == maxAddrs/2 { // room for the other family
			break
		}
		switch rr := rr.(type) {
		case *miekg.A:
			if ip, ok := netip.AddrFromSlice(rr.A); ok {
				out = append(out, ip.Unmap())
			}
		case *miekg.AAAA:
			if ip, ok := netip.AddrFromSlice(rr.AAAA); ok {
				out = append(out, ip.Unmap())
			}
		}
	}
	return out, nil
}

func pick(addrs []netip.Addr, family Family) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, a := range addrs {
		if family == AnyFamily || (family == IPv4) == a.Is4() {
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil, noAddress()
	}
	return out, nil
}

// PTR is the name of an address. Confirmed says that the name has that address, too
// (FCrDNS): only then does it say anything about who uses the address.
type PTR struct {
	Name      string // lower case, without the final dot
	Confirmed bool
}

// LookupPTR gives the name of an address: the first that is confirmed, else the first.
// An error without NotFound means that it is not known whether there is a name. A name
// whose confirmation could not be had for a temporary reason is such an error, too.
func (r *Resolver) LookupPTR(ctx context.Context, addr netip.Addr) (PTR, error) {
	addr = addr.Unmap().WithZone("")
	if name := r.hosts.name(addr); name != "" {
		return PTR{name, true}, nil
	}
	reverse, e := miekg.ReverseAddr(addr.String())
	if e != nil {
		return PTR{}, noDomain()
	}
	f := r.query(ctx, reverse, miekg.TypePTR)
	if f.err != nil {
		return PTR{}, f.err
	}
	family := IPv6
	if addr.Is4() {
		family = IPv4
	}
	return r.confirm(ctx, addr, family, ptrNames(f.rrs))
}

func ptrNames(rrs []miekg.RR) (names []string) {
	for _, rr := range rrs {
		p, ok := rr.(*miekg.PTR)
		if !ok || len(names) == maxPTR {
			continue
		}
		// Whoever owns the address writes the name: only a plain host name is let in.
		if name := strings.ToLower(strings.TrimSuffix(p.Ptr, ".")); address.ValidHost(name) {
			names = append(names, name)
		}
	}
	return names
}

func (r *Resolver) confirm(ctx context.Context, addr netip.Addr, family Family, names []string) (PTR, error) {
	if len(names) == 0 {
		return PTR{}, noDomain()
	}
	var unsure error
	for _, name := range names {
		addrs, err := r.LookupHost(ctx, name, family)
		if slices.Contains(addrs, addr) {
			return PTR{name, true}, nil
		}
		if e, ok := err.(*Error); ok && !e.NotFound {
			unsure = e
		}
	}
	return PTR{Name: names[0]}, unsure
}
