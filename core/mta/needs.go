package mta

import (
	"bytes"
	"crypto/tls"
	"errors"
	"slices"
	"unicode/utf8"

	"github.com/godwit-mta/godwit/core/envelope"
)

// A message may only go to a server that takes what it has: octets beyond ASCII (8BITMIME),
// addresses and headers in UTF-8 (SMTPUTF8), the wish not to travel in clear (REQUIRETLS).
// What a server lacks is not left out and nothing is rewritten: the sender gets a notice.

// Errors of a server that a message with REQUIRETLS cannot go to.
var (
	errNoRequireTLS = errors.New("REQUIRETLS not supported by remote host")
	errNotValidated = errors.New("REQUIRETLS: the mail exchangers are not validated by DNSSEC or MTA-STS")
	errCertificate  = errors.New("certificate not valid")
)

// strictError says that a server does not do what REQUIRETLS asks for. It says nothing about
// the route, which is good for other messages.
type strictError struct{ error }

func (e strictError) Unwrap() error { return e.error }

// strictFate is permanent: https://www.rfc-editor.org/rfc/rfc8689#section-4.2.1
func strictFate(text string) fate {
	return fate{status: envelope.PermFail, text: limitText(clean(text)), class: 5, code: 730}
}

// strict gives the relay for messages with REQUIRETLS: TLS that is verified, whatever the
// action says. They have connections of their own.
func (r *Relay) strict() *Relay {
	own := *r
	own.RequireTLS, own.NoVerify, own.Strict = true, false, true
	return &own
}

// strictly marks the errors that a message with REQUIRETLS must not outlast by waiting.
func (o *opener) strictly(err error) error {
	if err == nil || !o.relay.Strict {
		return err
	}
	final := []error{errNoTLS, errTLSRefused, errPolicy, errCertificate, errNoRequireTLS}
	if slices.ContainsFunc(final, func(e error) bool { return errors.Is(err, e) }) {
		return strictError{err}
	}
	return err
}

// secured reports whether the connection is encrypted.
func (c *client) secured() bool {
	_, ok := c.tlsState()
	return ok
}

func (c *client) tlsState() (tls.ConnectionState, bool) {
	conn, ok := c.conn.Conn.(*tls.Conn)
	if !ok {
		return tls.ConnectionState{}, false
	}
	return conn.ConnectionState(), true
}

// scan looks once for octets beyond ASCII, in the header section and anywhere. What cannot be
// read is found out when it is sent.
func (m *Message) scan() (header, any bool) {
	m.scanned.Do(func() {
		inHeader, blank := true, true // blank: at the start of a line
		_ = m.Body.chunks(func(p []byte) error {
			for inHeader && len(p) > 0 {
				if blank && p[0] == '\n' {
					inHeader = false
					break
				}
				line := p
				i := bytes.IndexByte(p, '\n')
				if blank = i >= 0; blank {
					line = p[:i+1]
				}
				m.header8 = m.header8 || has8bit(line)
				p = p[len(line):]
			}
			m.body8 = m.body8 || has8bit(p)
			return nil
		})
	})
	return m.header8, m.header8 || m.body8
}

func has8bit(b []byte) bool {
	return bytes.IndexFunc(b, func(r rune) bool { return r >= utf8.RuneSelf }) >= 0
}

// international reports whether the envelope of a transaction needs SMTPUTF8. All of its
// recipients do, or none: see enqueue.
func (tx *transaction) international(sender string) bool {
	return has8bit([]byte(sender)) || tx.rcpts[0].Dest.International()
}

func unfit(code uint16, text string) *fate {
	return &fate{status: envelope.PermFail, text: text, class: 5, code: code}
}

func noUTF8() *fate {
	return unfit(607, "SMTPUTF8 not supported by remote host: the address cannot be said")
}

// sendable says why a transaction must not be tried with this server, if so.
func (c *client) sendable(tx *transaction, sender string) *fate {
	if c.ext.size > 0 && tx.msg.Body.size() > c.ext.size {
		return unfit(304, "message too large for peer")
	}
	if !c.ext.utf8 {
		if tx.international(sender) {
			return noUTF8()
		}
		if tx.msg.UTF8 {
			if header, _ := tx.msg.scan(); header {
				return unfit(609, "SMTPUTF8 not supported by remote host: the header cannot be sent")
			}
		}
	}
	if !c.ext.eightBit {
		if _, any := tx.msg.scan(); any {
			return unfit(603, "8BITMIME not supported by remote host")
		}
	}
	return nil
}
