package mta

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-sasl"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/filter"
	"github.com/godwit-mta/godwit/core/trace"
)

// peer is a server that is ready to take messages.
type peer interface {
	// send hands a transaction over and gives the one that was begun after it, if any. An
	// error means that the connection is of no use any more.
	send(tx *transaction, sender func(*Message) address.Address, next func() *transaction) (*transaction, error)
	quit()         // ends the session politely and closes the connection
	close()        // closes the connection
	closed() *fate // what the server said when it is about to close the connection
	noDSN() bool   // the server does not know RFC 3461
	final() bool   // mail ends there
}

// Errors of a session that could not begin.
var (
	errInjection  = errors.New("server sent data before the TLS handshake")
	errNoTLS      = errors.New("TLS required but not supported by remote host")
	errNoAuth     = errors.New("AUTH not advertised")
	errAuthPlain  = errors.New("AUTH needs TLS")
	errAuthMech   = errors.New("no supported AUTH mechanism")
	errPolicy     = errors.New("TLS is both required and forbidden")
	errHandshake  = errors.New("TLS handshake failed")
	errTLSRefused = errors.New("STARTTLS refused")
)

// opener holds what is needed to bring one connection to the point where it takes mail.
type opener struct {
	relay  *Relay
	times  Timeouts
	host   string // the name that the certificate must have
	helo   string
	tr     *trace.Trace
	smtps  bool // TLS from the first byte
	noTLS  bool // a handshake failed before, and may be done without
	secure bool
	policy serverPolicy
	// filters are nil without any.
	filters *onlooker

	peerName string // as the server says it
	badCert  error  // what is wrong with its certificate, also where that is only tried out
	badTLS   error  // a handshake that failed otherwise
}

// demand says whether TLS must be had and whether the certificate must be good.
func (o *opener) demand() (required, verified bool, err error) {
	means, _ := o.relay.URL.scheme().traits()
	required = o.relay.RequireTLS || means.required || o.policy.required
	if required && means.never {
		return false, false, errPolicy
	}
	return required, (o.relay.RequireTLS || means.verified || o.policy.verified) && !o.relay.NoVerify, nil
}

// open does everything from the greeting on. It closes conn when it fails.
func (o *opener) open(ctx context.Context, conn net.Conn) (peer, error) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	required, verified, err := o.demand()
	var p peer
	switch {
	case err != nil:
	case o.relay.URL.scheme() == LMTP && o.filters != nil:
		err = &policyError{"filters", errFilterLMTP}
	case o.relay.URL.scheme() == LMTP && o.relay.Auth != nil:
		err = errAuthPlain
	case o.relay.URL.scheme() == LMTP:
		p, err = openLMTP(conn, o.helo, o.times)
	default:
		p, err = o.openSMTP(ctx, conn, required, verified)
	}
	if err != nil {
		conn.Close()
		return nil, o.strictly(err)
	}
	return p, nil
}

func (o *opener) openSMTP(ctx context.Context, conn net.Conn, required, verified bool) (*client, error) {
	if o.smtps {
		tc, err := o.handshake(ctx, conn, verified)
		if err != nil {
			return nil, err
		}
		conn = tc
	}
	c := newClient(conn, o.times)
	c.tr, c.filters = o.tr, o.filters
	r, err := c.reply(o.times.Command)
	if err != nil {
		return nil, err
	}
	if r.class() != 2 {
		return nil, &refusal{r}
	}
	name, _, _ := strings.Cut(r.lines[0], " ")
	o.filters.report(filter.LinkGreeting, name)
	if err := c.helo(o.helo, required || o.relay.Auth != nil); err != nil {
		return nil, err
	}
	o.peerName = c.ext.name
	if !o.secure {
		if c, err = o.upgrade(ctx, c, required, verified); err != nil {
			return nil, err
		}
	}
	if o.relay.Strict && !c.ext.requireTLS {
		c.quit()
		return nil, errNoRequireTLS
	}
	if o.relay.Auth != nil {
		if err := o.authenticate(c); err != nil {
			return nil, err
		}
		c.known = true
	}
	return c, nil
}

// upgrade does STARTTLS (RFC 3207) when the server has it and the policy wants it.
func (o *opener) upgrade(ctx context.Context, c *client, required, verified bool) (*client, error) {
	if !required && (o.noTLS || o.relay.URL.scheme() == SMTPNoTLS) {
		return c, nil
	}
	if !c.ext.startTLS {
		if required {
			c.quit()
			return nil, errNoTLS
		}
		return c, nil
	}
	r, err := c.ask(o.times.Command, "STARTTLS")
	switch {
	case err != nil:
		return nil, err
	case c.closing != nil:
		return nil, &refusal{r}
	case r.class() == 4 && o.relay.Strict:
		return nil, &refusal{r}
	case r.class() != 2 && required:
		return nil, fmt.Errorf("%w: %s", errTLSRefused, r.text())
	case r.class() != 2:
		return c, nil
	case c.br.Buffered() > 0:
		// Whoever sits between could have put replies there that would be read as if they
		// had come over TLS.
		return nil, errInjection
	}
	conn, err := o.handshake(ctx, c.conn.Conn, verified)
	if err != nil {
		return nil, err
	}
	// Nothing said before counts any more, https://www.rfc-editor.org/rfc/rfc3207#section-4.2
	c = newClient(conn, o.times)
	c.tr, c.filters = o.tr, o.filters
	return c, c.helo(o.helo, true)
}

