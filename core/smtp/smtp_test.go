package smtp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/trace"
)

// mail is what the sample backend took.
type mail struct {
	from string
	to   []string
	body string
	opts []gosmtp.RcptOptions
	env  gosmtp.MailOptions
}

// sample is a backend that uses every further interface.
type sample struct {
	mu    sync.Mutex
	mails []mail
	log   []string // calls and ends
	open  int

	plain  bool                           // sessions are of go-smtp's kind
	auth   bool                           // sessions offer AUTH
	scram  bool                           // and SCRAM
	hold   func()                         // called in NewSession
	refuse func(where, what string) error // for all methods
}

func (b *sample) NewSession(c *Conn) (gosmtp.Session, error) {
	if b.hold != nil {
		b.hold()
	}
	b.note("open")
	b.mu.Lock()
	b.open++
	b.mu.Unlock()
	s := &sampleSession{b: b}
	if b.plain {
		return plainSession{s}, nil
	}
	return s, b.ask("connect", "")
}

func (b *sample) note(s string) {
	b.mu.Lock()
	b.log = append(b.log, s)
	b.mu.Unlock()
}

func (b *sample) ask(where, what string) error {
	if b.refuse == nil {
		return nil
	}
	return b.refuse(where, what)
}

func (b *sample) taken() []mail {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]mail(nil), b.mails...)
}

// plainSession hides what go-smtp does not know.
type plainSession struct{ gosmtp.Session }

type sampleSession struct {
	b   *sample
	cur mail
}

func (s *sampleSession) Reset() { s.cur = mail{} }
func (s *sampleSession) Logout() error {
	s.b.mu.Lock()
	s.b.open--
	s.b.mu.Unlock()
	return nil
}
func (s *sampleSession) Mail(from string, o *gosmtp.MailOptions) error {
	s.cur = mail{from: from, env: *o}
	return s.b.ask("mail", from)
}
func (s *sampleSession) Rcpt(to string, o *gosmtp.RcptOptions) error {
	if err := s.b.ask("rcpt", to); err != nil {
		return err
	}
	s.cur.to = append(s.cur.to, to)
	s.cur.opts = append(s.cur.opts, *o)
	return nil
}
func (s *sampleSession) take(body string) error {
	if err := s.b.ask("commit", ""); err != nil {
		return err
	}
	s.cur.body = body
	s.b.mu.Lock()
	s.b.mails = append(s.b.mails, s.cur)
	s.b.mu.Unlock()
	return &gosmtp.SMTPError{Code: 250, EnhancedCode: gosmtp.EnhancedCode{2, 0, 0},
		Message: "0badcafe Message accepted for delivery"}
}
func (s *sampleSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return s.take(strings.ReplaceAll(string(b), "\r\n", "\n"))
}
func (s *sampleSession) Message(body *Body) error {
	var b bytes.Buffer
	if _, err := body.WriteTo(&b); err != nil {
		return err
	}
	return s.take(b.String())
}
func (s *sampleSession) Helo(name string, esmtp bool) error { return s.b.ask("helo", name) }
func (s *sampleSession) DataStart() error                   { return s.b.ask("data", "") }
func (s *sampleSession) Command(verb, arg string) error     { return s.b.ask(verb, arg) }
func (s *sampleSession) TLSStarted(tls.ConnectionState) error {
	return s.b.ask("tls", "")
}
func (s *sampleSession) AuthMechanisms() []string {
	if s.b.scram {
		return append(Mechanisms(), Scram)
	}
	if s.b.auth {
		return Mechanisms()
	}
	return nil
}
func (s *sampleSession) Auth(mech string) (sasl.Server, error) {
	if mech == Scram {
		return NewScram(s), nil
	}
	return NewMechanism(mech, s.authenticate), nil
}

// The exchange of RFC 7677 section 3, for user alone; "broken" cannot be looked up.
func (s *sampleSession) ScramFirst(user, message string) (string, error) {
	s.b.note("scram " + user)
	if user == "broken" {
		return "", errors.New("no table today")
	}
	return "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", nil
}
func (s *sampleSession) ScramFinal(message string) (string, error) {
	switch message {
	case "malformed":
		return "", MalformedAuth()
	case "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=":
		return "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", nil
	}
	return "", RefusedAuth()
}
func (s *sampleSession) ScramDone() { s.b.note("scram done") }

// authenticate knows one user; "broken" cannot be looked up.
func (s *sampleSession) authenticate(user, password string) error {
	s.b.note("auth " + user)
	switch {
	case user == "broken":
		return errors.New("no table today")
	case user != "ann" || password != "annpw":
		return RefusedAuth()
	}
	return nil
}
func (s *sampleSession) Host() (string, bool) { return "client.example.net", true }
func (s *sampleSession) End(reason string)    { s.b.note("end " + reason) }

// lines collects a log.
type lines struct {
	mu   sync.Mutex
	text []string
}

func (l *lines) Log(_ trace.Level, line string) {
	l.mu.Lock()
	l.text = append(l.text, line)
	l.mu.Unlock()
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.text, "\n")
}

// session is one that runs, with the client's end of its connection.
type session struct {
	net.Conn
	log  *lines
	done chan struct{}
}

func testPeer() Peer {
	return Peer{Remote: netip.MustParseAddrPort("127.0.0.10:4242"),
		Local: netip.MustParseAddrPort("127.0.0.1:25"), UID: -1}
}

// start runs a session over a real connection.
func start(t testing.TB, ctx context.Context, cfg *Config, b Backend, peer Peer) *session {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, ctx, client, server, cfg, b, peer)
}

// startOn runs a session over two ends; watch says what is logged.
func startOn(t testing.TB, ctx context.Context, client, server net.Conn, cfg *Config, b Backend, peer Peer, watch ...func(*trace.Logger)) *session {
	s := &session{Conn: client, log: &lines{}, done: make(chan struct{})}
	logger := trace.New(s.log)
	for _, f := range watch {
		f(logger)
	}
	go func() {
		defer close(s.done)
		Serve(ctx, server, peer, cfg, b, logger.NewTrace())
	}()
	client.SetDeadline(time.Now().Add(20 * time.Second)) // a hang fails the test
	t.Cleanup(func() {
		client.Close()
		<-s.done
	})
	return s
}

func testConfig() *Config {
	return &Config{Hostname: "mx1.example.org", Ident: "Godwit", MaxMessageSize: 36700160,
		MaxRcpt: 1000, MaxMails: 100, DSN: true}
}

// testTLS makes a certificate that lasts as long as the test.
func testTLS(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mx1.example.org"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}
