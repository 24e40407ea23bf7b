package dns

import (
	"net/netip"
	"slices"
)

// Trust says whose word counts that an answer was validated. The zero value trusts nobody.
type Trust struct {
	On bool
	// Addrs are the name servers that validate, and to which nobody can get in between.
	// Without any they are those on this host's loopback addresses.
	Addrs []netip.Addr
}

func (t *Trust) covers(a netip.Addr) bool {
	a = a.Unmap()
	if len(t.Addrs) == 0 {
		return a.IsLoopback()
	}
	return slices.ContainsFunc(t.Addrs, func(b netip.Addr) bool { return b.Unmap() == a })
}

// Trust sets whom to trust from now on.
func (r *Resolver) Trust(t Trust) {
	if old := r.trust.Swap(&t); old == nil || old.On != t.On || !slices.Equal(old.Addrs, t.Addrs) {
		r.cache.clear()
	}
}

// servers gives those to ask, and whether they are trusted. When some are, the others are
// not asked: who can disturb the former must not get by with answers of the latter.
func (r *Resolver) servers(conf *resolvConf) ([]netip.AddrPort, bool) {
	t := r.trust.Load()
	if t == nil || !t.On {
		return conf.servers, false
	}
	var trusted []netip.AddrPort
	for _, s := range conf.servers {
		if t.covers(s.Addr()) {
			trusted = append(trusted, s)
		}
	}
	if len(trusted) == 0 {
		if r.distrusted.Swap(conf) != conf {
			r.log.Warnf("dns: none of the name servers is trusted to validate, such as %s: nothing counts as validated",
				conf.servers[0].Addr())
		}
		return conf.servers, false
	}
	return trusted, true
}
