package daemon

import (
	"strings"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/srs"
)

// TestRelayedSender: only forwarded mail is rewritten, and each envelope by the domain that
// it came in under.
func TestRelayedSender(t *testing.T) {
	sender := address.Address{Local: "alice", Domain: "example.com"}
	far := address.Address{Local: "x", Domain: "elsewhere.example"}
	at := func(domain string) address.Address { return address.Address{Local: "fwd", Domain: domain} }
	rewriting := func(r config.Relay) *queueSettings {
		return &queueSettings{srs: srs.New("key", "", time.Hour*24), actions: map[string]*config.Action{"out": {Relay: r}}}
	}
	tests := []struct {
		name         string
		s            *queueSettings
		sender, rcpt address.Address
		want         string // suffix
		rewritten    bool
	}{
		{"forwarded", rewriting(config.Relay{SRS: true}), sender, at("one.example"), "=example.com=alice@one.example", true},
		{"other domain", rewriting(config.Relay{SRS: true}), sender, at("two.example"), "=example.com=alice@two.example", true},
		{"not forwarded", rewriting(config.Relay{SRS: true}), sender, far, "alice@example.com", false},
		{"null sender", rewriting(config.Relay{SRS: true}), address.Address{}, at("one.example"), "", false},
		{"not asked for", rewriting(config.Relay{}), sender, at("one.example"), "alice@example.com", false},
		{"mail-from", rewriting(config.Relay{SRS: true, MailFrom: "me@one.example"}), sender, at("one.example"), "alice@example.com", false},
		{"no key", &queueSettings{actions: map[string]*config.Action{"out": {Relay: config.Relay{SRS: true}}}}, sender, at("one.example"), "alice@example.com", false},
		{"no action", &queueSettings{srs: srs.New("key", "", time.Hour*24)}, sender, at("one.example"), "alice@example.com", false},
	}
	for _, tt := range tests {
		e := &envelope.Envelope{Dispatcher: "out", Sender: tt.sender, Rcpt: tt.rcpt, Dest: far}
		got := tt.s.relayedSender(e, time.Now()).String()
		if strings.HasPrefix(got, "SRS0=") != tt.rewritten || !strings.HasSuffix(got, tt.want) {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
	q := &queueRole{}
	q.cfg.Store(rewriting(config.Relay{SRS: true}))
	var envs []*envelope.Envelope
	for _, domain := range []string{"one.example", "two.example", "one.example"} {
		envs = append(envs, &envelope.Envelope{Dispatcher: "out", Sender: sender, Rcpt: at(domain), Dest: far})
	}
	parts := q.bySender(envs)
	if len(parts) != 2 || len(parts[0].envs) != 2 || len(parts[1].envs) != 1 || parts[0].sender.Domain != "one.example" {
		t.Errorf("parts %+v", parts)
	}
}
