package mta

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/mtasts"
)

// patient are limits with which a test that waits for an idle connection to end hangs.
func patient(l Limits) Limits {
	l.SessionKeepalive = 24 * time.Hour
	return l
}

// counted is a server that accepts everything and counts its connections.
type counted struct {
	mu        sync.Mutex
	all       int
	now, most int
	mails     int
	gate      chan struct{} // when there is one, nothing is answered before it is closed
}

func (s *counted) start(t testing.TB) string {
	return scripted(t, func(c *script, _ int) {
		s.mu.Lock()
		s.all++
		s.now++
		s.most = max(s.most, s.now)
		s.mu.Unlock()
		if s.gate != nil {
			<-s.gate
		}
		c.serve([]string{"PIPELINING"}, func(cmd string) string {
			s.mu.Lock()
			defer s.mu.Unlock()
			switch {
			case cmd == ".":
				s.mails++
			case cmd == "QUIT":
				s.now-- // before the client knows that it may come again
			}
			return ""
		})
	})
}

func TestDomainsShareConnections(t *testing.T) {
	const domains = 2000
	s := &counted{}
	b := newBench(t, nil)
	addr := s.start(t)
	opts := &Relay{Name: "out", Limits: patient(Limits{})}
	for i := range domains {
		b.domain(fmt.Sprintf("d%d.example", i), addr)
	}
	for i := range domains {
		b.Submit(b.message("x\n", fmt.Sprintf("user@d%d.example", i)), opts)
	}
	for id, r := range b.wait(domains) {
		if r.Status != envelope.Delivered || r.MTA != "mx1.example" {
			t.Fatalf("%s: %+v", id, r)
		}
	}
	if limit := (domains + 99) / 100 * 5; s.all > limit || s.most > 5 || s.mails != domains {
		t.Errorf("%d connections, %d at a time, %d messages", s.all, s.most, s.mails)
	}
}

func TestDomainsShareOneAfterTheOther(t *testing.T) {
	s := &counted{}
	b := newBench(t, nil)
	addr := s.start(t)
	for i := range 50 {
		name := fmt.Sprintf("d%d.example", i)
		b.domain(name, addr)
		b.resolver.mx[name][0].Name = "mx." + name // any name, since nothing is verified
		if r := b.one(&Relay{Name: "out", Limits: patient(Limits{})}, "x\n", "user@"+name); r.Status != envelope.Delivered || r.MTA != "mx."+name {
			t.Fatalf("%+v", r)
		}
	}
	if s.all != 1 {
		t.Errorf("%d connections", s.all)
	}
	for _, r := range b.Relays() {
		if r.Domain != "d49.example" {
			t.Errorf("%s is kept", r)
		}
	}
}

func TestIdleConnectionMakesRoom(t *testing.T) {
	for name, l := range map[string]Limits{"host": {MaxConnPerHost: 1}, "source": {MaxConnPerSource: 1}, "route": {MaxConnPerRoute: 1}} {
		s := &counted{}
		b := newBench(t, nil)
		addr := s.start(t)
		b.domain("one.example", addr)
		b.domain("two.example", addr)
		for i := range 6 { // options that cannot share a connection
			opts := &Relay{Name: []string{"a", "b"}[i%2], Limits: patient(l)}
			if r := b.one(opts, "x\n", []string{"u@one.example", "u@two.example"}[i/2%2]); r.Status != envelope.Delivered {
				t.Fatalf("%s: %+v", name, r)
			}
		}
		if s.most != 1 {
			t.Errorf("%s: %d connections at a time", name, s.most)
		}
	}
}

// One with much mail must not keep those out that have little.
func TestBusyRelayYields(t *testing.T) {
	for _, second := range []string{"big", "other"} { // action of the small ones
		s := &counted{gate: make(chan struct{})}
		b := newBench(t, nil)
		addr := s.start(t)
		big := &Relay{Name: "big", Limits: patient(Limits{MaxConnPerHost: 1, SessionMailMax: 1 << 20})}
		b.domain("big.example", addr)
		for i := range 10 {
			b.domain(fmt.Sprintf("d%d.example", i), addr)
		}
		const many = 3000
		for range many {
			b.Submit(b.message("x\n", "user@big.example"), big)
		}
		small := *big
		small.Name = second
		for i := range 10 {
			b.Submit(b.message("x\n", fmt.Sprintf("user@d%d.example", i)), &small)
		}
		close(s.gate)
		var order []envelope.ID
		for range many + 10 {
			select {
			case r := <-b.results:
				order = append(order, r.ID)
			case <-time.After(patience):
				t.Fatalf("%d results\n%.2000s", len(order), b.log)
			}
		}
		for i := range 10 {
			id := envelope.NewID(envelope.MessageID(many+1+i), 1)
			if at := slices.Index(order, id); at < 0 || at > many-many/10 {
				t.Errorf("%s: small message %d was number %d", second, i, at)
			}
		}
		if s.most != 1 {
			t.Errorf("%s: %d connections at a time", second, s.most)
		}
	}
}

func TestPolicyKeepsConnectionsApart(t *testing.T) {
	b := newBench(t, nil)
	s := &counted{}
	addr := s.start(t) // has no TLS
	b.domain("free.example", addr)
	b.domain("strict.example", addr)
	b.domain("also.example", addr)
	b.resolver.sts["strict.example"] = STS{Policy: mtasts.Policy{Mode: mtasts.Enforce, MX: []string{"mx1.example"}, MaxAge: time.Hour}}
	opts := &Relay{Name: "out", STS: true, Limits: patient(Limits{})}
	if r := b.one(opts, "x\n", "u@free.example"); r.Status != envelope.Delivered {
		t.Fatalf("%+v", r)
	}
	if r := b.one(opts, "x\n", "u@strict.example"); r.Status != envelope.TempFail || !strings.Contains(r.Text, "MTA-STS") {
		t.Errorf("sent in clear: %+v", r)
	}
	if r := b.one(opts, "x\n", "u@also.example"); r.Status != envelope.Delivered {
		t.Errorf("%+v", r)
	}
	if s.mails != 2 {
		t.Errorf("%d messages", s.mails)
	}
}

// A message with recipients in many domains is one transaction where they have one relay.
func TestTransactionsOfASmarthost(t *testing.T) {
	s := &counted{}
	b := newBench(t, nil)
	b.net.to[addr1] = s.start(t)
	b.resolver.hosts["smart.example"] = append(b.resolver.hosts["smart.example"], addr1)
	opts := &Relay{Name: "smart", URL: URL{Host: "smart.example"}, Limits: patient(Limits{})}
	const messages = 500
	for range messages {
		var to []string
		for i := range 10 {
			to = append(to, fmt.Sprintf("user@d%d.example", i))
		}
		b.Submit(b.message("x\n", to...), opts)
	}
	for id, r := range b.wait(10 * messages) {
		if r.Status != envelope.Delivered {
			t.Fatalf("%s: %+v", id, r)
		}
	}
	if s.mails != messages || s.all > 20 {
		t.Errorf("%d transactions, %d connections", s.mails, s.all)
	}
}
