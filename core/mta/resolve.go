package mta

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
)

// resolveTime bounds the look-ups for one destination.
const resolveTime = 2 * time.Minute

// resolve looks the destination up in the background. The caller holds the lock.
func (m *MTA) resolve(r *relay) {
	r.resolving = true
	opts, limits := r.opts, r.limits
	m.wg.Go(func() {
		ctx, cancel := context.WithTimeout(m.ctx, resolveTime)
		defer cancel()
		targets, failure := m.targets(ctx, opts, r.domain, &limits)
		m.mu.Lock()
		defer m.mu.Unlock()
		r.resolving = false
		if m.stopping {
			return
		}
		if failure.status != 0 {
			m.cfg.Log.Infof("smtp-out: Failed to resolve MX for %s: %s", opts.describe(r.domain), failure.text)
			m.failAll(r, failure)
			return
		}
		r.targets, r.resolved, r.lastFate = targets, time.Now(), fate{}
		clear(r.failed)
		clear(r.apart)
		m.dispatch(r)
	})
}

// targets gives the servers for a relay in the order of trying, or why there are none.
func (m *MTA) targets(ctx context.Context, opts *Relay, domain string, l *Limits) ([]target, fate) {
	list, f := m.servers(ctx, opts, domain)
	if f.status != 0 {
		return nil, f
	}
	targets := order(list, l.Family, m.prefers(l))
	switch {
	case len(targets) > 0:
		return targets, fate{}
	case len(order(list, "", "")) > 0:
		return nil, unreachable("Address family mismatch on destination MXs")
	default:
		return nil, unreachable("No MX found for destination")
	}
}

// prefers gives the family of addresses that comes first: the one that the configuration says, or
// IPv6 where this host has an address of it that others can answer to.
func (m *MTA) prefers(l *Limits) string {
	if l.Prefer != "" {
		return l.Prefer
	}
	if m.cfg.LocalAddrs != nil {
		for _, a := range m.cfg.LocalAddrs() {
			if a = a.Unmap(); a.Is6() && a.IsGlobalUnicast() && !a.IsPrivate() {
				return "inet6"
			}
		}
	}
	return "inet4"
}

func (m *MTA) servers(ctx context.Context, opts *Relay, domain string) ([]MXHost, fate) {
	if opts.URL.Host != "" {
		addrs, err := m.addresses(ctx, opts.URL.Host)
		f := lookupFate(err)
		if f.status == envelope.PermFail {
			// The name of the configured host says nothing about the recipients: it is mended.
			f.status, f.class, f.code = envelope.TempFail, 4, 403
		}
		return []MXHost{{Name: opts.URL.Host, Addrs: addrs, Secure: true}}, f
	}
	if ip, ok := address.Literal(domain); ok {
		return m.withoutUs(opts, m.somewhere(domain, []MXHost{{Name: ip.String(), Addrs: []netip.Addr{ip}}}))
	}
	list, err := m.cfg.Resolver.MX(ctx, domain)
	if err != nil {
		return nil, lookupFate(err)
	}
	return m.withoutUs(opts, m.somewhere(domain, list))
}

// somewhere leaves out addresses that no server can have.
func (m *MTA) somewhere(domain string, list []MXHost) []MXHost {
	if !slices.ContainsFunc(list, func(h MXHost) bool { return slices.ContainsFunc(h.Addrs, nowhere) }) {
		return list
	}
	list = slices.Clone(list)
	for i := range list {
		h := &list[i]
		m.cfg.Log.Infof("smtp-out: Address of a mail exchanger of %s is none of a server: %v", domain, h.Addrs)
		h.Addrs = slices.DeleteFunc(slices.Clone(h.Addrs), nowhere)
	}
	return list
}

func (m *MTA) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	return m.cfg.Resolver.Host(ctx, host)
}

// lookupFate gives the fate of recipients whose destination could not be looked up.
func lookupFate(err error) fate {
	if err == nil {
		return fate{}
	}
	f := fate{status: envelope.TempFail, text: limitText(clean(err.Error())), class: 4, code: 403} // 4.4.3 directory server failure
	var e interface{ Temporary() bool }
	if errors.As(err, &e) && !e.Temporary() {
		f.status, f.class, f.code = envelope.PermFail, 5, 102 // 5.1.2 bad destination system
		var known interface{ Exists() bool }
		if errors.As(err, &known) && known.Exists() {
			f.code = 110 // https://www.rfc-editor.org/rfc/rfc7505#section-4.2
		}
	}
	return f
}

// withoutUs leaves out the exchangers that are not better than this host, if it is one of
// them (RFC 5321 section 5.1). When none is left the mail has nowhere to go but here, where
// it came from.
func (m *MTA) withoutUs(opts *Relay, list []MXHost) ([]MXHost, fate) {
	name := m.cfg.Hostname
	if opts.Backup && opts.BackupMX != "" {
		name = opts.BackupMX
	}
	var local []netip.Addr
	if m.cfg.LocalAddrs != nil {
		local = m.cfg.LocalAddrs()
	}
	best, found := uint16(0), false
	for _, h := range list {
		if isUs(h, name, local) && (!found || h.Preference < best) {
			best, found = h.Preference, true
		}
	}
	if !found {
		if opts.Backup {
			m.cfg.Log.Warnf("backup: %s is not a mail exchanger of the domain", name)
		}
		return list, fate{}
	}
	better := slices.DeleteFunc(slices.Clone(list), func(h MXHost) bool { return h.Preference >= best })
	if len(better) == 0 {
		return nil, fate{status: envelope.Loop, text: "Mail for this domain loops back to this host", class: 5, code: 406}
	}
	return better, fate{}
}

func isUs(h MXHost, name string, local []netip.Addr) bool {
	if name != "" && strings.EqualFold(strings.TrimSuffix(h.Name, "."), name) {
		return true
	}
	for _, a := range h.Addrs {
		a = a.Unmap().WithZone("")
		if a.IsUnspecified() { // the system takes it for itself
			return true
		}
		for _, l := range local {
			if a == l.Unmap().WithZone("") || l.IsUnspecified() && a.IsLoopback() {
				return true
			}
		}
	}
	return false
}

// nowhere reports whether no server can have an address. The unspecified one leads to us.
func nowhere(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsMulticast() || a.Is4() && a.As4()[0] >= 240 || a.Is4() && a.As4()[0] == 0 && !a.IsUnspecified()
}
