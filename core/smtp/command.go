package smtp

import (
	"strconv"
	"strings"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/trace"
)

// command carries out one line and adds the reply to it.
func (c *Conn) command(line []byte) {
	text := string(line)
	verb, arg, ok := splitCommand(text)
	shown := c.hideSecrets(verb, text)
	if !ok {
		shown = trace.Escape(shown) // it may be passed on as a line of another protocol
	}
	c.seen(shown)
	var r *gosmtp.SMTPError
	switch {
	case !ok:
		r = reply(501, 5, 2, "Syntax error: control character in command")
	case foreign(verb):
		c.hang("bad-input")
		r = reply(500, 5, 1, textUnrecognized)
	default:
		r = c.dispatch(verb, arg)
	}
	if r == nil {
		return
	}
	c.send(r, shown)
	c.limit(verb, r)
	if !groupable(verb) && c.in.r < c.in.w {
		_ = c.flush() // whoever reads next meets the error
	}
}

// groupable reports whether the reply to a command may wait for those to the commands that
// came with it, https://www.rfc-editor.org/rfc/rfc2920#section-3.2
func groupable(verb string) bool {
	switch verb {
	case "MAIL", "RCPT", "RSET", "BDAT", "HELP", "AUTH":
		return true
	}
	return false
}

// seen shows a line of the client to whoever watches.
func (c *Conn) seen(line string) {
	if s, watches := c.session.(LineSession); watches {
		s.ClientLine(line)
	}
	if c.traced() {
		c.t.Tracef(trace.SMTP, "smtp: %s: <<< %s", c.t.SID(), line)
	}
}

// hideSecrets gives a line as it may be logged. Clients that do not wait for the reply to
// AUTH send what follows it, the password among it, as if it were a command; and where AUTH can be
// said, whatever is no command may be meant for it.
func (c *Conn) hideSecrets(verb, line string) string {
	shown := mask(line)
	switch {
	case verb == "AUTH" || shown != line:
		c.secrets = true
	case !known(verb) && (c.secrets || len(c.ofBackend()) > 0):
		return "(...)"
	}
	return shown
}

func known(verb string) bool {
	switch verb {
	case "EHLO", "HELO", "MAIL", "RCPT", "DATA", "BDAT", "STARTTLS", "RSET", "NOOP", "QUIT", "HELP", "VRFY", "EXPN":
		return true
	}
	return false
}

// limit ends sessions that only make mistakes or never come to the point.
func (c *Conn) limit(verb string, r *gosmtp.SMTPError) {
	most, idle := orCount(c.cfg.MaxErrors, defaultErrors), c.idleMost()
	before := c.score
	switch {
	case verb == "RCPT" && r.Code >= 500:
		// A long list of recipients has some that are gone: that is no attack.
		c.score += rcptErrorWeight
	case verb == "RCPT":
		c.score = max(0, c.score-rcptErrorWeight)
	case r.Code >= 500:
		c.score += errorWeight
	}
	if verb != "RCPT" {
		c.idle++
	}
	switch {
	case c.reason != "":
	case c.authErrors >= orCount(c.cfg.MaxAuthErrors, defaultAuth):
		c.send(reply(421, 7, 0, "Too many failed logins, closing connection"), "")
		c.reason = "too-many-logins"
	case c.score > most*errorWeight:
		c.send(reply(421, 7, 0, "Too many errors, closing connection"), "")
		c.reason = "too-many-errors"
	case c.score > before && !c.authenticated && c.peer.Source.failed(c.score-before):
		c.send(reply(421, 7, 0, "Too many errors from your address, closing connection"), "")
		c.reason = "too-many-errors"
	case c.idle > idle:
		c.send(reply(421, 7, 0, "Too many commands, closing connection"), "")
		c.reason = "too-many-commands"
	}
}

func (c *Conn) idleMost() int {
	if c.cfg.MaxIdleCommands <= 0 {
		return defaultIdle
	}
	return c.cfg.MaxIdleCommands
}

// dispatch has one line a command.
func (c *Conn) dispatch(verb, arg string) *gosmtp.SMTPError {
	switch verb {
	case "EHLO", "HELO":
		return c.greeted(verb, arg)
	case "MAIL":
		return c.mailFrom(arg)
	case "RCPT":
		return c.rcptTo(arg)
	case "DATA":
		return c.data(arg)
	case "BDAT":
		return c.bdat(arg)
	case "STARTTLS":
		return c.startTLS(arg)
	case "RSET":
		return c.rset(arg)
	case "NOOP":
		return c.hook(verb, arg, reply(250, 0, 0, "Ok"))
	case "QUIT":
		return c.quit(arg)
	case "HELP":
		return c.hook(verb, arg, reply(214, 0, 0, "This is "+c.ident()+
			"\nCommands: HELO EHLO STARTTLS MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT\nEnd of HELP info"))
	case "VRFY":
		if arg == "" {
			return reply(501, 5, 4, "Invalid command arguments: VRFY requires an address")
		}
		return c.hook(verb, arg, reply(252, 5, 2, "Cannot VRFY user: try RCPT to attempt delivery"))
	case "EXPN":
		return c.hook(verb, arg, reply(502, 5, 1, "Invalid command: Command not implemented"))
	case "AUTH":
		return c.auth(arg)
	}
	return reply(500, 5, 1, textUnrecognized)
}

