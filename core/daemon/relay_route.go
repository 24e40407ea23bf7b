package daemon

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/mta"
)

// relayAction is a relay action in the form in which it is used.
type relayAction struct {
	*mta.Relay
	asks    bool // its tables are in lookup
	listed  bool // it has a list of hosts
	domains bool // by domain
	sources bool // it sends from addresses of a table
	names   bool // it has names for its addresses
}

// newRelayAction tells what has to be asked for. Addresses written in smtpd.conf are known
// already when nothing else is.
func newRelayAction(r *mta.Relay, o *config.Relay) *relayAction {
	return &relayAction{Relay: r, listed: o.HostTable != "", domains: o.DomainTable != "", sources: o.Src != "", names: o.HeloSrc != "",
		asks: o.HostTable+o.DomainTable+o.Auth+o.HeloSrc+r.URL.Key() != "" || o.Src != "" && len(r.Sources) == 0}
}

// routeWait is a little longer than lookup tries, so that its own error is heard.
const routeWait = lookupWait + 5*time.Second

// route asks lookup where a message goes, once for all its recipients, and submits it to
// each place. Recipients in many domains with one relay stay together.
func (r *relayer) route(cfg *relaySettings, a *relayAction, t *relayTask) {
	first := t.Envelopes[0]
	req := routeRequest{Generation: cfg.generation, Action: t.Action, Message: first.ID.Message(), Retry: first.Retry}
	if a.domains {
		for _, e := range t.Envelopes {
			if !slices.Contains(req.Domains, e.Dest.Domain) {
				req.Domains = append(req.Domains, e.Dest.Domain)
			}
		}
	}
	if a.names && !a.sources {
		req.Local = cfg.local[:min(len(cfg.local), mostSources)]
	}
	if a.listed {
		req.Avoid, req.Probe = r.mta.Ailing(a.Name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), routeWait)
	defer cancel()
	var reply routeReply
	err := r.d.m.peers[Lookup].Call(ctx, kindRoute, &req, &reply)
	switch {
	case err != nil:
		r.refuse(a.Relay, t, "lookup: "+err.Error())
		return
	case reply.Error != "":
		r.refuse(a.Relay, t, reply.Error)
		return
	case len(reply.Routes) != max(1, len(req.Domains)):
		r.refuse(a.Relay, t, "lookup: no route")
		return
	}
	for _, group := range groupRoutes(t.Envelopes, req.Domains, reply.Routes) {
		part := *t
		part.Envelopes = group.envelopes
		opts, why := a.routed(&group.route, reply.Sources)
		if why != "" {
			r.refuse(a.Relay, &part, why)
			continue
		}
		if a.listed {
			opts.Elsewhere = func(ctx context.Context) (*mta.Relay, bool) { return r.elsewhere(ctx, cfg, a) }
		}
		r.submit(cfg, opts, &part)
	}
}

// elsewhere gives the options for another host of the list of an action, when those that are known
// not to take mail are left out.
func (r *relayer) elsewhere(ctx context.Context, cfg *relaySettings, a *relayAction) (*mta.Relay, bool) {
	ctx, cancel := context.WithTimeout(ctx, routeWait)
	defer cancel()
	req := routeRequest{Generation: cfg.generation, Action: a.Name}
	req.Avoid, req.Probe = r.mta.Ailing(a.Name)
	if a.names && !a.sources {
		req.Local = cfg.local[:min(len(cfg.local), mostSources)]
	}
	var reply routeReply
	if err := r.d.m.peers[Lookup].Call(ctx, kindRoute, &req, &reply); err != nil || reply.Error != "" || len(reply.Routes) != 1 {
		return nil, false // the mail waits for another attempt, which tells why
	}
	opts, why := a.routed(&reply.Routes[0], reply.Sources)
	if why != "" || slices.Contains(req.Avoid, opts.URL.String()) {
		return nil, false
	}
	opts.Elsewhere = func(ctx context.Context) (*mta.Relay, bool) { return r.elsewhere(ctx, cfg, a) }
	return opts, true
}

// routeGroup is what goes to one place.
type routeGroup struct {
	route     route
	envelopes []*envelope.Envelope
}

// groupRoutes divides envelopes by their routes, in the order of the envelopes.
func groupRoutes(envs []*envelope.Envelope, domains []string, routes []route) []*routeGroup {
	if len(domains) == 0 {
		return []*routeGroup{{routes[0], envs}}
	}
	byDomain := make(map[string]*route, len(domains))
	for i, d := range domains {
		byDomain[d] = &routes[i]
	}
	var groups []*routeGroup
	byRoute := make(map[route]*routeGroup)
	for _, e := range envs {
		r := *byDomain[e.Dest.Domain]
		g := byRoute[r]
		if g == nil {
			g = &routeGroup{route: r}
			byRoute[r] = g
			groups = append(groups, g)
		}
		g.envelopes = append(g.envelopes, e)
	}
	return groups
}

// routed gives the options of the action with those of a route, or why there are none.
func (a *relayAction) routed(r *route, sources []routeSource) (*mta.Relay, string) {
	if r.Error != "" {
		return nil, r.Error
	}
	opts := *a.Relay
	if r.URL != "" {
		u, err := mta.ParseURL(r.URL)
		if err != nil {
			return nil, noSmarthost + ": " + err.Error()
		}
		opts.URL = u
	}
	if r.Auth {
		opts.Auth = &mta.Credentials{User: r.User, Password: r.Password}
	}
	if len(sources) == 0 {
		return &opts, ""
	}
	opts.Sources, opts.HeloBySource = nil, make(map[netip.Addr]string)
	for _, s := range sources {
		if a.sources {
			opts.Sources = append(opts.Sources, s.Addr)
		}
		if s.Helo != "" {
			opts.HeloBySource[s.Addr] = strings.TrimSuffix(s.Helo, ".")
		}
	}
	return &opts, ""
}
