package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/mta"
	"github.com/godwit-mta/godwit/core/table"
)

// mostSources is how many addresses a relay action sends from.
const mostSources = 1024

// What envelopes and logs say when a table fails: the words of OpenSMTPD, which log
// watchers look for.
const (
	noSource    = "Could not retrieve source address"
	noHelo      = "Failed to retrieve helo string"
	noSmarthost = "Cannot retrieve smarthost"
)

// routesAtATime is how many destinations of a message are looked up at the same time.
const routesAtATime = 16

// relayTables are the tables of a relay action.
type relayTables struct {
	*config.Relay
	turns   hostTurns
	sources sourceList
}

// prepareRelays gets the tables of the relay actions ready to be asked.
func (s *lookupSettings) prepareRelays() error {
	s.relays = make(map[string]*relayTables)
	if s.TLSPolicy != "" {
		if err := s.tables.Prepare(s.TLSPolicy, table.String); err != nil {
			return fmt.Errorf("mta tls-policy: %w", err)
		}
	}
	for i := range s.Actions {
		a := &s.Actions[i]
		if a.Method != config.RelayMethod {
			continue
		}
		s.relays[a.Name] = &relayTables{Relay: &a.Relay, sources: newSourceList()}
		for _, u := range relayUses(a) {
			if err := s.tables.Prepare(u.Table, u.Service); err != nil {
				return fmt.Errorf("%s:%d: action %q: %w", u.Pos.File, u.Pos.Line, a.Name, err)
			}
		}
	}
	return nil
}

// relayUses gives the tables that a relay action asks.
func relayUses(a *config.Action) []tableUse {
	r := &a.Relay
	return named([]tableUse{{a.Pos, "host", r.HostTable, table.RelayHost}, {a.Pos, "domain", r.DomainTable, table.RelayHost},
		{a.Pos, "auth", r.Auth, table.Credentials}, {a.Pos, "src", r.Src, table.Source}, {a.Pos, "helo-src", r.HeloSrc, table.AddrName}})
}

// validEntry says what is wrong with an entry of a table that relay actions use.
func validEntry(service table.Service, key, value string) error {
	switch service {
	case table.RelayHost:
		url := value
		if url == "" { // of a list
			url = key
		}
		if _, err := mta.ParseURL(url); err != nil {
			return fmt.Errorf("%w %q", err, url)
		}
	case table.Source:
		if _, err := parseSource(key); err != nil {
			return fmt.Errorf("invalid source address %q", key)
		}
	}
	return nil
}

func parseSource(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	return a.Unmap(), err
}

// route answers where a message of a relay action goes.
func (l *lookupRole) route(r *ipc.Request) {
	var req routeRequest
	l.answer(r, &req, func(ctx context.Context) any {
		cfg := l.cfg.get(req.Generation)
		reply := new(routeReply)
		relay := cfg.relays[req.Action]
		if relay == nil {
			reply.Error = fmt.Sprintf("no relay action %q in the configuration", req.Action)
			return reply
		}
		q := &routing{cfg.tables, relay}
		var err error
		if reply.Sources, err = q.sources(ctx, req.Local); err != nil {
			reply.Error = err.Error()
			return reply
		}
		reply.Routes = q.routes(ctx, &req)
		return reply
	})
}

// routing looks up where a message goes. Its errors are for the log and for the sender:
// they name tables and keys, never values.
type routing struct {
	tables *table.Set
	relay  *relayTables
}

// sources gives the addresses to connect from and the names that go with them. Without a
// list of sources these are the names of the addresses that the system may choose.
func (q *routing) sources(ctx context.Context, local []netip.Addr) ([]routeSource, error) {
	addrs := local
	if q.relay.Src != "" {
		list, err := q.relay.sources.get(ctx, q.tables, q.relay.Src)
		if err == nil && len(list) == 0 {
			err = errors.New("there is none")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: table <%s>: %w", noSource, q.relay.Src, err)
		}
		addrs = nil
		for _, s := range list {
			a, err := parseSource(s)
			if err != nil {
				return nil, fmt.Errorf("%s: table <%s>: an entry is no address", noSource, q.relay.Src)
			}
			addrs = append(addrs, a)
		}
	} else if q.relay.HeloSrc == "" {
		return nil, nil
	}
	sources := make([]routeSource, 0, len(addrs))
	for _, a := range addrs[:min(len(addrs), mostSources)] {
		name, err := q.helo(ctx, a)
		if err != nil {
			return nil, fmt.Errorf("%s: table <%s>: %w", noHelo, q.relay.HeloSrc, err)
		}
		if name != "" || q.relay.Src != "" {
			sources = append(sources, routeSource{Addr: a.Unmap().WithZone(""), Helo: name})
		}
	}
	return sources, nil
}

func (q *routing) helo(ctx context.Context, a netip.Addr) (string, error) {
	if q.relay.HeloSrc == "" {
		return "", nil
	}
	keys := []string{a.Unmap().WithZone("").String()}
	if a.Unmap().Is6() {
		keys = append([]string{"[" + keys[0] + "]"}, keys...)
	}
	name, _, err := q.first(ctx, q.relay.HeloSrc, table.AddrName, keys)
	return name, err
}

// first gives the value of the first key that the table has.
func (q *routing) first(ctx context.Context, name string, service table.Service, keys []string) (string, bool, error) {
	for _, k := range keys {
		if v, found, err := q.tables.Lookup(ctx, name, service, k); found || err != nil {
			return v, found, err
		}
	}
	return "", false, nil
}

