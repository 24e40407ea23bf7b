package config

import "math"

const (
	maxTag  = 31 // octets: envelopes of OpenSMTPD have no room for more
	maxPKIs = 32 // of a listener
)

func (c *checker) checkListen(d *directive) {
	l := Listener{Pos: d.pos, Interface: d.arg(0).text, Hostname: c.cfg.Hostname}
	for i := range d.options {
		c.listenOption(&l, &d.options[i])
	}
	c.checkTLS(d)
	if l.Port == 0 {
		if l.Port = 25; l.SMTPS {
			l.Port = 465
		}
	}
	c.checkInterface(&l, d)
	for _, o := range d.options {
		if o.name == scram && l.AuthTable == "" {
			c.errorf(o.pos, "\"scram\" needs a table with keys of users: write \"auth <NAME>\" or \"auth-optional <NAME>\" as well")
		}
		needsTLS := o.name == "pki" || o.name == "auth" || o.name == "auth-optional"
		offersTLS := o.name == "tls" || o.name == "tls-require" || o.name == "smtps"
		switch {
		case needsTLS && !l.TLS && !l.SMTPS:
			c.errorf(o.pos, "%q needs TLS: write \"tls\", \"tls-require\" or \"smtps\" as well", o.name)
		case offersTLS && len(l.PKI) == 0:
			c.errorf(o.pos, "%q needs a certificate: write \"pki NAME\" as well, and a line \"pki NAME cert ... key ...\"", o.name)
		}
	}
	c.cfg.Listeners = append(c.cfg.Listeners, l)
}

// listenOption takes one option; the ones that name something are in listenName.
func (c *checker) listenOption(l *Listener, o *option) {
	switch o.name {
	case "inet4", "inet6":
		l.Family = o.name
	case "port":
		l.Port = c.port(o.arg)
	case "tls":
		l.TLS = true
	case "tls-require":
		l.TLS, l.TLSRequire, l.TLSVerify = true, true, o.extra != ""
	case "smtps":
		l.SMTPS, l.TLSVerify = true, o.extra != ""
	case "auth":
		l.Auth = true
	case "auth-optional":
		l.AuthOptional = true
	case "mask-src":
		l.MaskSrc = true
	case "received-auth":
		l.ReceivedAuth = true
	case "no-dsn":
		l.NoDSN = true
	case "proxy-v2":
		l.ProxyV2 = true
	case scram:
		l.Scram = true
	case normalize:
		l.Normalize = true
	}
	c.listenName(l, o)
}

func (c *checker) listenName(l *Listener, o *option) {
	switch o.name {
	case "auth", "auth-optional":
		if o.table != nil {
			l.AuthTable = c.table(o.table, UnknownKind, o.name)
			if i, ok := c.tables[l.AuthTable]; ok && c.cfg.Tables[i].Kind == ListKind {
				c.refuse(o.table.pos, "%q needs a mapping of users and passwords, not a list: write <NAME> of such a table", o.name)
			}
		}
	case "ca":
		l.CA = c.host("ca", o.arg)
	case "ciphers":
		l.Ciphers = o.arg.text
	case "filter":
		l.Filter = c.filter(o)
	case "hostname":
		if c.printable(o.arg, "the host name") {
			l.Hostname = o.arg.text
		}
	case "hostnames":
		l.Hostnames = c.table(o.table, MapKind, o.name)
	case "pki":
		if len(l.PKI) == maxPKIs {
			c.errorf(o.pos, "more than %d \"pki\" on a listener: remove some", maxPKIs)
			return
		}
		l.PKI = append(l.PKI, c.host("pki", o.arg))
	case "protocols":
		l.Protocols = o.arg.text
	case "senders":
		l.Senders = c.table(o.table, MapKind, o.name)
		l.Masquerade = o.extra != ""
	case "tag":
		l.Tag = c.tag(o.arg)
	}
}

// port gives the number of a port. The names that mail uses are known without asking: not
// every system's list of services has all of them.
func (c *checker) port(w word) uint16 {
	if w.isNumber {
		if w.number < 1 || w.number > math.MaxUint16 {
			c.errorf(w.pos, "invalid port %d: write a number from 1 to 65535", w.number)
			return 0
		}
		return uint16(w.number)
	}
	switch w.text {
	case "smtp":
		return 25
	case "smtps", "submissions":
		return 465
	case "submission":
		return 587
	}
	if c.env.LookupPort != nil {
		if n, err := c.env.LookupPort(w.text); err == nil && n != 0 {
			return n
		}
	}
	hint := suggest(w.text, []string{"smtp", "smtps", "submission", "submissions"})
	c.rep.errorf(w.pos, hint, "unknown port %q: write a number", w.text)
	return 0
}

func (c *checker) tag(w word) string {
	if len(w.text) > maxTag {
		c.errorf(w.pos, "a tag has at most %d characters: write a shorter one", maxTag)
	}
	if w.text == "" {
		c.rep.warnf(w.pos, "an empty tag is none: write a word or remove \"tag\"")
	}
	return w.text
}

func (c *checker) checkSocket(d *directive) {
	if !c.declareOnce("listen on", word{pos: d.pos, text: "socket"}) {
		return
	}
	s := &c.cfg.Socket
	for i := range d.options {
		o := &d.options[i]
		switch o.name {
		case "filter":
			s.Filter = c.filter(o)
		case "mask-src":
			s.MaskSrc = true
		case "no-dsn":
			s.NoDSN = true
		case "tag":
			s.Tag = c.tag(o.arg)
		}
	}
}