func (o *opener) handshake(ctx context.Context, conn net.Conn, verified bool) (net.Conn, error) {
	cfg := &tls.Config{}
	if o.relay.TLSConfig != nil {
		cfg = o.relay.TLSConfig.Clone()
	}
	cfg.ServerName = o.host
	// A certificate that nobody demanded is not looked at: mail would otherwise go in clear.
	cfg.InsecureSkipVerify = !verified
	verified = o.policy.apply(cfg) || verified
	ctx, cancel := context.WithTimeout(ctx, o.times.TLS)
	defer cancel()
	if err := conn.SetDeadline(time.Now().Add(o.times.TLS)); err != nil {
		return nil, err
	}
	tc := tls.Client(conn, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		var unverified *tls.CertificateVerificationError
		if errors.As(err, &unverified) {
			o.badCert = unverified.Err
			return nil, fmt.Errorf("%w: %w: %s", errHandshake, errCertificate, clean(unverified.Err.Error()))
		}
		o.badTLS = err
		return nil, fmt.Errorf("%w: %s", errHandshake, clean(err.Error()))
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	o.secure = true
	if err := o.policy.try(o.tr, o.host, tc.ConnectionState(), cfg.RootCAs); err != nil {
		o.badCert = err
	}
	o.filters.report(filter.LinkTLS, cipherText(tc.ConnectionState()))
	o.logTLS(tc.ConnectionState(), verified)
	return tc, nil
}

func (o *opener) logTLS(s tls.ConnectionState, verified bool) {
	o.tr.Infof("mta tls ciphers=%s", cipherText(s))
	if len(s.PeerCertificates) == 0 {
		return
	}
	result := "unverified"
	if verified {
		result = "valid"
	}
	by := ""
	if o.policy.name != "" {
		by = " policy=" + o.policy.name
	}
	o.tr.Infof("mta cert-check result=%q fingerprint=\"SHA256:%x\"%s", result, sha256.Sum256(s.PeerCertificates[0].Raw), by)
}

// cipherText gives VERSION:CIPHER:BITS.
func cipherText(s tls.ConnectionState) string {
	bits := 128
	switch s.CipherSuite {
	case tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_RSA_WITH_AES_256_CBC_SHA:
		bits = 256
	}
	version := map[uint16]string{tls.VersionTLS10: "TLSv1", tls.VersionTLS11: "TLSv1.1",
		tls.VersionTLS12: "TLSv1.2", tls.VersionTLS13: "TLSv1.3"}[s.Version]
	return fmt.Sprintf("%s:%s:%d", version, tls.CipherSuiteName(s.CipherSuite), bits)
}

// maxAuthCommand is how long a mechanism and its initial response may be together, in octets: with
// "AUTH", two blanks and the line end that makes 512.
const maxAuthCommand = 504

// authenticate does AUTH (RFC 4954), never in clear.
func (o *opener) authenticate(c *client) error {
	if !o.secure {
		return authError{errAuthPlain}
	}
	var mech sasl.Client
	switch {
	case len(c.ext.auth) == 0:
		return authError{errNoAuth}
	case slices.Contains(c.ext.auth, "PLAIN"):
		mech = sasl.NewPlainClient("", o.relay.Auth.User, o.relay.Auth.Password)
	case slices.Contains(c.ext.auth, "LOGIN"):
		mech = &loginClient{answers: []string{o.relay.Auth.User, o.relay.Auth.Password}}
	default:
		return authError{errAuthMech}
	}
	name, first, err := mech.Start()
	if err != nil {
		return err
	}
	c.auth = true
	defer func() { c.auth = false }()
	parts := []string{"AUTH ", name}
	late := first // https://www.rfc-editor.org/rfc/rfc4954#section-4: the line is not to be longer than others
	if text := base64.StdEncoding.EncodeToString(first); first != nil && len(name)+len(text) <= maxAuthCommand {
		parts, late = append(parts, " ", text), nil
	}
	r, err := c.ask(o.times.Command, parts...)
	for step := 0; err == nil && r.code == 334; step++ {
		if step == 3 || len(r.lines) != 1 {
			return errSequence
		}
		var challenge, answer []byte
		if challenge, err = base64.StdEncoding.DecodeString(r.lines[0]); err != nil {
			return errReplySyntax
		}
		if late != nil {
			answer, late = late, nil
		} else if answer, err = mech.Next(challenge); err != nil {
			return errReplySyntax // the error quotes the challenge, which may be anything
		}
		r, err = c.ask(o.times.Command, base64.StdEncoding.EncodeToString(answer))
	}
	if err == nil {
		o.filters.report(filter.LinkAuth, authWord(r), o.relay.Auth.User)
	}
	if err == nil && r.class() != 2 {
		return authError{&refusal{r.without(base64.StdEncoding.EncodeToString(first), o.relay.Auth.Password,
			base64.StdEncoding.EncodeToString([]byte(o.relay.Auth.Password)))}}
	}
	return err
}

// loginClient is AUTH LOGIN without an initial response, which some servers do not take, and
// whatever the prompts say.
type loginClient struct{ answers []string }

func (*loginClient) Start() (string, []byte, error) { return "LOGIN", nil, nil }

func (l *loginClient) Next([]byte) ([]byte, error) {
	if len(l.answers) == 0 {
		return nil, sasl.ErrUnexpectedServerChallenge
	}
	answer := l.answers[0]
	l.answers = l.answers[1:]
	return []byte(answer), nil
}
