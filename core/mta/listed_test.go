package mta

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/mtasts"
	"github.com/godwit-mta/godwit/core/tlspolicy"
)

// TestListed: what the table says about a domain goes before what its owner says.
func TestListed(t *testing.T) {
	cert, pool := certificate(t, "mx1.example")
	other, _ := certificate(t, "mx1.example")
	roots := &tls.Config{RootCAs: pool}
	listed := func(dane bool) Relay { return Relay{Policies: true, DANE: dane, STS: true, TLSConfig: roots} }
	enforce := stsPolicy(mtasts.Enforce, "other.example")
	tests := []struct {
		name   string
		word   string
		relay  Relay
		err    error
		cert   *tls.Certificate // nil: no TLS
		dane   *tls.Certificate
		sts    STS
		status envelope.Status
		text   string
		logged string
	}{
		{name: "may", word: "may", relay: listed(true), dane: &other, sts: enforce, status: envelope.Delivered},
		{name: "may, action demands", word: "may", relay: Relay{Policies: true, RequireTLS: true}, status: envelope.TempFail, text: "TLS required"},
		{name: "encrypt", word: "encrypt", relay: listed(true), cert: &other, dane: &cert, sts: enforce, status: envelope.Delivered, logged: "policy=encrypt"},
		{name: "encrypt, no TLS", word: "encrypt", relay: listed(true), status: envelope.TempFail, text: "tls-policy encrypt: TLS required"},
		{name: "secure", word: "secure", relay: listed(false), cert: &cert, status: envelope.Delivered, logged: `cert-check result="valid"`},
		{name: "secure, bad", word: "secure", relay: listed(false), cert: &other, status: envelope.TempFail, text: "tls-policy secure: TLS handshake failed"},
		{name: "secure, by DANE", word: "secure", relay: listed(true), cert: &other, dane: &other, status: envelope.Delivered, logged: "policy=dane"},
		{name: "secure, by a policy", word: "secure", relay: listed(true), cert: &cert, sts: enforce, status: envelope.TempFail, text: "MTA-STS: server is not one"},
		{name: "dane", word: "dane", relay: listed(true), cert: &other, dane: &other, status: envelope.Delivered, logged: "policy=dane"},
		{name: "dane, none", word: "dane", relay: listed(true), cert: &cert, status: envelope.TempFail, text: "tls-policy dane: no TLSA records that can be used: none here"},
		{name: "dane, off", word: "dane", relay: listed(false), cert: &cert, dane: &cert, status: envelope.TempFail, text: "mta dane is not set"},
		{name: "not in the table", relay: listed(true), cert: &cert, dane: &other, status: envelope.TempFail, text: "DANE: TLS handshake failed"},
		{name: "unknown word", word: "maybe", relay: listed(true), status: envelope.TempFail, text: "tls-policy: the table of policies has an unknown word: maybe"},
		{name: "table fails", err: lookupError{"gone", true}, relay: listed(true), status: envelope.TempFail, text: "tls-policy: TLS policy unknown: gone"},
		{name: "no-verify", word: "dane", relay: Relay{Policies: true, RequireTLS: true, NoVerify: true}, cert: &other, status: envelope.Delivered},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &sink{}
			b := newBench(t, nil)
			b.domain("example.com", s.startMaybeTLS(t, tt.cert))
			b.secure("example.com")
			b.resolver.words["example.com"], b.resolver.errs["policy example.com"] = tt.word, tt.err
			b.resolver.sts["example.com"] = tt.sts
			b.resolver.tlsa["mx1.example"] = TLSA{Reason: "none here"}
			if tt.dane != nil {
				b.resolver.tlsa["mx1.example"] = TLSA{Records: []tlspolicy.Record{daneEE(t, *tt.dane)}, Base: "mx1.example"}
			}
			r := b.one(&tt.relay, "x\n", "u@example.com")
			if r.Status != tt.status || !strings.Contains(r.Text, tt.text) || !b.log.has(tt.logged) {
				t.Errorf("%+v", r)
			}
		})
	}
}
