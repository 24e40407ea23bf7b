package smtp

import (
	"errors"
	"io"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/address"
)

func (c *Conn) mailFrom(arg string) *gosmtp.SMTPError {
	path, params, known, ok := splitPath(arg, "FROM:")
	switch {
	case !known:
		return reply(501, 5, 4, "Invalid command arguments: MAIL FROM:<address> expected")
	case c.helo == "" || c.mail:
		return reply(503, 5, 1, textNotNow)
	}
	if c.cfg.TLSRequire && !c.secured() {
		return reply(530, 7, 0, "Must issue a STARTTLS command first")
	}
	if c.cfg.AuthRequire && !c.authenticated {
		return reply(530, 7, 0, "Must issue an AUTH command first")
	}
	if most := c.cfg.MaxMails; ok && most > 0 && c.mails >= most {
		return reply(452, 5, 3, "Too many messages sent")
	}
	sender, opts, r := c.mailArgs(path, params, ok)
	if r != nil {
		return r
	}
	to, r := c.filtered("MAIL", sender)
	if r != nil {
		return r
	}
	if to != sender {
		path, params, ok = rewritten(to, params)
		if sender, opts, r = c.mailArgs(path, params, ok); r != nil {
			return r
		}
	}
	r = c.answer(c.session.Mail(sender, opts), reply(250, 0, 0, "Ok"))
	if c.mail = r.Code < 300; c.mail {
		c.failed, c.utf8 = nil, opts.UTF8
	}
	return r
}

// mailArgs checks what MAIL is about. ok tells that it has the form of a path and parameters.
func (c *Conn) mailArgs(path, params string, ok bool) (string, *gosmtp.MailOptions, *gosmtp.SMTPError) {
	bad := reply(553, 1, 0, "Sender address syntax error")
	if !address.ASCII(path) { // https://www.rfc-editor.org/rfc/rfc5321#section-4.1.2
		bad = reply(501, 1, 7, "Sender address syntax error")
	}
	if !ok {
		return "", nil, bad
	}
	opts, r := c.mailOptions(params)
	if r != nil {
		return "", nil, r
	}
	sender, r := parsePath(path, opts.UTF8, bad)
	if r != nil && r.Code == 553 && r.Message == textNeedsUTF8 { // https://www.rfc-editor.org/rfc/rfc6531#section-3.5
		r = reply(550, 6, 7, textNeedsUTF8)
	}
	return sender, opts, r
}

// rewritten reads what a filter makes of MAIL or RCPT: an address, or a path in brackets
// with parameters.
func rewritten(to, params string) (path, p string, ok bool) {
	if to == "" || to[0] != '<' {
		return to, params, true
	}
	path, p, _, ok = splitPath("TO:"+to, "TO:")
	if p == "" {
		p = params
	}
	return path, p, ok
}

func (c *Conn) rcptTo(arg string) *gosmtp.SMTPError {
	path, params, known, ok := splitPath(arg, "TO:")
	switch {
	case !known:
		return reply(501, 5, 4, "Invalid command arguments: RCPT TO:<address> expected")
	case !c.mail || c.chunking:
		return reply(503, 5, 1, textNotNow)
	}
	rcpt, opts, r := c.rcptArgs(path, params, ok)
	if r != nil {
		return r
	}
	if most := c.cfg.MaxRcpt; most > 0 && c.rcpts >= most {
		return reply(452, 5, 3, "Too many recipients: Too many recipients")
	}
	if !c.peer.Source.recipient() {
		return reply(450, 7, 0, "Too many recipients from your address, try again later")
	}
	to, r := c.filtered("RCPT", rcpt)
	if r != nil {
		return r
	}
	if to != rcpt {
		path, params, ok = rewritten(to, params)
		if rcpt, opts, r = c.rcptArgs(path, params, ok); r != nil {
			return r
		}
	}
	r = c.answer(c.session.Rcpt(rcpt, opts), reply(250, 1, 5, "Destination address valid: Recipient ok"))
	if r.Code < 300 {
		c.rcpts++
	}
	return r
}

// rcptArgs checks what RCPT is about, as mailArgs does.
func (c *Conn) rcptArgs(path, params string, ok bool) (string, *gosmtp.RcptOptions, *gosmtp.SMTPError) {
	bad := reply(501, 1, 3, "Recipient address syntax error")
	if !ok || path == "" {
		return "", nil, bad
	}
	rcpt, r := parsePath(path, c.utf8, bad)
	if r != nil {
		return "", nil, r
	}
	opts, r := c.rcptOptions(params)
	return rcpt, opts, r
}

// data takes a message. Whatever becomes of it, its octets are read up to their true
// end before anything is a command again; when that cannot be done, the session ends.
func (c *Conn) data(arg string) *gosmtp.SMTPError {
	switch {
	case arg != "":
		return reply(501, 5, 4, textNoArguments)
	case !c.mail || c.rcpts == 0 || c.chunking:
		return reply(503, 5, 1, textNotNow)
	}
	if s, ok := c.session.(DataSession); ok {
		if r := c.answer(s.DataStart(), nil); r != nil && r.Code >= 300 {
			return r
		}
	}
	c.appendReply(plainReply(354, `Enter mail, end with "." on a line by itself`))
	_ = c.flush() // it must not wait, even for a client that did not
	return c.take(newBody(c))
}

// take gives a message to the backend. The reply is nil when another one was sent, or is of
// no use.
func (c *Conn) take(b *Body) *gosmtp.SMTPError {
	var err error
	if s, ok := c.session.(MessageSession); ok {
		err = s.Message(b)
	} else {
		err = c.session.Data(&crlfReader{b: b})
	}
	r := c.conclude(b, err)
	c.reset()
	if r != nil {
		c.idle = 0
	}
	return r
}

// positive reports whether what the backend said is a success.
func positive(err error) bool {
	var said *gosmtp.SMTPError
	return err == nil || errors.As(err, &said) && said.Code < 300
}

// conclude gives the reply to a message of which the backend said err. What is wrong
// with the octets themselves counts more than that.
func (c *Conn) conclude(b *Body, err error) *gosmtp.SMTPError {
	b.discard(!positive(err))
	if b.broken != nil {
		if errors.Is(b.broken, errAbandoned) {
			return nil
		}
		if errors.Is(b.broken, errEndless) {
			c.hang("bad-input")
			return b.refused
		}
		if errors.Is(b.broken, io.EOF) {
			b.broken = io.ErrUnexpectedEOF
		}
		c.readFailed(b.broken)
		return nil
	}
	if b.refused != nil {
		return b.refused
	}
	r := c.answer(err, reply(250, 0, 0, "Ok"))
	if r.Code < 300 {
		c.mails++
	}
	return r
}