// hook asks the backend about a command that needs nothing else. It gives fine unless
// the backend has something of its own to say.
func (c *Conn) hook(verb, arg string, fine *gosmtp.SMTPError) *gosmtp.SMTPError {
	if s, ok := c.session.(CommandSession); ok {
		return c.answer(s.Command(verb, arg), fine)
	}
	return fine
}

func (c *Conn) rset(arg string) *gosmtp.SMTPError {
	if arg != "" {
		return reply(501, 5, 4, textNoArguments)
	}
	r := c.hook("RSET", "", reply(250, 0, 0, "Reset state"))
	if r.Code < 300 {
		c.reset()
	}
	return r
}

func (c *Conn) quit(arg string) *gosmtp.SMTPError {
	if arg != "" {
		return reply(501, 5, 4, textNoArguments)
	}
	r := c.hook("QUIT", "", reply(221, 0, 0, "Bye"))
	if r.Code < 300 {
		c.hang("quit")
	}
	return r
}

// greeted answers HELO and EHLO. Another one resets the session (RFC 5321 section 4.1.4).
func (c *Conn) greeted(verb, arg string) *gosmtp.SMTPError {
	if arg == "" {
		return reply(501, 5, 1, "Invalid command: "+verb+" requires domain name")
	}
	if !validHelo(arg) {
		return badHelo()
	}
	arg, r := c.filtered(verb, arg)
	if r != nil {
		return r
	}
	if !validHelo(arg) {
		return badHelo()
	}
	esmtp := verb == "EHLO"
	text := c.hello(arg)
	if esmtp {
		text += c.extensions()
	}
	r = plainReply(250, text)
	if s, ok := c.session.(HeloSession); ok {
		r = c.answer(s.Helo(arg, esmtp), r)
	}
	if r.Code >= 300 {
		return r
	}
	if c.helo != "" {
		c.reset()
	}
	c.helo, c.esmtp = arg, esmtp
	return r
}

func badHelo() *gosmtp.SMTPError {
	return reply(501, 5, 4, "Invalid command arguments: Invalid domain name")
}

// filtered asks a FilterSession about a command and gives what it is to be about.
func (c *Conn) filtered(verb, arg string) (string, *gosmtp.SMTPError) {
	s, ok := c.session.(FilterSession)
	if !ok {
		return arg, nil
	}
	to, err := s.Filter(verb, arg)
	return to, c.answer(err, nil)
}

func validHelo(name string) bool {
	_, literal := address.Literal(name)
	return literal || address.ValidHost(name)
}

func (c *Conn) hello(name string) string {
	addr := c.AddrText()
	if addr[0] != '[' {
		addr = "[" + addr + "]"
	}
	return c.Hostname() + " Hello " + name + " " + addr + ", pleased to meet you"
}

// extensions lists the keywords of the EHLO reply.
func (c *Conn) extensions() string {
	var b strings.Builder
	b.WriteString("\n8BITMIME\nCHUNKING\nENHANCEDSTATUSCODES")
	b.WriteString(c.limits())
	b.WriteString("\nPIPELINING\nSIZE")
	if c.cfg.MaxMessageSize > 0 {
		b.WriteString(" " + strconv.FormatInt(c.cfg.MaxMessageSize, 10))
	}
	if c.cfg.DSN {
		b.WriteString("\nDSN")
	}
	b.WriteString("\nSMTPUTF8")
	switch {
	case c.secured():
		b.WriteString("\nREQUIRETLS") // https://www.rfc-editor.org/rfc/rfc8689#section-2
	case c.cfg.TLSConfig != nil:
		b.WriteString("\nSTARTTLS")
	}
	if offered := c.mechanisms(); len(offered) > 0 {
		b.WriteString("\nAUTH " + strings.Join(offered, " "))
	}
	b.WriteString("\nHELP")
	return b.String()
}

// limits is the line of RFC 9422.
func (c *Conn) limits() string {
	var s string
	if c.cfg.MaxMails > 0 {
		s += " MAILMAX=" + strconv.Itoa(c.cfg.MaxMails)
	}
	if c.cfg.MaxRcpt > 0 {
		s += " RCPTMAX=" + strconv.Itoa(c.cfg.MaxRcpt)
	}
	if s == "" {
		return ""
	}
	return "\nLIMITS" + s
}

// foreign reports whether a verb belongs to HTTP: a browser that was made to talk to us
// must not get to its body, which somebody else wrote.
func foreign(verb string) bool {
	switch verb {
	case "GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE", "PATCH", "TRACE":
		return true
	}
	return false
}

// splitCommand gives the verb in upper case and its argument without blanks around it.
// A line with a control character is not one.
func splitCommand(line string) (verb, arg string, ok bool) {
	for i := 0; i < len(line); i++ {
		if line[i] < ' ' || line[i] == 0x7f {
			return "", "", false
		}
	}
	verb, arg, _ = strings.Cut(line, " ")
	return strings.ToUpper(verb), strings.Trim(arg, " "), true
}
