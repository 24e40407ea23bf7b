package filterkit

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/dns"
)

// DNS resolves names. It is safe for use by several goroutines, asks once when many want to know,
// and keeps answers for as long as they allow. Its errors are of type *dns.Error: it says
// whether asking again later can help.
type DNS struct {
	resolver *dns.Resolver
	timeout  time.Duration
	places   chan struct{} // one for each look-up
}

// maxLookups bounds the look-ups at once.
const maxLookups = 1024

// NewDNS gives a DNS whose look-ups take no longer than timeout; 0 is 5 seconds. It asks the servers
// that are named, or those of resolv.conf(5).
func NewDNS(timeout time.Duration, servers ...netip.AddrPort) *DNS {
	if timeout <= 0 {
		timeout = 5 * time.Second
	}
	o := dns.Options{ResolvConf: "/etc/resolv.conf", Hosts: "/etc/hosts", Servers: servers, Timeout: min(timeout, 2*time.Second)}
	return &DNS{resolver: dns.New(o), timeout: timeout, places: make(chan struct{}, maxLookups)}
}

// within has look done in its time, in a place of its own.
func within[T any](ctx context.Context, d *DNS, look func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	select {
	case d.places <- struct{}{}:
		defer func() { <-d.places }()
		return look(ctx)
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// TXT gives the text records of a name, the strings of each joined.
func (d *DNS) TXT(ctx context.Context, name string) ([]string, error) {
	return within(ctx, d, func(ctx context.Context) ([]string, error) { return d.resolver.LookupTXT(ctx, name) })
}

// Host gives the addresses of a name, IPv4 and IPv6.
func (d *DNS) Host(ctx context.Context, name string) ([]netip.Addr, error) {
	return within(ctx, d, func(ctx context.Context) ([]netip.Addr, error) {
		return d.resolver.LookupHost(ctx, name, dns.AnyFamily)
	})
}

// PTR gives the name of an address, and whether the name has that address.
func (d *DNS) PTR(ctx context.Context, addr netip.Addr) (dns.PTR, error) {
	return within(ctx, d, func(ctx context.Context) (dns.PTR, error) { return d.resolver.LookupPTR(ctx, addr) })
}

// MX gives the mail exchangers of a domain in the order of their preference.
func (d *DNS) MX(ctx context.Context, domain string) ([]dns.MX, error) {
	return within(ctx, d, func(ctx context.Context) ([]dns.MX, error) { return d.resolver.LookupMX(ctx, domain) })
}

// Listing is what a list in the DNS says (RFC 5782). Codes has the addresses in 127.0.0.0/8 by
// which it tells why; without any the name or address is not listed.
type Listing struct {
	Codes  []netip.Addr
	Reason string // the list's text, if it has one
}

// Listed reports whether the list has it.
func (l Listing) Listed() bool { return len(l.Codes) > 0 }

var errList = errors.New("the list refuses to answer")

// ListedAddr asks a list of addresses, such as dnsbl.example.org.
func (d *DNS) ListedAddr(ctx context.Context, zone string, addr netip.Addr) (Listing, error) {
	name := reversed(addr)
	if name == "" {
		return Listing{}, nil
	}
	return d.listed(ctx, zone, name)
}

// ListedName asks a list of domains.
func (d *DNS) ListedName(ctx context.Context, zone, domain string) (Listing, error) {
	domain = strings.Trim(domain, ".")
	if domain == "" {
		return Listing{}, nil
	}
	return d.listed(ctx, zone, domain)
}

func (d *DNS) listed(ctx context.Context, zone, name string) (Listing, error) {
	name += "." + strings.Trim(zone, ".")
	addrs, err := within(ctx, d, func(ctx context.Context) ([]netip.Addr, error) {
		return d.resolver.LookupHost(ctx, name, dns.IPv4)
	})
	var missing *dns.Error
	if errors.As(err, &missing) && missing.NotFound {
		return Listing{}, nil
	}
	if err != nil {
		return Listing{}, err
	}
	var l Listing
	for _, a := range addrs {
		switch b := a.As4(); {
		case b[0] != 127: // a wildcard of somebody who answers for all names
		case b[1] == 255 && b[2] == 255: // how several lists say that they do not answer whoever asks
			return Listing{}, fmt.Errorf("%w: %s is %s", errList, name, a)
		default:
			l.Codes = append(l.Codes, a)
		}
	}
	if l.Listed() {
		if texts, err := d.TXT(ctx, name); err == nil && len(texts) > 0 {
			l.Reason = oneLine(texts[0])
		}
	}
	return l, nil
}

// reversed gives an address as the lists have it: the octets of IPv4 or the nibbles of IPv6 from the last to the
// first.
func reversed(addr netip.Addr) string {
	addr = addr.Unmap()
	if !addr.IsValid() {
		return ""
	}
	var labels []string
	bytes := addr.AsSlice()
	for i := len(bytes) - 1; i >= 0; i-- {
		if addr.Is4() {
			labels = append(labels, strconv.Itoa(int(bytes[i])))
			continue
		}
		labels = append(labels, fmt.Sprintf("%x", bytes[i]&15), fmt.Sprintf("%x", bytes[i]>>4))
	}
	return strings.Join(labels, ".")
}
