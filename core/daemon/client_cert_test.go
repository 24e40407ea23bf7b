package daemon

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/control"
)

// issuer is a certificate authority.
type issuer struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	file string
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	ca := &issuer{t: t, file: filepath.Join(t.TempDir(), "ca.pem")}
	pair := ca.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "Test CA"}, IsCA: true, BasicConstraintsValid: true})
	ca.key, ca.cert = pair.PrivateKey.(*ecdsa.PrivateKey), pair.Leaf
	ca.write(ca.file, &pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
	return ca
}

// sign issues a certificate with a new key. Without a time it is good for an hour.
func (ca *issuer) sign(template *x509.Certificate) tls.Certificate {
	ca.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.t.Fatal(err)
	}
	return ca.signKey(template, key)
}

// signKey is sign with a key that there is.
func (ca *issuer) signKey(template *x509.Certificate, key crypto.Signer) tls.Certificate {
	ca.t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore = time.Now().Add(-2 * time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	parent, signer := ca.cert, crypto.Signer(ca.key)
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		ca.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// files writes a certificate and its key for smtpd.
func (ca *issuer) files(dir, name string, pair tls.Certificate) {
	ca.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		ca.t.Fatal(err)
	}
	ca.write(filepath.Join(dir, name+".pem"), &pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	ca.write(filepath.Join(dir, name+".key"), &pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func (ca *issuer) write(path string, block *pem.Block) {
	ca.t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		ca.t.Fatal(err)
	}
}

func (ca *issuer) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// TestClientCertificates: a listener that verifies takes nobody without a certificate of its
// authorities, and tells whose it was.
func TestClientCertificates(t *testing.T) {
	ca, stranger := newIssuer(t), newIssuer(t)
	client := func(ca *issuer, template *x509.Certificate) []tls.Certificate {
		return []tls.Certificate{ca.sign(template)}
	}
	subject := pkix.Name{CommonName: "client.test", Organization: []string{"A (b) \\ é"}}
	usage := func(u x509.ExtKeyUsage) []x509.ExtKeyUsage { return []x509.ExtKeyUsage{u} }
	dir := t.TempDir()
	ca.files(dir, "mx", ca.sign(&x509.Certificate{DNSNames: []string{"mx.example.org"}}))
	for _, kind := range []string{"smtps verify", "tls-require verify"} {
		l := start(t, `
ca "corp" cert "`+ca.file+`"
pki mx.example.org cert "`+dir+`/mx.pem" key "`+dir+`/mx.key"
listen on 127.0.0.1 port PORT `+kind+` ca "corp" pki mx.example.org
action "local" maildir userbase <people>
match from any for domain "example.org" action "local"
`)
		for _, tt := range []struct {
			name, wrong string
			certs       []tls.Certificate
		}{
			{"none", "client didn't provide a certificate", nil},
			{"of another authority", "unknown authority", client(stranger, &x509.Certificate{Subject: subject})},
			{"expired", "certificate has expired", client(ca, &x509.Certificate{Subject: subject, NotAfter: time.Now().Add(-time.Hour)})},
			{"of a server", "incompatible key usage", client(ca, &x509.Certificate{Subject: subject, ExtKeyUsage: usage(x509.ExtKeyUsageServerAuth)})},
			{"good", "", client(ca, &x509.Certificate{Subject: subject, ExtKeyUsage: usage(x509.ExtKeyUsageClientAuth)})},
			{"good without a subject", "", client(ca, &x509.Certificate{EmailAddresses: []string{"joe@client.test"}})},
		} {
			from := l.log.len()
			config := &tls.Config{ServerName: "mx.example.org", RootCAs: ca.pool(), GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if len(tt.certs) == 0 {
					return new(tls.Certificate), nil
				}
				return &tt.certs[0], nil
			}}
			err := sendTLS(l.addr, kind == "smtps verify", config)
			if (err == nil) != (tt.wrong == "") {
				t.Errorf("%s: %s: %v", kind, tt.name, err)
			}
			if tt.wrong != "" {
				l.log.wait(t, from, `smtp disconnected reason="io-error: handshake failed: .*`+tt.wrong)
				continue
			}
			l.log.wait(t, from, `mda delivery .* result=Ok`)
		}
		l.log.wait(t, 0, `smtp cert-check result="verified" fingerprint="SHA256:[0-9a-f]{64}" subject="CN=client.test,O=A \(b\) \\+ é"`)
		got := strings.Join(l.maildir("joe"), "\n")
		for _, want := range []string{":YES)\n\t(client certificate CN=client.test,O=A ?b? ?? ??)\n\tfor <joe@example.org>",
			":YES)\n\t(client certificate joe@client.test)\n\tfor"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %q in:\n%s", kind, want, got)
			}
		}
	}
}

// sendTLS sends a message over TLS, from the first octet on or with STARTTLS.
func sendTLS(addr string, direct bool, config *tls.Config) error {
	dial := gosmtp.DialStartTLS
	if direct {
		dial = gosmtp.DialTLS
	}
	c, err := dial(addr, config)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.SendMail("a@example.net", []string{"joe@example.org"}, strings.NewReader("x: y\r\n\r\n"))
}

// TestAuthoritiesNeeded: to verify nobody's certificates is a mistake.
func TestAuthoritiesNeeded(t *testing.T) {
	s := &dispatcherSettings{}
	if _, err := s.clientCAs(""); err == nil || !strings.Contains(err.Error(), "no certificate authorities") {
		t.Errorf("none: %v", err)
	}
	s.SystemCAs = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: newIssuer(t).cert.Raw})
	if pool, err := s.clientCAs(""); err != nil || pool == nil {
		t.Errorf("the system's: %v", err)
	}
	s.CAs = []namedPEM{{"corp", []byte("rubbish\n")}}
	if _, err := s.clientCAs("corp"); err == nil || !strings.Contains(err.Error(), `ca "corp": no certificate in the file`) {
		t.Errorf("a file without any: %v", err)
	}
}

