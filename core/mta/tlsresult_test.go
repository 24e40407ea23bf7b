package mta

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/mtasts"
	"github.com/godwit-mta/godwit/core/tlspolicy"
	"github.com/godwit-mta/godwit/core/tlsrpt"
)

// TestTLSResults compares what is told about sessions with what happened in them.
func TestTLSResults(t *testing.T) {
	good, pool := certificate(t, "mx1.example")
	other, otherPool := certificate(t, "other.example")
	roots, otherRoots := &tls.Config{RootCAs: pool}, &tls.Config{RootCAs: otherPool}
	later := &tls.Config{RootCAs: pool, Time: func() time.Time { return time.Now().Add(2 * time.Hour) }}
	enforce, trying := stsPolicy(mtasts.Enforce, "mx1.example"), stsPolicy(mtasts.Testing, "mx1.example")
	ee := []tlspolicy.Record{daneEE(t, good)}
	wrong := []tlspolicy.Record{daneEE(t, other)}
	unusable := []tlspolicy.Record{{Usage: 1, Selector: 1, Matching: 1, Data: make([]byte, 32)}}
	junk := afterStartTLS(t, func(c *script) {
		c.say("220 go")
		c.r.ReadByte()
		c.Write([]byte("this is no TLS at all, not a bit of it\r\n"))
	})
	tests := []struct {
		name    string
		relay   Relay
		cert    *tls.Certificate // nil: no TLS
		addr    string           // instead of a server with it; "-" for none
		sts     STS
		tlsa    []tlspolicy.Record
		err     string // of the look-up of the policy
		options func(*Message)
		want    string // policy type, failure; "" when nothing is told
		status  envelope.Status
	}{
		{name: "TLS", cert: &good, want: "no-policy-found", status: envelope.Delivered},
		{name: "TLS of a stranger", cert: &other, want: "no-policy-found", status: envelope.Delivered},
		{name: "clear", want: "no-policy-found starttls-not-supported", status: envelope.Delivered},
		{name: "junk", addr: junk, want: "no-policy-found validation-failure", status: envelope.Delivered},
		{name: "tls", relay: Relay{RequireTLS: true, TLSConfig: otherRoots}, cert: &good, want: "no-policy-found certificate-not-trusted", status: envelope.TempFail},
		{name: "refused", addr: "-", want: "", status: envelope.TempFail},
		{name: "sts", relay: Relay{STS: true, TLSConfig: roots}, cert: &good, sts: enforce, want: "sts", status: envelope.Delivered},
		{name: "sts trust", relay: Relay{STS: true, TLSConfig: otherRoots}, cert: &good, sts: enforce, want: "sts certificate-not-trusted", status: envelope.TempFail},
		{name: "sts name", relay: Relay{STS: true, TLSConfig: otherRoots}, cert: &other, sts: enforce, want: "sts certificate-host-mismatch", status: envelope.TempFail},
		{name: "sts expired", relay: Relay{STS: true, TLSConfig: later}, cert: &good, sts: enforce, want: "sts certificate-expired", status: envelope.TempFail},
		{name: "sts clear", relay: Relay{STS: true, TLSConfig: roots}, sts: enforce, want: "sts starttls-not-supported", status: envelope.TempFail},
		{name: "sts not listed", relay: Relay{STS: true, TLSConfig: roots}, cert: &good, sts: stsPolicy(mtasts.Enforce, "x.example"), want: "sts validation-failure", status: envelope.TempFail},
		{name: "sts refused", relay: Relay{STS: true, TLSConfig: roots}, addr: "-", sts: enforce, want: "", status: envelope.TempFail},
		{name: "testing", relay: Relay{STS: true, TLSConfig: roots}, cert: &good, sts: trying, want: "sts", status: envelope.Delivered},
		{name: "testing trust", relay: Relay{STS: true, TLSConfig: otherRoots}, cert: &good, sts: trying, want: "sts certificate-not-trusted", status: envelope.Delivered},
		{name: "testing clear", relay: Relay{STS: true, TLSConfig: roots}, sts: trying, want: "sts starttls-not-supported", status: envelope.Delivered},
		{name: "testing not listed", relay: Relay{STS: true, TLSConfig: roots}, cert: &good, sts: stsPolicy(mtasts.Testing, "x.example"), want: "sts validation-failure", status: envelope.Delivered},
		{name: "sts fetch", relay: Relay{STS: true}, cert: &good, sts: STS{Policy: mtasts.Policy{Mode: mtasts.None}, Failure: tlsrpt.STSFetch}, want: "sts sts-policy-fetch-error", status: envelope.Delivered},
		{name: "sts none", relay: Relay{STS: true}, cert: &good, sts: STS{Policy: mtasts.Policy{Mode: mtasts.None}}, want: "no-policy-found", status: envelope.Delivered},
		{name: "dane", relay: Relay{DANE: true}, cert: &good, tlsa: ee, want: "tlsa", status: envelope.Delivered},
		{name: "dane wrong", relay: Relay{DANE: true}, cert: &good, tlsa: wrong, want: "tlsa validation-failure", status: envelope.TempFail},
		{name: "dane clear", relay: Relay{DANE: true}, tlsa: ee, want: "tlsa starttls-not-supported", status: envelope.TempFail},
		{name: "dane unusable", relay: Relay{DANE: true}, cert: &good, tlsa: unusable, want: "tlsa tlsa-invalid", status: envelope.Delivered},
		{name: "dane bogus", relay: Relay{DANE: true}, cert: &good, err: "tlsa mx1.example", want: "tlsa dnssec-invalid", status: envelope.TempFail},
		{name: "table dane", relay: Relay{DANE: true, Policies: true, Name: "dane"}, cert: &good, want: "no-policy-found dane-required", status: envelope.TempFail},
		{name: "table encrypt", relay: Relay{Policies: true, Name: "encrypt"}, cert: &good, want: "", status: envelope.Delivered},
		{name: "table may", relay: Relay{Policies: true, STS: true, Name: "may"}, sts: enforce, want: "", status: envelope.Delivered},
		{name: "no-verify", relay: Relay{NoVerify: true, STS: true}, cert: &other, sts: enforce, want: "", status: envelope.Delivered},
		{name: "host", relay: Relay{URL: URL{Scheme: SMTP, Host: addr1.String()}}, cert: &good, want: "", status: envelope.Delivered},
		{name: "TLS-Required: No", relay: Relay{STS: true}, sts: enforce, options: func(m *Message) { m.TLSOptional = true }, want: "", status: envelope.Delivered},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var mu sync.Mutex
			var told []tlsrpt.Result
			b := newBench(t, func(c *Config) {
				c.TLSResult = func(r tlsrpt.Result) { mu.Lock(); told = append(told, r); mu.Unlock() }
			})
			server := tt.addr
			switch server {
			case "":
				server = (&sink{}).startMaybeTLS(t, tt.cert)
			case "-":
				server = ""
			}
			b.domain("example.com", server)
			b.secure("example.com")
			b.resolver.sts["example.com"], b.resolver.tlsa["mx1.example"] = tt.sts, TLSA{Records: tt.tlsa, Base: "mx1.example", Owner: "mx1.example"}
			b.resolver.words["example.com"] = tt.relay.Name
			if tt.err != "" {
				b.resolver.errs[tt.err] = lookupError{"SERVFAIL", true}
			}
			msg := b.message("x\n", "u@example.com")
			if tt.options != nil {
				tt.options(msg)
			}
			b.Submit(msg, &tt.relay)
			for _, r := range b.wait(1) {
				if r.Status != tt.status {
					t.Errorf("%+v", r)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			var got []string
			for _, r := range told {
				text := r.Policy.Type
				for _, f := range r.Failures {
					text += " " + f.Type
					if f.MX != "mx1.example" || f.To != addr1.String() || f.Type == tlsrpt.Invalid && f.Reason == "" {
						t.Errorf("%+v", f)
					}
				}
				got = append(got, text)
				checkToldPolicy(t, &r)
			}
			if strings.Join(got, ", ") != tt.want {
				t.Errorf("told %q, want %q", got, tt.want)
			}
		})
	}
}

func checkToldPolicy(t *testing.T, r *tlsrpt.Result) {
	t.Helper()
	p := &r.Policy
	bad := r.Domain != "example.com"
	switch p.Type {
	case tlsrpt.STS:
		bad = bad || p.Domain != "example.com" || len(p.MX) > 0 && !slices.Contains(p.Strings, "version: STSv1")
	case tlsrpt.TLSA:
		bad = bad || p.Domain != "mx1.example" || len(p.Strings) > 0 && !strings.Contains(fmt.Sprint(p.Strings), " 1 1 ")
	default:
		bad = bad || p.Domain != "example.com" || len(p.Strings) > 0
	}
	if bad {
		t.Errorf("%+v", r)
	}
}
