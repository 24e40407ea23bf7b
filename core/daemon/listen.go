package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/compat/netif"
	"github.com/godwit-mta/godwit/core/config"
)

// network is what the parent knows of the host's interfaces and names. Tests have one of
// their own.
type network struct {
	all   func() ([]netif.Address, error)
	find  func(all []netif.Address, name string) ([]netif.Address, error)
	host  func(ctx context.Context, name string) ([]netip.Addr, error)
	watch func(context.Context) (<-chan struct{}, error)
}

func hostNetwork() *network {
	return &network{all: netif.All, find: netif.Find, watch: netif.Watch,
		host: func(ctx context.Context, name string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		}}
}

// listenPlan is what the listeners of a configuration are, as the host is now.
type listenPlan struct {
	cfg        *config.Config
	want       []boundListener
	missing    []string // a line for what there is not yet
	shadowed   []string // a line for those that have no address of their own
	interfaces []netip.Addr
	zones      map[string]int // the number of each interface
	named      bool           // there are host names, whose addresses can change
}

// listenText is a line about a listener.
func listenText(l *config.Listener, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: listen on %s: ", l.Pos.File, l.Pos.Line, l.Interface) + fmt.Sprintf(format, args...)
}

// resolver turns what stands after "listen on" into addresses. It is used by one
// goroutine at a time.
type resolver struct {
	net   *network
	known map[string]knownHost
}

// knownHost is a host name that had addresses. They are kept while there is no answer, so
// that a failing name server closes no socket.
type knownHost struct {
	addrs []netip.Addr
	at    time.Time
}

const (
	hostWait = 5 * time.Second // for all host names together
	hostKept = time.Minute     // how long an answer is good, whatever else changes
)

func newResolver(n *network) *resolver { return &resolver{net: n, known: make(map[string]knownHost)} }

// plan finds out what to listen on. Where two lines name an address with the same port, the
// first one counts. With fresh every host name is asked for again.
func (r *resolver) plan(cfg *config.Config, fresh bool) (*listenPlan, error) {
	all, err := r.net.all()
	if err != nil {
		return nil, err
	}
	p := &listenPlan{cfg: cfg, zones: make(map[string]int)}
	for _, a := range all {
		p.zones[a.Interface] = a.Index
		p.interfaces = append(p.interfaces, a.Addr)
	}
	slices.SortFunc(p.interfaces, netip.Addr.Compare)
	found, hosts, failed := r.local(cfg, all)
	p.named = len(hosts) > 0
	for name, addrs := range r.resolve(hosts, fresh) {
		found[name] = addrs
	}
	taken := make(map[netip.AddrPort]bool)
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		before := len(p.want)
		usable := 0
		for _, a := range found[l.Interface] {
			if l.Family == "inet4" && !a.Is4() || l.Family == "inet6" && !a.Is6() {
				continue
			}
			usable++
			if addr := netip.AddrPortFrom(a, l.Port); !taken[addr] {
				taken[addr] = true
				p.want = append(p.want, boundListener{*l, addr})
			}
		}
		switch {
		case usable == 0 && isAddress(l.Interface):
			p.shadowed = append(p.shadowed, listenText(l, "no address of family %s", l.Family))
		case failed[l.Interface] != nil:
			p.missing = append(p.missing, listenText(l, "%v", failed[l.Interface]))
		case usable == 0:
			p.missing = append(p.missing, listenText(l, "%s", nothing(l, found, hosts)))
		case len(p.want) == before:
			p.shadowed = append(p.shadowed, listenText(l, "lines above have all its addresses with port %d already", l.Port))
		}
	}
	for _, b := range p.want { // then all loopback addresses are this host's, too: see mta.Config
		if a := b.Addr.Addr(); a.IsUnspecified() && !slices.Contains(p.interfaces, a) {
			p.interfaces = append(p.interfaces, a)
		}
	}
	slices.SortFunc(p.interfaces, netip.Addr.Compare)
	return p, nil
}

func isAddress(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil
}

// nothing says why a listener has no address.
func nothing(l *config.Listener, found map[string][]netip.Addr, hosts []string) string {
	switch {
	case len(found[l.Interface]) > 0:
		return "no address of family " + l.Family
	case slices.Contains(hosts, l.Interface):
		return "no such interface, group or host name"
	}
	return "no address"
}

// local gives the addresses of those listeners that are addresses, interfaces or groups,
// the names of the others, and those that the system failed to tell of.
func (r *resolver) local(cfg *config.Config, all []netif.Address) (found map[string][]netip.Addr, hosts []string, failed map[string]error) {
	found, failed = make(map[string][]netip.Addr), make(map[string]error)
	for _, l := range cfg.Listeners {
		name := l.Interface
		if _, done := found[name]; done || slices.Contains(hosts, name) {
			continue
		}
		if a, err := netip.ParseAddr(name); err == nil {
			found[name] = []netip.Addr{a.Unmap()}
			continue
		}
		list, err := r.net.find(all, name)
		if errors.Is(err, netif.ErrNotFound) {
			hosts = append(hosts, name)
			continue
		}
		if err != nil {
			failed[name] = err
			continue
		}
		found[name] = make([]netip.Addr, len(list))
		for i, a := range list {
			found[name][i] = a.Addr
		}
	}
	return found, hosts, failed
}

// resolve asks for host names, all at the same time.
func (r *resolver) resolve(hosts []string, fresh bool) map[string][]netip.Addr {
	ctx, cancel := context.WithTimeout(context.Background(), hostWait)
	defer cancel()
	answers := make([][]netip.Addr, len(hosts))
	var asked sync.WaitGroup
	for i, name := range hosts {
		if known, ok := r.known[name]; !ok || fresh || time.Since(known.at) > hostKept {
			asked.Go(func() { answers[i], _ = r.host(ctx, name) })
		}
	}
	asked.Wait()
	found := make(map[string][]netip.Addr, len(hosts))
	for i, name := range hosts {
		if len(answers[i]) > 0 {
			r.known[name] = knownHost{answers[i], time.Now()}
		}
		found[name] = r.known[name].addrs
	}
	return found
}

// mostHostAddrs is how many addresses of a host name are used.
const mostHostAddrs = 64

func (r *resolver) host(ctx context.Context, name string) ([]netip.Addr, error) {
	addrs, err := r.net.host(ctx, name)
	if err != nil {
		return nil, err
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	addrs = slices.Compact(addrs)
	return addrs[:min(len(addrs), mostHostAddrs)], nil
}
