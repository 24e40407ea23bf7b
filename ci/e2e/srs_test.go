package e2e

import (
	"strings"
	"testing"
)

// TestSRS forwards mail that came in for two domains at once and sends a notice back.
func TestSRS(t *testing.T) {
	s := startSink(t, sinkAddr, nil)
	start(t, `
table aliases { "fwd" = "x@elsewhere.test", "other" = "y@elsewhere.test" }
srs key "0123456789abcdef"
listen on 127.0.0.1 port 25
action "local" maildir alias <aliases>
action "out" relay host smtp://127.0.0.3 srs
match from any for domain { "one.test", "two.test" } action "local"
match from local for any action "out"
`)
	submit(t, "alice@example.test", "fwd@one.test,other@two.test,z@elsewhere.test", "Subject: x\n\nx\n")
	senders := map[string]string{}
	for _, r := range s.wait(t, 3) {
		for _, to := range r.to {
			senders[to] = r.from
		}
	}
	for to, suffix := range map[string]string{"x@elsewhere.test": "=example.test=alice@one.test", "y@elsewhere.test": "=example.test=alice@two.test"} {
		if got := senders[to]; !strings.HasPrefix(got, "SRS0=") || !strings.HasSuffix(got, suffix) {
			t.Errorf("mail for %s came from %q", to, got)
		}
	}
	if got := senders["z@elsewhere.test"]; got != "alice@example.test" {
		t.Errorf("mail that was not forwarded came from %q", got)
	}
	submit(t, "", senders["x@elsewhere.test"], "Subject: failed\n\nx\n")
	if r := s.wait(t, 1)[0]; r.from != "" || len(r.to) != 1 || r.to[0] != "alice@example.test" {
		t.Errorf("the notice went from %q to %q", r.from, r.to)
	}
	c := dial(t, listen)
	c.ask("250", "EHLO client.test")
	c.ask("250", "MAIL FROM:<>")
	c.ask("550", "RCPT TO:<%s>", strings.Replace(senders["x@elsewhere.test"], "alice", "bob", 1))
}
