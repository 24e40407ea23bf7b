package smtp

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	gosmtp "github.com/emersion/go-smtp"
)

// startTLS is RFC 3207 section 4. Octets that came in clear behind the command would be
// taken for commands that came encrypted: the session ends instead.
func (c *Conn) startTLS(arg string) *gosmtp.SMTPError {
	_, secured := c.conn.(*tls.Conn)
	switch {
	case c.helo == "" || c.chunking:
		return reply(503, 5, 1, textNotNow)
	case secured:
		return reply(503, 5, 1, "Invalid command: Channel already secured")
	case c.cfg.TLSConfig == nil:
		return reply(503, 5, 1, "Invalid command: Command not supported")
	case arg != "":
		return reply(501, 5, 4, textNoArguments)
	case c.in.r < c.in.w:
		c.hang("bad-input")
		return reply(501, 5, 1, "Invalid command: Pipelining not allowed after STARTTLS")
	}
	if r := c.hook("STARTTLS", "", nil); r != nil && r.Code >= 300 {
		return r
	}
	c.appendReply(reply(220, 0, 0, "Ready to start TLS"))
	if err := c.flush(); err != nil {
		c.hang(ioReason(err))
		return nil
	}
	c.reset()
	c.helo, c.esmtp = "", false
	if err := c.handshake(); err != nil {
		c.hang(tlsReason(err))
		return nil
	}
	if s, ok := c.session.(TLSSession); ok {
		if err := s.TLSStarted(c.conn.(*tls.Conn).ConnectionState()); err != nil {
			c.hang("closed")
			return c.answer(err, nil)
		}
	}
	return nil
}

// handshake puts TLS over the socket. It has one deadline in all, so that a client cannot
// stretch it octet by octet. After a failure nothing may be sent any more.
func (c *Conn) handshake() error {
	if c.cfg.TLSConfig == nil {
		return errors.New("no TLS configuration")
	}
	deadline := time.Now().Add(min(c.commandTime(), handshakeMost))
	if err := c.raw.SetDeadline(deadline); err != nil {
		return err
	}
	c.in.Drop()
	conn := tls.Server(c.raw, c.cfg.TLSConfig)
	if err := c.shake(conn); err != nil {
		c.out = c.out[:0]
		return err
	}
	c.conn = conn
	c.tellTLS()
	return nil
}

// tellTLS logs what the handshake came to.
func (c *Conn) tellTLS() {
	state := c.TLS()
	c.t.Debugf("smtp: tls sni=%q resumed=%t certificates=%d", state.ServerName, state.DidResume, len(state.PeerCertificates))
	c.tell("smtp tls ciphers=%s", TLSText(state))
	if cert := VerifiedCert(state); cert != nil {
		c.tell("smtp cert-check result=\"verified\" fingerprint=\"SHA256:%x\" subject=%q", sha256.Sum256(cert.Raw), CertText(cert))
	}
}

// shake runs a handshake in a goroutine of its own: the large stack that it needs would stay with
// the session for as long as it lasts.
func (c *Conn) shake(conn *tls.Conn) error {
	err := errors.New("panic")
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.guard(func() { err = conn.HandshakeContext(context.WithoutCancel(c.ctx)) })
	}()
	<-done
	return err
}

// ClientCert gives the certificate that the client showed and that was verified against
// the authorities of the listener; nil without one.
func (c *Conn) ClientCert() *x509.Certificate {
	if state := c.TLS(); state != nil {
		return VerifiedCert(state)
	}
	return nil
}

// VerifiedCert gives the certificate of the other end if it was verified, otherwise nil.
func VerifiedCert(state *tls.ConnectionState) *x509.Certificate {
	if len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return nil
	}
	return state.VerifiedChains[0][0]
}

// CertText names the holder of a certificate: the subject, or when that is empty the first
// of the alternative names.
func CertText(cert *x509.Certificate) string {
	switch {
	case len(cert.Subject.Names) > 0:
		return cert.Subject.String()
	case len(cert.DNSNames) > 0:
		return cert.DNSNames[0]
	case len(cert.EmailAddresses) > 0:
		return cert.EmailAddresses[0]
	}
	return "serial number " + cert.SerialNumber.String()
}

func tlsReason(err error) string {
	if errors.Is(err, io.EOF) {
		return "disconnect"
	}
	return fmt.Sprintf("%q", "io-error: handshake failed: "+err.Error())
}

// TLSText describes an encrypted connection as "TLSv1.3:TLS_AES_128_GCM_SHA256:128":
// version, cipher suite, strength in bits.
func TLSText(state *tls.ConnectionState) string {
	version := strings.Replace(tls.VersionName(state.Version), "TLS ", "TLSv", 1)
	suite := tls.CipherSuiteName(state.CipherSuite)
	bits := 0
	switch {
	case strings.Contains(suite, "AES_256"), strings.Contains(suite, "CHACHA20"):
		bits = 256
	case strings.Contains(suite, "AES_128"), strings.Contains(suite, "RC4_128"):
		bits = 128
	case strings.Contains(suite, "3DES"):
		bits = 112
	}
	return fmt.Sprintf("%s:%s:%d", version, suite, bits)
}
