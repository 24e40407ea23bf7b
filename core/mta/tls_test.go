package mta

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/trace"
)

// certificate makes a certificate for names that its own pool trusts.
func certificate(t testing.TB, names ...string) (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// startMaybeTLS starts the server, with STARTTLS if it has a certificate.
func (s *sink) startMaybeTLS(t testing.TB, cert *tls.Certificate) string {
	t.Helper()
	if cert != nil {
		return s.startTLS(t, *cert)
	}
	return s.start(t, nil)
}

func (s *sink) startTLS(t testing.TB, cert tls.Certificate) string {
	return s.startWith(t, &tls.Config{Certificates: []tls.Certificate{cert}})
}

func (s *sink) startWith(t testing.TB, c *tls.Config) string {
	return s.start(t, func(srv *gosmtp.Server) { srv.TLSConfig = c })
}

// startStrict offers REQUIRETLS as well.
func (s *sink) startStrict(t testing.TB, cert tls.Certificate) string {
	return s.start(t, func(srv *gosmtp.Server) {
		srv.TLSConfig, srv.EnableREQUIRETLS = &tls.Config{Certificates: []tls.Certificate{cert}}, true
	})
}

func TestTLSPolicies(t *testing.T) {
	good, pool := certificate(t, "mx1.example")
	other, otherPool := certificate(t, "other.example")
	pool = pool.Clone()
	roots := &tls.Config{RootCAs: pool}
	otherRoots := &tls.Config{RootCAs: otherPool}
	tests := []struct {
		name   string
		relay  Relay
		cert   *tls.Certificate
		status envelope.Status
		logged string
	}{
		{"opportunistic, no TLS", Relay{}, nil, envelope.Delivered, ""},
		{"opportunistic, unknown certificate", Relay{}, &other, envelope.Delivered, `cert-check result="unverified" fingerprint="SHA256:`},
		{"never", Relay{URL: URL{Scheme: SMTPNoTLS}}, &good, envelope.Delivered, ""},
		{"required, good", Relay{RequireTLS: true, TLSConfig: roots}, &good, envelope.Delivered, `cert-check result="valid"`},
		{"required by scheme", Relay{URL: URL{Scheme: SMTPTLS}, TLSConfig: roots}, &good, envelope.Delivered, `cert-check result="valid"`},
		{"required, none", Relay{RequireTLS: true, TLSConfig: roots}, nil, envelope.TempFail, "TLS required but not supported"},
		{"required, unknown", Relay{RequireTLS: true, TLSConfig: roots}, &other, envelope.TempFail, "TLS handshake failed"},
		{"required, other name", Relay{RequireTLS: true, TLSConfig: otherRoots}, &other, envelope.TempFail, "TLS handshake failed"},
		{"required, not verified", Relay{RequireTLS: true, NoVerify: true}, &other, envelope.Delivered, `cert-check result="unverified"`},
		{"contradiction", Relay{RequireTLS: true, URL: URL{Scheme: SMTPNoTLS}}, &good, envelope.TempFail, "both required and forbidden"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &sink{}
			b := newBench(t, nil)
			b.domain("example.com", s.startMaybeTLS(t, tt.cert))
			r := b.one(&tt.relay, "x\n", "u@example.com")
			if r.Status != tt.status || !b.log.has(tt.logged) {
				t.Errorf("%+v", r)
			}
			if encrypted := b.log.has("mta tls ciphers=TLSv1.3:TLS_"); r.Status == envelope.Delivered &&
				encrypted != (tt.cert != nil && tt.relay.URL.Scheme != SMTPNoTLS) {
				t.Errorf("encrypted: %t", encrypted)
			}
			if tt.status != envelope.Delivered && len(s.taken()) != 0 {
				t.Error("the message was sent")
			}
		})
	}
}

func TestSMTPS(t *testing.T) {
	cert, pool := certificate(t, "smart.example")
	s := &sink{}
	srv := gosmtp.NewServer(s)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	b := newBench(t, nil)
	b.net.to[addr1] = l.Addr().String()
	b.resolver.mx["x"] = nil
	opts := &Relay{Name: "s", URL: URL{Scheme: SMTPS, Host: addr1.String()}, TLSConfig: &tls.Config{RootCAs: pool}}
	if r := b.one(opts, "x\n", "u@example.com"); r.Status != envelope.TempFail {
		t.Errorf("certificate for another name: %+v", r)
	}
	b = newBench(t, nil)
	b.net.to[addr1] = l.Addr().String()
	b.resolver.hosts["smart.example"] = append(b.resolver.hosts["smart.example"], addr1)
	opts = &Relay{Name: "s", URL: URL{Scheme: SMTPS, Host: "smart.example"}, TLSConfig: &tls.Config{RootCAs: pool}}
	if r := b.one(opts, "x\n", "u@example.com"); r.Status != envelope.Delivered {
		t.Errorf("%+v", r)
	}
}

