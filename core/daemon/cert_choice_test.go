package daemon

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"strings"
	"testing"
)

// TestServerNames: the name that a client asks for decides about the certificate, the order
// of the configuration about the rest.
func TestServerNames(t *testing.T) {
	ca, dir := newIssuer(t), t.TempDir()
	old, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	conf, listen := "", "listen on 127.0.0.1 port PORT smtps"
	for i, c := range []struct {
		template *x509.Certificate
		rsa      bool
	}{
		{&x509.Certificate{DNSNames: []string{"mx.example.org", "mail.example.org"}}, false},
		{&x509.Certificate{DNSNames: []string{"mx.example.org"}}, true},
		{&x509.Certificate{DNSNames: []string{"*.example.net"}}, false},
		{&x509.Certificate{DNSNames: []string{"in.example.net"}}, false},
		{&x509.Certificate{Subject: pkix.Name{CommonName: "old.example.com"}}, false},
		{&x509.Certificate{Subject: pkix.Name{CommonName: "not.example.com"}, DNSNames: []string{"alt.example.com"}}, false},
	} {
		name := fmt.Sprintf("p%d.test", i)
		pair := ca.sign(c.template)
		if c.rsa {
			pair = ca.signKey(c.template, old)
		}
		ca.files(dir, name, pair)
		conf += fmt.Sprintf("pki %s cert \"%s/%[1]s.pem\" key \"%[2]s/%[1]s.key\"\n", name, dir)
		listen += " pki " + name
	}
	l := start(t, conf+listen+"\naction \"local\" maildir userbase <people>\nmatch from any for any action \"local\"\n")
	rsaOnly := []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	for _, tt := range []struct {
		name   string
		suites []uint16 // of TLS 1.2
		want   string
	}{
		{"mx.example.org", nil, "[mx.example.org mail.example.org]"},
		{"MX.example.ORG", nil, "[mx.example.org mail.example.org]"},
		{"mail.example.org", nil, "[mx.example.org mail.example.org]"},
		{"mx.example.org", rsaOnly, "[mx.example.org]"},
		{"any.example.net", nil, "[*.example.net]"},
		{"in.example.net", nil, "[*.example.net]"},
		{"two.labels.example.net", nil, "[mx.example.org mail.example.org]"},
		{"example.net", nil, "[mx.example.org mail.example.org]"},
		{"old.example.com", nil, "[] old.example.com"},
		{"not.example.com", nil, "[mx.example.org mail.example.org]"},
		{"alt.example.com", nil, "[alt.example.com] not.example.com"},
		{"other.test", nil, "[mx.example.org mail.example.org]"},
		{"other.test", rsaOnly, "[mx.example.org]"},
		{`mx.example.org\`, nil, "[mx.example.org mail.example.org]"},
		{"alt.example.com\x00.example.net", nil, "[mx.example.org mail.example.org]"},
		{"alt.example.com\r\n", nil, "[mx.example.org mail.example.org]"},
		{"../../etc/passwd", nil, "[mx.example.org mail.example.org]"},
		{"\u00e4.example.net", nil, "[mx.example.org mail.example.org]"},
		{strings.Repeat("a", 255), nil, "[mx.example.org mail.example.org]"},
		{strings.Repeat("a.", 5000) + "example.net", nil, "[mx.example.org mail.example.org]"},
		{"", nil, "[mx.example.org mail.example.org]"},
		{"", rsaOnly, "[mx.example.org]"},
	} {
		config := &tls.Config{ServerName: tt.name, InsecureSkipVerify: true, CipherSuites: tt.suites}
		if tt.suites != nil {
			config.MaxVersion = tls.VersionTLS12
		}
		conn, err := tls.Dial("tcp", l.addr, config)
		if err != nil {
			t.Errorf("%q: %v", tt.name, err)
			continue
		}
		leaf := conn.ConnectionState().PeerCertificates[0]
		conn.Close()
		if got := strings.TrimSpace(fmt.Sprint(leaf.DNSNames, " ", leaf.Subject.CommonName)); got != tt.want {
			t.Errorf("%q, suites %v: %s, want %s", tt.name, tt.suites, got, tt.want)
		}
	}
	conn, err := tls.Dial("tcp", l.addr, &tls.Config{ServerName: "other.test", InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12,
		CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}})
	if err == nil {
		conn.Close()
		t.Error("a client that can use no suite gets in")
	}
}
