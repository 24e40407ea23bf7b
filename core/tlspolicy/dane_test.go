package tlspolicy

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"
)

// pair is a certificate with its key.
type pair struct {
	*x509.Certificate
	key crypto.Signer
}

var year = 365 * 24 * time.Hour

// issue makes a certificate that ends at a time; without an issuer it signs itself.
func issue(t testing.TB, issuer *pair, ca bool, end time.Time, names ...string) *pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: serial.String()}, DNSNames: names,
		NotBefore: end.Add(-year), NotAfter: end, IsCA: ca, BasicConstraintsValid: true}
	p := &pair{key: key}
	if issuer == nil {
		issuer = &pair{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.Certificate, key.Public(), issuer.key)
	if err != nil {
		t.Fatal(err)
	}
	if p.Certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return p
}

// tlsa makes the record that a certificate matches.
func tlsa(usage, selector, matching uint8, p *pair) Record {
	data := p.Raw
	if selector == publicKey {
		data = p.RawSubjectPublicKeyInfo
	}
	switch matching {
	case matchSHA256:
		sum := sha256.Sum256(data)
		data = sum[:]
	case matchSHA512:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return Record{usage, selector, matching, data}
}

func TestDANE(t *testing.T) {
	now := time.Now()
	later, past := now.Add(year/2), now.Add(-time.Hour)
	root := issue(t, nil, true, later)
	middle := issue(t, root, true, later)
	leaf := issue(t, middle, false, later, "mx.example")
	old := issue(t, middle, false, past, "mx.example")
	oldMiddle := issue(t, root, true, past)
	underOld := issue(t, oldMiddle, false, later, "mx.example")
	named := issue(t, middle, false, later, "other.example")
	wild := issue(t, middle, false, later, "*.example")
	hop := issue(t, middle, false, later, "example.com")
	self := issue(t, nil, false, later, "x")
	other := issue(t, nil, true, later)
	noCA := issue(t, root, false, later)
	underNoCA := issue(t, noCA, false, later, "mx.example")
	chain := []*pair{leaf, middle, root}
	short := Record{endEntity, publicKey, matchSHA256, make([]byte, 31)}
	tests := []struct {
		name    string
		records []Record
		shown   []*pair
		usable  int
		fails   string // "": the certificate is good
	}{
		{"3 1 1", []Record{tlsa(3, 1, 1, leaf)}, chain, 1, ""},
		{"3 0 1", []Record{tlsa(3, 0, 1, leaf)}, chain, 1, ""},
		{"3 1 2", []Record{tlsa(3, 1, 2, leaf)}, chain, 1, ""},
		{"3 0 2", []Record{tlsa(3, 0, 2, leaf)}, chain, 1, ""},
		{"3 1 0", []Record{tlsa(3, 1, 0, leaf)}, chain, 1, ""},
		{"3 0 0", []Record{tlsa(3, 0, 0, leaf)}, chain, 1, ""},
		{"3 without the rest of the chain", []Record{tlsa(3, 1, 1, leaf)}, []*pair{leaf}, 1, ""},
		{"3 signed by itself", []Record{tlsa(3, 1, 1, self)}, []*pair{self}, 1, ""},
		{"3 expired", []Record{tlsa(3, 1, 1, old)}, []*pair{old}, 1, ""},
		{"3 with another name", []Record{tlsa(3, 1, 1, named)}, []*pair{named, middle}, 1, ""},
		{"3 of another key", []Record{tlsa(3, 1, 1, other)}, chain, 1, "none of 1"},
		{"3 of the key in place of the certificate", []Record{{3, 0, 1, tlsa(3, 1, 1, leaf).Data}}, chain, 1, "none of 1"},
		{"3 of the issuer", []Record{tlsa(3, 1, 1, middle)}, chain, 1, "none of 1"},
		{"3 second record matches", []Record{tlsa(3, 1, 1, other), tlsa(3, 1, 1, leaf)}, chain, 2, ""},
		{"3 no certificate", []Record{tlsa(3, 1, 1, leaf)}, nil, 1, "no certificate"},
		{"2 0 1 root", []Record{tlsa(2, 0, 1, root)}, chain, 1, ""},
		{"2 1 1 root", []Record{tlsa(2, 1, 1, root)}, chain, 1, ""},
		{"2 1 1 issuer", []Record{tlsa(2, 1, 1, middle)}, chain, 1, ""},
		{"2 1 2 issuer without root", []Record{tlsa(2, 1, 2, middle)}, chain[:2], 1, ""},
		{"2 1 0", []Record{tlsa(2, 1, 0, middle)}, chain[:2], 1, ""},
		{"2 0 0 not shown", []Record{tlsa(2, 0, 0, root)}, chain[:2], 1, ""},
		{"2 0 0 shown", []Record{tlsa(2, 0, 0, root)}, chain, 1, ""},
		{"2 0 0 garbage", []Record{{2, 0, 0, []byte("garbage")}}, chain, 1, "none of 1"},
		{"2 root not shown", []Record{tlsa(2, 0, 1, root)}, chain[:2], 1, "none of 1"},
		{"2 of the server's own certificate", []Record{tlsa(2, 1, 1, leaf)}, chain, 1, "none of 1"},
		{"2 of a stranger", []Record{tlsa(2, 1, 1, other)}, chain, 1, "none of 1"},
		{"2 of a stranger who is shown", []Record{tlsa(2, 1, 1, other)}, []*pair{leaf, middle, other}, 1, "not vouched for"},
		{"2 with another name", []Record{tlsa(2, 1, 1, middle)}, []*pair{named, middle}, 1, "none of the names"},
		{"2 with a wildcard", []Record{tlsa(2, 1, 1, middle)}, []*pair{wild, middle}, 1, ""},
		{"2 with the name of the domain", []Record{tlsa(2, 1, 1, middle)}, []*pair{hop, middle}, 1, ""},
		{"2 expired", []Record{tlsa(2, 1, 1, middle)}, []*pair{old, middle}, 1, "not vouched for"},
		{"2 expired between", []Record{tlsa(2, 1, 1, root)}, []*pair{underOld, oldMiddle, root}, 1, "not vouched for"},
		{"2 not an authority", []Record{tlsa(2, 1, 1, root)}, []*pair{underNoCA, noCA, root}, 1, "not vouched for"},
		{"2 chain broken", []Record{tlsa(2, 1, 1, root)}, []*pair{leaf, root}, 1, "not vouched for"},
		{"2 in disorder", []Record{tlsa(2, 1, 1, root)}, []*pair{leaf, root, middle}, 1, ""},
		{"2 fails, 3 matches", []Record{tlsa(2, 1, 1, other), tlsa(3, 1, 1, leaf)}, chain, 2, ""},
		{"3 fails, 2 matches", []Record{tlsa(3, 1, 1, other), tlsa(2, 1, 1, root)}, chain, 2, ""},
		{"stronger digest decides", []Record{tlsa(3, 1, 1, leaf), tlsa(3, 1, 2, other)}, chain, 1, "none of 1"},
		{"stronger digest of another selector", []Record{tlsa(3, 1, 1, leaf), tlsa(3, 0, 2, other)}, chain, 2, ""},
		{"stronger digest of another usage", []Record{tlsa(3, 1, 1, leaf), tlsa(2, 1, 2, other)}, chain, 2, ""},
		{"stronger digest that is no digest", []Record{tlsa(3, 1, 1, leaf), {3, 1, 2, []byte("short")}}, chain, 1, ""},
		{"full data beside a digest", []Record{tlsa(3, 1, 0, other), tlsa(3, 1, 2, leaf)}, chain, 2, ""},
		{"usage 0", []Record{tlsa(0, 1, 1, root)}, chain, 0, ""},
		{"usage 1", []Record{tlsa(1, 1, 1, leaf)}, chain, 0, ""},
		{"usage 4", []Record{tlsa(4, 1, 1, leaf)}, chain, 0, ""},
		{"usage 255", []Record{tlsa(255, 1, 1, leaf)}, chain, 0, ""},
		{"selector 2", []Record{{3, 2, 1, make([]byte, 32)}}, chain, 0, ""},
		{"matching type 3", []Record{{3, 1, 3, make([]byte, 32)}}, chain, 0, ""},
		{"short digest", []Record{short}, chain, 0, ""},
		{"no data", []Record{{3, 0, 0, nil}}, chain, 0, ""},
		{"unusable beside usable", []Record{tlsa(1, 1, 1, leaf), tlsa(3, 1, 1, leaf)}, chain, 1, ""},
		{"unusable matches, usable does not", []Record{tlsa(1, 1, 1, leaf), tlsa(3, 1, 1, other)}, chain, 1, "none of 1"},
	}
	for _, tt := range tests {
		d := &DANE{Records: tt.records, Names: []string{"mx.example", "example.com"}}
		if n := len(d.Usable()); n != tt.usable {
			t.Errorf("%s: %d usable records", tt.name, n)
		}
		if tt.usable == 0 {
			continue
		}
		var shown []*x509.Certificate
		for _, p := range tt.shown {
			shown = append(shown, p.Certificate)
		}
		err := d.Verify(shown, now)
		if (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.fails)
		}
	}
}