// afterStartTLS is a server that goes wrong after its 220 to STARTTLS.
func afterStartTLS(t *testing.T, wrong func(c *script)) string {
	return scripted(t, func(c *script, _ int) {
		started := false
		c.serve([]string{"STARTTLS"}, func(cmd string) string {
			if cmd == "STARTTLS" {
				started = true
				wrong(c)
				return "-"
			}
			if started {
				return "-"
			}
			return ""
		})
	})
}

func TestFailedHandshake(t *testing.T) {
	for name, wrong := range map[string]func(*script){
		"garbage": func(c *script) { c.say("220 go"); c.r.ReadByte(); io.WriteString(c, "this is not TLS, not at all\r\n") },
		"closed":  func(c *script) { c.say("220 go") },
	} {
		b := newBench(t, nil)
		b.domain("example.com", afterStartTLS(t, wrong))
		if r := b.one(defaultRelay, "x\n", "u@example.com"); r.Status != envelope.Delivered || !b.log.has("downgrading to plain") {
			t.Errorf("%s: opportunistic: %+v", name, r)
		}
		if n := b.net.count(addr1); n != 2 {
			t.Errorf("%s: %d connections", name, n)
		}
		b = newBench(t, nil)
		b.domain("example.com", afterStartTLS(t, wrong))
		if r := b.one(&Relay{RequireTLS: true, NoVerify: true}, "x\n", "u@example.com"); r.Status != envelope.TempFail {
			t.Errorf("%s: mandatory: %+v", name, r)
		}
		if n := b.net.count(addr1); n != 1 {
			t.Errorf("%s: %d connections", name, n)
		}
	}
}

func TestSTARTTLSRefused(t *testing.T) {
	addr := scripted(t, func(c *script, _ int) {
		c.serve([]string{"STARTTLS"}, func(cmd string) string {
			if cmd == "STARTTLS" {
				return "454 4.7.0 not now"
			}
			return ""
		})
	})
	b := newBench(t, nil)
	b.domain("example.com", addr)
	if r := b.one(defaultRelay, "x\n", "u@example.com"); r.Status != envelope.Delivered {
		t.Errorf("%+v", r)
	}
	b = newBench(t, nil)
	b.domain("example.com", addr)
	if r := b.one(&Relay{RequireTLS: true, NoVerify: true}, "x\n", "u@example.com"); r.Status != envelope.TempFail || !strings.Contains(r.Text, "454 4.7.0 not now") {
		t.Errorf("%+v", r)
	}
}

func TestInjectionAfterSTARTTLS(t *testing.T) {
	for _, required := range []bool{false, true} {
		b := newBench(t, nil)
		b.domain("example.com", afterStartTLS(t, func(c *script) {
			io.WriteString(c, "220 ready\r\n250-evil\r\n250 X\r\n")
			c.r.ReadByte()
		}))
		r := b.one(&Relay{RequireTLS: required, NoVerify: true}, "x\n", "u@example.com")
		if r.Status != envelope.TempFail || !strings.Contains(r.Text, "before the TLS handshake") || b.net.count(addr1) != 1 {
			t.Errorf("required %t: %+v", required, r)
		}
	}
}

// TestEHLOChangesAfterTLS: what was said in clear does not count any more.
func TestEHLOChangesAfterTLS(t *testing.T) {
	cert, _ := certificate(t, "mx1.example")
	cmds := make(chan string, 100)
	addr := scripted(t, func(c *script, _ int) {
		c.say("220 x")
		c.line()
		c.say("250-x", "250-STARTTLS", "250-PIPELINING", "250-DSN", "250 SIZE 1")
		c.line()
		c.say("220 go")
		tc := tls.Server(c.Conn, &tls.Config{Certificates: []tls.Certificate{cert}})
		in := &script{net.Conn(tc), nil}
		in.r = bufio.NewReader(tc)
		for cmd := in.line(); cmd != ""; cmd = in.line() {
			cmds <- cmd
			switch {
			case cmd == "DATA":
				in.say("354 go")
				in.body()
				fallthrough
			default:
				in.say("250 ok")
			}
		}
	})
	b := newBench(t, nil)
	b.domain("example.com", addr)
	msg := b.message("larger than one octet\n", "u@example.com")
	msg.Ret = "FULL"
	b.Submit(msg, defaultRelay)
	for _, r := range b.wait(1) {
		if r.Status != envelope.Delivered || !r.NoDSN {
			t.Errorf("%+v", r)
		}
	}
	if e, m := <-cmds, <-cmds; e != "EHLO us.example" || m != "MAIL FROM:<sender@us.example>" {
		t.Errorf("%q %q", e, m)
	}
}

func (ss *sinkSession) AuthMechanisms() []string {
	if ss.s.password == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (ss *sinkSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "me" || password != ss.s.password {
			return gosmtp.ErrAuthFailed
		}
		return nil
	}), nil
}

