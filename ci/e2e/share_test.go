package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/ci/e2e/testdns"
)

// connections gives how many the sink has had.
func (s *sink) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions
}

// submitAll sends messages to the recipients that to gives for each, separated by commas.
func submitAll(t *testing.T, n int, to func(int) string) {
	t.Helper()
	const session = 100 // max-mails
	for first := 0; first < n; first += session {
		c := dial(t, listen)
		c.ask("250", "EHLO client.test")
		for i := first; i < min(n, first+session); i++ {
			if reply := c.mail(tester, to(i), "Subject: x\n\nHello.\n"); !strings.HasPrefix(reply, "250") {
				t.Fatalf("message refused: %q", reply)
			}
		}
		c.ask("221", "QUIT")
		c.conn.Close()
	}
}

// TestDomainsOfOneHost relays to many domains that have one mail host: its connections are
// used for all of them, and none waits for an idle one of another.
func TestDomainsOfOneHost(t *testing.T) {
	const domains = 60
	var more strings.Builder
	for i := range domains {
		fmt.Fprintf(&more, "d%d.sink.test. MX 10 mx.sink.test.\n", i)
	}
	dns, err := testdns.Start("127.0.0.1:53", zone+more.String())
	if err != nil {
		t.Fatal(err)
	}
	defer dns.Close()
	s := startSink(t, sinkAddr, nil)
	d := start(t, `
listen on 127.0.0.1
mta limit session-keepalive 3600
action "out" relay
match from any for any action "out"
`)
	submitAll(t, domains, func(i int) string { return fmt.Sprintf("user@d%d.sink.test", i) })
	s.wait(t, domains)
	d.drained(time.Minute)
	if n := s.connections(); n > 5 {
		t.Errorf("%d connections for %d domains of a host", n, domains)
	}
}

// TestFewConnections relays through one smarthost: few connections for many messages, and one
// transaction for a message however many domains its recipients are in.
func TestFewConnections(t *testing.T) {
	startDNS(t)
	s := startSink(t, sinkAddr, nil)
	d := start(t, `
listen on 127.0.0.1
action "out" relay host smtp://mx.sink.test
match from any for any action "out"
`)
	submitAll(t, 3000, func(int) string { return "user@far.test" })
	d.drained(2 * time.Minute)
	s.wait(t, 3000)
	if n := s.connections(); n > 20 {
		t.Errorf("%d connections for 3000 messages", n)
	}
	submitAll(t, 500, func(i int) string {
		var to []string
		for k := range 10 {
			to = append(to, fmt.Sprintf("user%d@d%d.test", i, k))
		}
		return strings.Join(to, ",")
	})
	d.drained(2 * time.Minute)
	for _, m := range s.wait(t, 500) {
		if len(m.to) != 10 {
			t.Fatalf("a transaction with %d recipients", len(m.to))
		}
	}
	if n := s.connections(); n > 30 {
		t.Errorf("%d connections for 3500 messages", n)
	}
}