// TestTLSCounters: encrypted sessions are counted as long as they last.
func TestTLSCounters(t *testing.T) {
	ca, dir := newIssuer(t), t.TempDir()
	ca.files(dir, "mx", ca.sign(&x509.Certificate{DNSNames: []string{"mx.example.org"}}))
	for kind, counter := range map[string]string{"tls": "smtp.tls", "smtps": "smtp.smtps"} {
		l := start(t, `pki mx.example.org cert "`+dir+`/mx.pem" key "`+dir+`/mx.key"
listen on 127.0.0.1 port PORT `+kind+` pki mx.example.org
action "local" maildir userbase <people>
match from any for any action "local"
`)
		count := func() int64 {
			var s control.Stats
			if err := l.ask(control.Request{Op: control.ShowStats}, &s); err != nil {
				t.Fatal(err)
			}
			for _, v := range s.Values {
				if v.Name == counter {
					return v.Value
				}
			}
			return 0
		}
		dial := map[string]func(string, *tls.Config) (*gosmtp.Client, error){"tls": gosmtp.DialStartTLS, "smtps": gosmtp.DialTLS}[kind]
		c, err := dial(l.addr, &tls.Config{ServerName: "mx.example.org", RootCAs: ca.pool()})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Noop(); err != nil {
			t.Fatal(err)
		}
		if n := count(); n != 1 {
			t.Errorf("%s is %d while there is a session", counter, n)
		}
		from := l.log.len()
		if err := c.Quit(); err != nil {
			t.Fatal(err)
		}
		l.log.wait(t, from, "smtp disconnected reason=quit")
		for n := count(); n != 0; n = count() { // the line comes first
			time.Sleep(time.Millisecond)
		}
	}
}

// TestClientCertificateResumed: a session that is resumed is still that of the certificate.
func TestClientCertificateResumed(t *testing.T) {
	ca, dir := newIssuer(t), t.TempDir()
	ca.files(dir, "mx", ca.sign(&x509.Certificate{DNSNames: []string{"mx.example.org"}}))
	l := start(t, `ca "corp" cert "`+ca.file+`"
pki mx.example.org cert "`+dir+`/mx.pem" key "`+dir+`/mx.key"
listen on 127.0.0.1 port PORT smtps verify ca "corp" pki mx.example.org
action "local" maildir userbase <people>
match from any for any action "local"
`)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := &tls.Config{ServerName: "mx.example.org", RootCAs: ca.pool(), MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1),
			Certificates: []tls.Certificate{ca.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "client.test"}})}}
		for _, resumed := range []bool{false, true} {
			from := l.log.len()
			c, err := gosmtp.DialTLS(l.addr, config)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Noop(); err != nil {
				t.Fatal(err)
			}
			if state, _ := c.TLSConnectionState(); state.DidResume != resumed {
				t.Errorf("%s: resumed is %v, want %v", tls.VersionName(version), state.DidResume, resumed)
			}
			if err := c.Quit(); err != nil {
				t.Fatal(err)
			}
			l.log.wait(t, from, `smtp cert-check result="verified" .* subject="CN=client.test"`)
		}
	}
}
