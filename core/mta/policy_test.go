package mta

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/tlspolicy"
)

// daneEE makes the record 3 1 1 of a certificate.
func daneEE(t *testing.T, cert tls.Certificate) tlspolicy.Record {
	c, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return tlspolicy.Record{Usage: 3, Selector: 1, Matching: 1, Data: sum[:]}
}

// secure says that the exchangers of a domain are validated.
func (b *bench) secure(domain string) {
	for i := range b.resolver.mx[domain] {
		b.resolver.mx[domain][i].Secure = true
	}
}

func TestDANE(t *testing.T) {
	cert, pool := certificate(t, "other.example") // not the name of the server
	stranger, _ := certificate(t, "mx1.example")
	right, wrong := daneEE(t, cert), daneEE(t, stranger)
	unusable := tlspolicy.Record{Usage: 1, Selector: 1, Matching: 1, Data: right.Data}
	unsure := lookupError{"Temporary failure in TLSA lookup: SERVFAIL", true}
	tests := []struct {
		name     string
		relay    Relay
		records  []tlspolicy.Record
		err      error
		insecure bool // the MX records
		noTLS    bool
		status   envelope.Status
		text     string // of the result
		logged   string
		shown    string // by show relays
		code     uint16
	}{
		{name: "right", relay: Relay{DANE: true}, records: []tlspolicy.Record{right}, status: envelope.Delivered,
			logged: `cert-check result="valid"`, shown: "tls=dane host=mx1.example"},
		{name: "wrong", relay: Relay{DANE: true}, records: []tlspolicy.Record{wrong}, status: envelope.TempFail,
			text: "DANE: TLS handshake failed: certificate not valid: certificate matches none of 1 TLSA records", code: 705},
		{name: "no TLS", relay: Relay{DANE: true}, records: []tlspolicy.Record{right}, noTLS: true, status: envelope.TempFail,
			text: "DANE: TLS required but not supported", code: 704},
		{name: "no records", relay: Relay{DANE: true}, noTLS: true, status: envelope.Delivered, shown: `tls=- host=mx1.example reason="none here"`},
		{name: "not asked for", relay: Relay{}, records: []tlspolicy.Record{wrong}, status: envelope.Delivered, logged: `cert-check result="unverified"`},
		{name: "MX records not validated", relay: Relay{DANE: true}, records: []tlspolicy.Record{wrong}, insecure: true, status: envelope.Delivered,
			shown: "MX records are not validated"},
		{name: "unusable", relay: Relay{DANE: true}, records: []tlspolicy.Record{unusable}, status: envelope.Delivered,
			logged: `cert-check result="unverified"`, shown: "tls=dane-unusable"},
		{name: "unusable, no TLS", relay: Relay{DANE: true}, records: []tlspolicy.Record{unusable}, noTLS: true, status: envelope.TempFail,
			text: "DANE (TLSA records unusable): TLS required"},
		{name: "lookup fails", relay: Relay{DANE: true}, err: unsure, status: envelope.TempFail, text: "DANE: TLS policy unknown: Temporary failure", code: 403},
		{name: "in place of authorities", relay: Relay{DANE: true, RequireTLS: true}, records: []tlspolicy.Record{right}, status: envelope.Delivered,
			logged: `cert-check result="valid"`},
		{name: "wrong beside authorities", relay: Relay{DANE: true, RequireTLS: true, TLSConfig: &tls.Config{RootCAs: pool}},
			records: []tlspolicy.Record{wrong}, status: envelope.TempFail, text: "none of 1"},
		{name: "no-verify", relay: Relay{DANE: true, RequireTLS: true, NoVerify: true}, records: []tlspolicy.Record{wrong}, status: envelope.Delivered,
			logged: `cert-check result="unverified"`},
		{name: "never", relay: Relay{DANE: true, URL: URL{Scheme: SMTPNoTLS}}, records: []tlspolicy.Record{wrong}, status: envelope.Delivered},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &sink{}
			b := newBench(t, nil)
			if tt.noTLS {
				b.domain("example.com", s.start(t, nil))
			} else {
				b.domain("example.com", s.startTLS(t, cert))
			}
			if !tt.insecure {
				b.secure("example.com")
			}
			b.resolver.tlsa["mx1.example"] = TLSA{Records: tt.records, Base: "mx1.example", Reason: "none here"}
			b.resolver.errs["tlsa mx1.example"] = tt.err
			r := b.one(&tt.relay, "x\n", "u@example.com")
			if r.Status != tt.status || !strings.Contains(r.Text, tt.text) || !b.log.has(tt.logged) || tt.code != 0 && r.EscCode != tt.code {
				t.Errorf("%+v", r)
			}
			if n := len(s.taken()); (n == 1) != (tt.status == envelope.Delivered) {
				t.Errorf("%d messages taken", n)
			}
			for _, info := range b.Relays() {
				if !strings.Contains(info.String(), tt.shown) {
					t.Errorf("shown: %s", info)
				}
			}
			if n := b.net.count(addr1); n > 1 {
				t.Errorf("%d connections", n)
			}
			if rs := b.Routes(); len(rs) > 0 && rs[0].Disabled {
				t.Error("the route is disabled for all")
			}
		})
	}
}

// TestDANENextServer: a server whose records cannot be looked up, or whose certificate is
// wrong, is passed over.
func TestDANENextServer(t *testing.T) {
	cert, _ := certificate(t, "mx.example")
	stranger, _ := certificate(t, "mx.example")
	for name, first := range map[string]TLSA{
		"bogus": {},
		"wrong": {Records: []tlspolicy.Record{daneEE(t, stranger)}, Base: "mx1.example"},
	} {
		s1, s2 := &sink{}, &sink{}
		b := newBench(t, nil)
		b.domain("example.com", s1.startTLS(t, cert), s2.startTLS(t, cert))
		b.secure("example.com")
		b.resolver.tlsa["mx1.example"] = first
		if name == "bogus" {
			b.resolver.errs["tlsa mx1.example"] = lookupError{"SERVFAIL", true}
		}
		b.resolver.tlsa["mx2.example"] = TLSA{Records: []tlspolicy.Record{daneEE(t, cert)}, Base: "mx2.example"}
		r := b.one(&Relay{DANE: true}, "x\n", "u@example.com")
		if r.Status != envelope.Delivered || len(s1.taken()) != 0 || len(s2.taken()) != 1 || !b.log.has("mta error reason=DANE: ") {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestDANENames: the name asked for is that of the records, and with a trust anchor the name
// of the domain will do.
func TestDANENames(t *testing.T) {
	cert, _ := certificate(t, "example.com") // vouches for itself
	c, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	found := TLSA{Records: []tlspolicy.Record{{Usage: 2, Selector: 0, Matching: 0, Data: c.Raw}}, Base: "base.example", Owner: "owner.example"}
	p := danePolicy(&found, "mx1.example", "example.com")
	if got := strings.Join(p.dane.Names, " "); p.sni != "base.example" || got != "base.example mx1.example owner.example example.com" {
		t.Error(p.sni, got)
	}
	for domain, ok := range map[string]bool{"example.com": true, "other.example": false} {
		asked := make(chan string, 1)
		s := &sink{}
		b := newBench(t, nil)
		b.domain(domain, s.startWith(t, &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			asked <- h.ServerName
			return &cert, nil
		}}))
		b.secure(domain)
		b.resolver.tlsa["mx1.example"] = found
		r := b.one(&Relay{DANE: true}, "x\n", "u@"+domain)
		if (r.Status == envelope.Delivered) != ok || <-asked != "base.example" {
			t.Errorf("%s: %+v", domain, r)
		}
	}
}
