package mta

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/mtasts"
	"github.com/godwit-mta/godwit/core/tlspolicy"
)

func stsPolicy(mode mtasts.Mode, mx ...string) STS {
	return STS{Policy: mtasts.Policy{Mode: mode, MaxAge: time.Hour, MX: mx}}
}

func TestSTS(t *testing.T) {
	cert, pool := certificate(t, "mx1.example")
	other, otherPool := certificate(t, "other.example")
	pool = pool.Clone()
	both := &tls.Config{RootCAs: pool}
	otherRoots := &tls.Config{RootCAs: otherPool}
	enforce, trying := stsPolicy(mtasts.Enforce, "mx1.example"), stsPolicy(mtasts.Testing, "mx1.example")
	tests := []struct {
		name   string
		relay  Relay
		policy STS
		err    error
		cert   *tls.Certificate // nil: no TLS
		dane   *tls.Certificate // of its records
		status envelope.Status
		text   string
		logged string
	}{
		{name: "good", relay: Relay{STS: true}, policy: enforce, cert: &cert, status: envelope.Delivered, logged: `cert-check result="valid"`},
		{name: "by wildcard", relay: Relay{STS: true}, policy: stsPolicy(mtasts.Enforce, "*.example"), cert: &cert, status: envelope.Delivered,
			logged: `policy=mta-sts host=mx1.example`},
		{name: "no TLS", relay: Relay{STS: true}, policy: enforce, status: envelope.TempFail, text: "MTA-STS: TLS required but not supported"},
		{name: "unknown authority", relay: Relay{STS: true, TLSConfig: otherRoots}, policy: enforce, cert: &cert, status: envelope.TempFail,
			text: "MTA-STS: TLS handshake failed: certificate not valid"},
		{name: "another name", relay: Relay{STS: true, TLSConfig: otherRoots}, policy: enforce, cert: &other, status: envelope.TempFail,
			text: "MTA-STS: TLS handshake failed"},
		{name: "not listed", relay: Relay{STS: true}, policy: stsPolicy(mtasts.Enforce, "mx.other.example"), cert: &cert, status: envelope.TempFail,
			text: "MTA-STS: server is not one of those that the policy names: mx1.example"},
		{name: "asking fails", relay: Relay{STS: true}, err: lookupError{"lost", true}, cert: &cert, status: envelope.TempFail, text: "MTA-STS: TLS policy unknown: lost"},
		{name: "testing, good", relay: Relay{STS: true}, policy: trying, cert: &cert, status: envelope.Delivered, logged: "policy=mta-sts-testing"},
		{name: "testing, no TLS", relay: Relay{STS: true}, policy: trying, status: envelope.Delivered, logged: `reason="would fail: no TLS"`},
		{name: "testing, unknown authority", relay: Relay{STS: true, TLSConfig: otherRoots}, policy: trying, cert: &cert, status: envelope.Delivered,
			logged: `would fail: x509: certificate signed by unknown authority`},
		{name: "testing, not listed", relay: Relay{STS: true}, policy: stsPolicy(mtasts.Testing, "x.example"), cert: &cert, status: envelope.Delivered,
			logged: `would fail: server is not one`},
		{name: "none", relay: Relay{STS: true}, policy: STS{Reason: "no policy"}, status: envelope.Delivered},
		{name: "withdrawn", relay: Relay{STS: true}, policy: stsPolicy(mtasts.None), status: envelope.Delivered},
		{name: "not asked for", relay: Relay{}, policy: enforce, status: envelope.Delivered},
		{name: "no-verify", relay: Relay{STS: true, RequireTLS: true, NoVerify: true}, policy: enforce, cert: &other, status: envelope.Delivered},
		{name: "DANE decides, good", relay: Relay{STS: true, DANE: true}, policy: stsPolicy(mtasts.Enforce, "x.example"), cert: &other, dane: &other,
			status: envelope.Delivered, logged: "policy=dane"},
		{name: "DANE decides, wrong", relay: Relay{STS: true, DANE: true}, policy: enforce, cert: &cert, dane: &other,
			status: envelope.TempFail, text: "DANE: TLS handshake failed"},
		{name: "no records, policy", relay: Relay{STS: true, DANE: true}, policy: enforce, status: envelope.TempFail, text: "MTA-STS: TLS required"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &sink{}
			b := newBench(t, nil)
			b.domain("example.com", s.startMaybeTLS(t, tt.cert))
			b.secure("example.com")
			b.resolver.sts["example.com"], b.resolver.errs["sts example.com"] = tt.policy, tt.err
			if tt.dane != nil {
				b.resolver.tlsa["mx1.example"] = TLSA{Records: []tlspolicy.Record{daneEE(t, *tt.dane)}, Base: "mx1.example"}
			}
			relay := tt.relay
			if relay.TLSConfig == nil {
				relay.TLSConfig = both
			}
			r := b.one(&relay, "x\n", "u@example.com")
			if r.Status != tt.status || !strings.Contains(r.Text, tt.text) || !b.log.has(tt.logged) {
				t.Errorf("%+v", r)
			}
			if n := len(s.taken()); (n == 1) != (tt.status == envelope.Delivered) {
				t.Errorf("%d messages taken", n)
			}
		})
	}
}

// TestSTSNextServer: of the exchangers only those of the policy are used.
func TestSTSNextServer(t *testing.T) {
	cert, pool := certificate(t, "mx2.example")
	s1, s2 := &sink{}, &sink{}
	b := newBench(t, nil)
	b.domain("example.com", s1.startTLS(t, cert), s2.startTLS(t, cert))
	b.resolver.sts["example.com"] = stsPolicy(mtasts.Enforce, "mx2.example")
	r := b.one(&Relay{STS: true, TLSConfig: &tls.Config{RootCAs: pool}}, "x\n", "u@example.com")
	if r.Status != envelope.Delivered || len(s1.taken()) != 0 || len(s2.taken()) != 1 || b.net.count(addr1) != 0 {
		t.Errorf("%+v", r)
	}
}

// TestRequireTLSByMX: REQUIRETLS goes to exchangers that DNSSEC or a policy vouches for.
func TestRequireTLSByMX(t *testing.T) {
	cert, pool := certificate(t, "mx1.example")
	for _, tt := range []struct {
		name   string
		relay  Relay
		secure bool
		policy STS
		text   string // "": delivered
	}{
		{"DNSSEC", Relay{DANE: true}, true, STS{}, ""},
		{"MTA-STS", Relay{STS: true}, false, stsPolicy(mtasts.Enforce, "mx1.example"), ""},
		{"MTA-STS in testing", Relay{STS: true}, false, stsPolicy(mtasts.Testing, "mx1.example"), "not validated"},
		{"neither", Relay{DANE: true, STS: true}, false, STS{}, "not validated"},
		{"not looked for", Relay{}, false, stsPolicy(mtasts.Enforce, "mx1.example"), "not validated"},
	} {
		s := &sink{}
		b := newBench(t, nil)
		b.domain("example.com", s.startStrict(t, cert))
		if tt.secure {
			b.secure("example.com")
		}
		b.resolver.sts["example.com"] = tt.policy
		tt.relay.TLSConfig = &tls.Config{RootCAs: pool}
		msg := b.message("x\n", "u@example.com")
		msg.RequireTLS = true
		b.Submit(msg, &tt.relay)
		for _, r := range b.wait(1) {
			if tt.text == "" && r.Status != envelope.Delivered || tt.text != "" && (r.Status != envelope.PermFail || !strings.Contains(r.Text, tt.text)) {
				t.Errorf("%s: %+v", tt.name, r)
			}
		}
	}
}
