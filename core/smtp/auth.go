package smtp

import (
	"encoding/base64"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
)

const (
	textSyntax  = "Syntax error: Syntax error"
	textRefused = "Authentication failed"
)

// mechanisms gives what AUTH takes now: nothing in clear, where passwords could be read,
// and nothing once the client is authenticated.
func (c *Conn) mechanisms() []string {
	if !c.secured() || c.authenticated {
		return nil
	}
	return c.ofBackend()
}

func (c *Conn) ofBackend() []string {
	if s, ok := c.session.(gosmtp.AuthSession); ok {
		return s.AuthMechanisms()
	}
	return nil
}

// auth is RFC 4954 section 4.
func (c *Conn) auth(arg string) *gosmtp.SMTPError {
	mechanism, initial, _ := strings.Cut(arg, " ")
	mechanism, initial = strings.ToUpper(mechanism), strings.TrimLeft(initial, " ")
	if r := c.refuseAuth(mechanism); r != nil {
		return r
	}
	if !c.peer.Source.mayAuth() {
		return reply(454, 7, 0, "Too many failed logins from your address, try again later")
	}
	if _, r := c.filtered("AUTH", mechanism); r != nil {
		return r
	}
	server, err := c.session.(gosmtp.AuthSession).Auth(mechanism)
	if err != nil {
		return c.answer(err, nil)
	}
	r := c.exchange(server, initial)
	switch {
	case r == nil:
	case r.Code < 300:
		c.authenticated, c.authErrors = true, 0
	case r.Code == 535:
		c.authErrors++
		c.peer.Source.authFailed()
		c.delay()
	}
	return r
}

// refuseAuth says why there can be no exchange, if so.
func (c *Conn) refuseAuth(mechanism string) *gosmtp.SMTPError {
	offered := c.ofBackend()
	inClear := !c.secured()
	switch {
	case c.helo == "" || c.mail:
		return reply(503, 5, 1, textNotNow)
	case c.authenticated:
		return reply(503, 5, 1, "Invalid command: Already authenticated")
	case len(offered) == 0 || inClear && c.cfg.TLSConfig == nil:
		return reply(503, 5, 1, "Invalid command: Command not supported")
	case mechanism == "":
		return reply(501, 5, 4, "Invalid command arguments: No parameters given")
	case !slices.Contains(offered, mechanism):
		name := ""
		if knownMechanism(mechanism) { // any other word may be a password, and replies are logged
			name = ` "` + mechanism + `"`
		}
		return reply(504, 5, 4, "Invalid command arguments: AUTH method"+name+" not supported")
	case inClear:
		return reply(538, 7, 11, "Encryption required for requested authentication mechanism")
	}
	return nil
}

// exchange carries challenges and responses. The reply is nil when the connection is
// gone.
func (c *Conn) exchange(server sasl.Server, initial string) *gosmtp.SMTPError {
	var response []byte
	if initial != "" {
		var ok bool
		if response, ok = decodeResponse(initial); !ok {
			return reply(501, 5, 2, textSyntax)
		}
	}
	for {
		challenge, done, err := server.Next(response)
		switch {
		case err != nil:
			return c.authAnswer(err)
		case done:
			return reply(235, 7, 0, "Authentication succeeded")
		}
		c.appendReply(plainReply(334, base64.StdEncoding.EncodeToString(challenge)))
		line, err := c.readLine(maxAuthLine, 0)
		if err != nil {
			c.readFailed(err)
			return nil
		}
		c.seen("(...)")
		if string(line) == "*" {
			return reply(501, 0, 0, "Authentication cancelled")
		}
		var ok bool
		if response, ok = decodeResponse(string(line)); !ok {
			return reply(501, 5, 2, textSyntax)
		}
	}
}

// authAnswer gives the reply to an error of a mechanism. One that is no reply is told as
// go-smtp does: nobody knows who is to blame.
func (c *Conn) authAnswer(err error) *gosmtp.SMTPError {
	if r := c.answer(err, nil); isReply(err) {
		return r
	}
	return reply(454, 7, 0, "Temporary authentication failure")
}

// decodeResponse reads base64. "=" is the response of no octets (RFC 4954 section 4),
// which differs from having none.
func decodeResponse(text string) ([]byte, bool) {
	if text == "=" {
		return []byte{}, true
	}
	b := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Strict().Decode(b, []byte(text))
	return b[:n], err == nil
}

// delay makes guessing slow, and hides how long the answer took. Only this session waits.
func (c *Conn) delay() {
	if c.cfg.AuthDelay <= 0 {
		return
	}
	timer := time.NewTimer(rand.N(c.cfg.AuthDelay))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.ctx.Done():
	}
}
