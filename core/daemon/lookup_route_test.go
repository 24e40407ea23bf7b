package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/mta"
	"github.com/godwit-mta/godwit/core/table"
)

// asked is a table that has to be asked each time, as a program has.
type asked struct {
	mu     sync.Mutex
	values map[string]string
	list   []string
	next   int
	wait   chan struct{} // what a look-up waits for
}

func (a *asked) Lookup(ctx context.Context, _ table.Service, key string) (string, bool, error) {
	select {
	case <-a.wait:
	case <-ctx.Done():
		return "", false, ctx.Err()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if key == "panic.example" {
		panic("bad key")
	}
	v, ok := a.values[key]
	return v, ok, nil
}

func (a *asked) Fetch(context.Context, table.Service) (string, bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.list) == 0 {
		return "", false, nil
	}
	a.next++
	return a.list[a.next%len(a.list)], true, nil
}

func (a *asked) Match(context.Context, table.Service, string) (bool, error) { return false, nil }
func (a *asked) Prepare(table.Service) error                                { return nil }
func (a *asked) Reload(context.Context) error                               { return nil }

func newAsked() *asked {
	a := &asked{values: map[string]string{}, wait: make(chan struct{})}
	close(a.wait)
	return a
}

func routingWith(t *testing.T, r config.Relay, tables map[string]*asked) *routing {
	t.Helper()
	s := &lookupSettings{lookupConfig: lookupConfig{Actions: []config.Action{{Name: "a", Method: config.RelayMethod, Relay: r}}}}
	var declared []config.Table
	for name := range tables {
		declared = append(declared, config.Table{Name: name, Backend: "p"})
	}
	var err error
	s.tables, err = table.NewSet(declared, table.Sources{Open: func(d config.Table) (table.Table, error) { return tables[d.Name], nil }})
	if err == nil {
		err = s.prepareRelays()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &routing{s.tables, s.relays["a"]}
}

// Whoever asks a program at the same time gets all of its source addresses.
func TestSourcesOfAProgram(t *testing.T) {
	src := newAsked()
	src.list = []string{"192.0.2.3", "192.0.2.1", "[2001:db8::2]"}
	q := routingWith(t, config.Relay{Src: "s"}, map[string]*asked{"s": src})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			got, err := q.sources(t.Context(), nil)
			if text := fmt.Sprint(got); err != nil || text != "[{192.0.2.1 } {192.0.2.3 } {2001:db8::2 }]" {
				t.Errorf("%s, %v", text, err)
			}
		})
	}
	wg.Wait()
	src.mu.Lock()
	src.list = []string{"192.0.2.9"}
	src.mu.Unlock()
	(&lookupSettings{relays: map[string]*relayTables{"a": q.relay}}).forgetSources()
	if got, err := q.sources(t.Context(), nil); err != nil || len(got) != 1 || got[0].Addr != netip.MustParseAddr("192.0.2.9") {
		t.Errorf("after an update: %v, %v", got, err)
	}
}

// What a program says is not trusted, and nothing of it gets into an error.
func TestRoutesOfAProgram(t *testing.T) {
	domains, secrets := newAsked(), newAsked()
	domains.values = map[string]string{"good.example": "smtps://l@h.example", "bad.example": "smtps://secret value@h", "nocolon.example": "smtps://n@h.example",
		"none.example": "tls+auth://h.example", "old.example": "secure+auth://Old.example", "*.wild.example": "lmtp://h.example:24", "*": "smtp://all.example"}
	secrets.values = map[string]string{"l": "joe:a:b", "n": "secret", "old.example": "joe:x"}
	q := routingWith(t, config.Relay{DomainTable: "d", Auth: "s"}, map[string]*asked{"d": domains, "s": secrets})
	tests := []struct {
		domain, url, user, password, err string
	}{
		{"good.example", "smtps://l@h.example", "joe", "a:b", ""},
		{"bad.example", "", "", "", "Cannot retrieve smarthost: table <d>: invalid relay URL"},
		{"nocolon.example", "", "", "", "Could not retrieve credentials: table <s>: what it has for n is not USER:PASSWORD"},
		{"none.example", "", "", "", "Could not retrieve credentials: table <s> has nothing for h.example"},
		{"OLD.example", "secure+auth://Old.example", "joe", "x", ""},
		{"a.b.wild.example", "lmtp://h.example:24", "", "", ""},
		{"wild.example", "smtp://all.example", "", "", ""},
		{"panic.example", "", "", "", "Cannot retrieve smarthost: internal error"},
	}
	var req routeRequest
	for _, tt := range tests {
		req.Domains = append(req.Domains, tt.domain)
	}
	for i, r := range q.routes(t.Context(), &req) {
		tt := tests[i]
		if r.URL != tt.url || r.User != tt.user || r.Password != tt.password || r.Auth != (tt.user != "") || r.Error != tt.err || strings.Contains(r.Error, "secret") {
			t.Errorf("%s: %+v", tt.domain, r)
		}
	}
}

// A table that does not answer holds up who asks it, for as long as the context says.
func TestRouteOfASlowTable(t *testing.T) {
	domains := newAsked()
	domains.wait = make(chan struct{})
	q := routingWith(t, config.Relay{DomainTable: "d"}, map[string]*asked{"d": domains})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, r := range q.routes(ctx, &routeRequest{Domains: []string{"a.example", "b.example"}}) {
		if r.Error != "Cannot retrieve smarthost: table <d>: context canceled" {
			t.Errorf("%+v", r)
		}
	}
}

// What smtpd -n says about a relay URL is what happens with it.
func TestURLsAreCheckedAsTheyAreRead(t *testing.T) {
	for _, url := range []string{"h.example", "h.example:25", "smtp://h", "SMTPS://H.example", "smtps://l@h", "smtp+tls://l@h:587", "smtp://l@h", "smtp+notls://h",
		"smtp+notls://l@h", "lmtp://h:24", "lmtp://h", "lmtp://l@h:24", "tls://h", "ssl://h:465", "secure://h", "tls+auth://h", "smtps+auth://l@h", "ssl+auth://h",
		"secure+auth://[2001:db8::1]:26", "smtp+auth://h", "lmtp+auth://h:1", "http://h", "://h", "smtp://", "smtp://:25", "smtps://@h", "smtps://a b@h",
		"smtps://a@b@h", "h:0", "h:65536", "h:+25", "h:", "h:25:26", "[192.0.2.1]", "[192.0.2.1", "[::1]x", "[h]", "2001:db8::1", "192.0.2.1", "a..b", "-a", "a_b.example", "a.example.", "ho st"} {
		_, err := mta.ParseURL(url)
		cfg, _, refused := config.Parse("c", []byte("action a relay host \""+url+"\" auth { l = \"a:b\" }\nmatch for any action a\n"), nil, nil, config.Environment{})
		if refused == nil {
			for _, u := range cfg.Unsupported {
				refused = fmt.Errorf("%s", u.What)
			}
		}
		if (err == nil) != (refused == nil) {
			t.Errorf("%q: smtpd -n says %v, reading it %v", url, refused, err)
		}
	}
}