// routes gives a route for each domain, or the one for all.
func (q *routing) routes(ctx context.Context, req *routeRequest) []route {
	if q.relay.DomainTable == "" {
		return []route{q.complete(ctx, func() (string, error) { return q.host(ctx, req) })}
	}
	routes := make([]route, len(req.Domains))
	var wg sync.WaitGroup
	slots := make(chan struct{}, routesAtATime)
	for i, d := range req.Domains {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() {
				<-slots
				if e := recover(); e != nil { // it would end the process
					routes[i] = route{Error: "Cannot retrieve smarthost: internal error"}
				}
			}()
			routes[i] = q.complete(ctx, func() (string, error) { return q.domain(ctx, d) })
		})
	}
	wg.Wait()
	return routes
}

// host gives the next URL of a list, another one than the message was tried with before.
func (q *routing) host(ctx context.Context, req *routeRequest) (string, error) {
	if q.relay.HostTable == "" {
		return q.relay.Host, nil
	}
	url, found, err := q.next(ctx, req)
	if err == nil && !found {
		err = errors.New("it is empty")
	}
	if err != nil {
		return "", fmt.Errorf("%s: table <%s>: %w", noSmarthost, q.relay.HostTable, err)
	}
	q.relay.turns.note(turn{req.Message, req.Retry}, url)
	return url, nil
}

// mostHosts is how many entries of a list are looked at for one that takes mail.
const mostHosts = 64

// next gives the next URL of a list that is not to be avoided nor was tried the last time: the
// one to probe, if it is in the list. If there is none it gives another.
func (q *routing) next(ctx context.Context, req *routeRequest) (url string, found bool, err error) {
	last := ""
	if req.Retry > 0 {
		last = q.relay.turns.get(turn{req.Message, req.Retry - 1})
	}
	tries, best, worth := 2, "", 0
	if len(req.Avoid) > 0 || req.Probe != "" {
		tries = mostHosts
	}
	for range tries {
		url, found, err := q.tables.Fetch(ctx, q.relay.HostTable, table.RelayHost)
		if err != nil || !found {
			return url, found, err
		}
		if n := valueOf(url, last, req); n > worth {
			best, worth = url, n
		}
		if worth == 4 || worth == 3 && req.Probe == "" {
			break
		}
	}
	return best, true, nil
}

// valueOf says how much a host of a list is worth trying.
func valueOf(url, last string, req *routeRequest) int {
	name := url
	if u, err := mta.ParseURL(url); err == nil {
		name = u.String()
	}
	switch {
	case name == req.Probe && req.Probe != "":
		return 4
	case slices.Contains(req.Avoid, name):
		return 1
	case url == last:
		return 2
	}
	return 3
}

// domain gives the URL for a domain: that of the domain, of a wildcard for a domain above
// it, the nearest first, or the catch-all.
func (q *routing) domain(ctx context.Context, domain string) (string, error) {
	url, found, err := q.first(ctx, q.relay.DomainTable, table.RelayHost, relayKeys(domain))
	if err == nil && !found {
		err = fmt.Errorf("it has nothing for %s", domain)
	}
	if err != nil {
		return "", fmt.Errorf("%s: table <%s>: %w", noSmarthost, q.relay.DomainTable, err)
	}
	return url, nil
}

func relayKeys(domain string) []string {
	domain = strings.ToLower(domain)
	keys := []string{domain}
	for rest := domain; !strings.HasPrefix(domain, "["); {
		_, above, ok := strings.Cut(rest, ".")
		if !ok {
			break
		}
		keys = append(keys, "*."+above)
		rest = above
	}
	return append(keys, "*", "@")
}

// complete reads the URL that find gives and adds its credentials.
func (q *routing) complete(ctx context.Context, find func() (string, error)) route {
	text, err := find()
	if err != nil {
		return route{Error: err.Error()}
	}
	r := route{URL: text}
	if text == "" {
		return r
	}
	u, err := mta.ParseURL(text)
	if err != nil {
		return route{Error: fmt.Sprintf("Cannot retrieve smarthost: table <%s>: %v", q.relay.HostTable+q.relay.DomainTable, err)}
	}
	key := u.Key()
	if key == "" {
		return r
	}
	if r.User, r.Password, err = q.credentials(ctx, key); err != nil {
		return route{Error: err.Error()}
	}
	r.Auth = true
	return r
}

// credentials gives what stands in USER:PASSWORD.
func (q *routing) credentials(ctx context.Context, key string) (user, password string, err error) {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("Could not retrieve credentials: "+format, args...)
	}
	if q.relay.Auth == "" {
		return "", "", fail("the action has no \"auth\" for %s", key)
	}
	value, found, err := q.tables.Lookup(ctx, q.relay.Auth, table.Credentials, key)
	if err != nil {
		return "", "", fail("table <%s>: %w", q.relay.Auth, err)
	}
	if !found {
		return "", "", fail("table <%s> has nothing for %s", q.relay.Auth, key)
	}
	user, password, ok := strings.Cut(value, ":")
	if !ok || user == "" || strings.Contains(value, "\x00") {
		return "", "", fail("table <%s>: what it has for %s is not USER:PASSWORD", q.relay.Auth, key)
	}
	return user, password, nil
}

// turn is an attempt of a message.
type turn struct {
	message envelope.MessageID
	retry   int
}

// hostTurns remembers which URL of a list messages were tried with lately.
type hostTurns struct {
	mu       sync.Mutex
	now, old map[turn]string
}

// mostTurns bounds what is remembered. It is twice that at most.
const mostTurns = 10000

func (h *hostTurns) get(t turn) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if url, ok := h.now[t]; ok {
		return url
	}
	return h.old[t]
}

func (h *hostTurns) note(t turn, url string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.now) >= mostTurns {
		h.now, h.old = nil, h.now
	}
	if h.now == nil {
		h.now = make(map[turn]string)
	}
	h.now[t] = url
}
