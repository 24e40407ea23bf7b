package config

import (
	"net/netip"
	"time"
)

// SMTPLimits are the limits of smtp limit that are not among those of a message.
type SMTPLimits struct {
	MaxSession    int // at a time, 0: as many as the system lets
	MaxErrors     int // refused commands of a session
	MaxAuthErrors int // wrong passwords of a session

	// What one client and one network may do; 0 is no limit. See smtp.Limits.
	Session    PerClient // at a time
	Connect    PerClient // in a minute
	Errors     PerClient // refused commands in an hour
	AuthErrors PerClient // wrong passwords in an hour
	Rcpt       PerClient // recipients in a minute
	Exempt     []string  // networks without such limits, as netip.ParsePrefix reads them

	CommandTimeout time.Duration // for a whole command
	DataTimeout    time.Duration // for each piece of a message
	SessionTimeout time.Duration // for a session in all
	MinDataRate    int           // octets a second of a message, 0: no limit

	TakeEarly bool // a client that talks before the banner is only noted
}

// PerClient are limits of one client and of its network.
type PerClient struct{ Source, Network int }

func defaultSMTPLimits() SMTPLimits {
	return SMTPLimits{
		MaxErrors: 20, MaxAuthErrors: 5,
		Session:        PerClient{100, 400},
		Connect:        PerClient{300, 1200},
		Errors:         PerClient{500, 2000},
		AuthErrors:     PerClient{100, 400},
		Rcpt:           PerClient{10000, 40000},
		CommandTimeout: 5 * time.Minute,
		DataTimeout:    5 * time.Minute,
		SessionTimeout: 4 * time.Hour,
		MinDataRate:    100,
	}
}

// The words after smtp limit. They are no reserved words.
var (
	smtpLimits = []string{
		"command-timeout", "data-timeout", "exempt", "max-auth-errors", "max-auth-errors-per-network",
		"max-auth-errors-per-source", "max-connect-per-network", "max-connect-per-source", "max-errors",
		"max-errors-per-network", "max-errors-per-source", "max-mails", "max-rcpt", "max-rcpt-per-network",
		"max-rcpt-per-source", "max-session", "max-session-per-network", "max-session-per-source",
		"min-data-rate", "session-timeout",
	}
	smtpTimeouts = []string{"command-timeout", "data-timeout", "session-timeout"}
)

// earlyTalkers and what it can be: reject, or log.
const (
	earlyTalkers = "early-talkers"
	justLog      = "log"
)

// smtpLimits parses the words of smtp limit, each with its argument.
func (p *parser) smtpLimits(d *directive) {
	for !p.failed && p.tok.kind != tNewline && p.tok.kind != tEOF {
		o := option{pos: p.tok.pos, name: p.tok.text}
		if p.tok.kind != tString || !contains(smtpLimits, p.tok.text) {
			p.unexpected("the name of a limit", smtpLimits...)
			return
		}
		p.advance()
		switch {
		case contains(smtpTimeouts, o.name):
			o.arg = p.delay()
		case o.name == "exempt":
			o.arg = p.str("an address or a network")
		default:
			o.arg = p.num("a number after \"" + o.name + "\"")
		}
		if !p.failed {
			d.options = append(d.options, o)
		}
	}
}

func (p *parser) earlyTalkers(d *directive) {
	at := p.tok.pos
	d.args = append(d.args, word{pos: at, text: p.oneWord(justLog, "reject")})
}

// checkSMTPLimit takes a line of smtp limit.
func (c *checker) checkSMTPLimit(d *directive) {
	for _, o := range d.options {
		switch {
		case o.name == "exempt":
			c.exempt(o.arg)
		case contains(smtpTimeouts, o.name):
			*c.smtpTimeout(o.name) = c.timeout(o.arg)
		default:
			n := c.count(o.arg)
			if n == 0 && (o.name == "max-errors" || o.name == "max-auth-errors") && o.arg.number == 0 {
				c.errorf(o.arg.pos, "%s cannot be 0: write 1 or more", o.name)
			}
			*c.smtpNumber(o.name) = n
		}
	}
}

// exempt takes a network, or an address, which is one of its own.
func (c *checker) exempt(w word) {
	p, err := netip.ParsePrefix(w.text)
	if a, notAddr := netip.ParseAddr(w.text); err != nil && notAddr == nil && a.Zone() == "" {
		p, err = a.Prefix(a.BitLen())
	}
	if err != nil {
		c.errorf(w.pos, "%q is no address and no network: write one like 192.0.2.0/24", w.text)
		return
	}
	c.cfg.SMTP.Exempt = append(c.cfg.SMTP.Exempt, p.Masked().String())
}

// timeout takes a delay of at least a second.
func (c *checker) timeout(w word) time.Duration {
	before := len(c.rep.errors)
	d := c.delay(w)
	if len(c.rep.errors) == before && d < time.Second {
		c.errorf(w.pos, "a time of %q is too short: write 1s or more", w.text)
	}
	return d
}

func (c *checker) smtpTimeout(name string) *time.Duration {
	l := &c.cfg.SMTP
	switch name {
	case "command-timeout":
		return &l.CommandTimeout
	case "data-timeout":
		return &l.DataTimeout
	}
	return &l.SessionTimeout
}

// smtpNumber gives the place of a limit that counts something.
func (c *checker) smtpNumber(name string) *int {
	l := &c.cfg.SMTP
	switch name {
	case "max-rcpt":
		return &c.cfg.MaxRcpt
	case "max-mails":
		return &c.cfg.MaxMails
	case "max-session":
		return &l.MaxSession
	case "max-session-per-source":
		return &l.Session.Source
	case "max-session-per-network":
		return &l.Session.Network
	case "max-connect-per-source":
		return &l.Connect.Source
	case "max-connect-per-network":
		return &l.Connect.Network
	case "max-errors":
		return &l.MaxErrors
	case "max-errors-per-source":
		return &l.Errors.Source
	case "max-errors-per-network":
		return &l.Errors.Network
	case "max-auth-errors":
		return &l.MaxAuthErrors
	case "max-auth-errors-per-source":
		return &l.AuthErrors.Source
	case "max-auth-errors-per-network":
		return &l.AuthErrors.Network
	case "max-rcpt-per-source":
		return &l.Rcpt.Source
	case "max-rcpt-per-network":
		return &l.Rcpt.Network
	case "min-data-rate":
		return &l.MinDataRate
	}
	return new(int) // not reached: the parser knows the names
}