func TestAuth(t *testing.T) {
	cert, pool := certificate(t, "mx1.example")
	tests := []struct {
		name     string
		password string
		tls      bool
		status   envelope.Status
		text     string
	}{
		{"good", "secret", true, envelope.Delivered, "250"},
		{"wrong password", "guess", true, envelope.TempFail, "535"},
		{"in clear", "secret", false, envelope.TempFail, "AUTH needs TLS"},
	}
	for _, tt := range tests {
		s := &sink{password: "secret"}
		b := newBench(t, func(c *Config) { c.Log.SetTraced(trace.All); c.Log.SetVerbose(true) })
		if tt.tls {
			b.domain("example.com", s.startTLS(t, cert))
		} else {
			b.domain("example.com", s.start(t, func(srv *gosmtp.Server) { srv.AllowInsecureAuth = true }))
		}
		r := b.one(&Relay{Auth: &Credentials{"me", tt.password}, TLSConfig: &tls.Config{RootCAs: pool}}, "x\n", "u@example.com")
		if r.Status != tt.status || !strings.Contains(r.Text, tt.text) {
			t.Errorf("%s: %+v", tt.name, r)
		}
		for _, secret := range []string{tt.password, base64.StdEncoding.EncodeToString([]byte("\x00me\x00" + tt.password))} {
			if b.log.has(secret) {
				t.Errorf("%s: %s is in the log", tt.name, secret)
			}
		}
		if b.log.has(": >>> MAIL ") && !b.log.has(" AUTH=<>") {
			t.Errorf("%s: MAIL without AUTH=<>\n%s", tt.name, b.log)
		}
		if said := b.log.has(": >>> AUTH PLAIN (...)"); said != tt.tls || !b.log.has(": >>> EHLO us.example") || !b.log.has(": <<< 250-") {
			t.Errorf("%s: trace\n%s", tt.name, b.log)
		}
	}
	s := &sink{}
	b := newBench(t, nil)
	b.domain("example.com", s.startTLS(t, cert))
	if r := b.one(&Relay{Auth: &Credentials{"me", "x"}, TLSConfig: &tls.Config{RootCAs: pool}}, "x\n", "u@example.com"); r.Text != "AUTH not advertised" {
		t.Errorf("%+v", r)
	}
}

func TestAuthLogin(t *testing.T) {
	a, c := net.Pipe()
	go func() {
		s := &script{c, bufio.NewReader(c)}
		defer c.Close()
		want := []string{"AUTH LOGIN", "bWU=", "c2VjcmV0"}
		replies := []string{"334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 2.7.0 ok"}
		for i := range want {
			if got := s.line(); !strings.HasPrefix(got, want[i]) {
				s.say("535 5.7.8 " + got)
				return
			}
			s.say(replies[i])
		}
	}()
	cl := newClient(a, Timeouts{}.withDefaults())
	log := &logSink{}
	traced := trace.New(log)
	traced.SetTraced(trace.MTA)
	cl.tr = traced.NewTrace()
	cl.ext.auth = []string{"CRAM-MD5", "LOGIN"}
	o := opener{relay: &Relay{Auth: &Credentials{"me", "secret"}}, times: cl.times, secure: true}
	if err := o.authenticate(cl); err != nil {
		t.Error(err)
	}
	if log.has("c2VjcmV0") || log.has("bWU=") || log.has("VXNl") || !log.has(">>> AUTH LOGIN (...)") || !log.has("<<< 235 (...)") {
		t.Errorf("trace\n%s", log)
	}
}

// A first message that is too long for a command line follows the challenge.
func TestAuthLong(t *testing.T) {
	for _, n := range []int{360, 361, 2000} {
		password := strings.Repeat("p", n)
		first := base64.StdEncoding.EncodeToString([]byte("\x00me\x00" + password))
		a, c := net.Pipe()
		said := make(chan []string, 1)
		go func() {
			defer c.Close()
			s := &script{c, bufio.NewReader(c)}
			lines := []string{s.line()}
			if !strings.Contains(strings.TrimPrefix(lines[0], "AUTH PLAIN"), " ") {
				s.say("334 ")
				lines = append(lines, s.line())
			}
			said <- lines
			s.say("235 2.7.0 ok")
		}()
		cl := newClient(a, Timeouts{}.withDefaults())
		cl.ext.auth = []string{"PLAIN"}
		o := opener{relay: &Relay{Auth: &Credentials{"me", password}}, times: cl.times, secure: true}
		if err := o.authenticate(cl); err != nil {
			t.Error(err)
		}
		lines := <-said
		whole := "AUTH PLAIN " + first
		if len(whole)+2 <= 512 && strings.TrimSpace(lines[0]) != whole || len(whole)+2 > 512 && (len(lines) != 2 || strings.TrimSpace(lines[1]) != first) {
			t.Errorf("%d octets: %.600q", len(whole)+2, lines)
		}
	}
}
