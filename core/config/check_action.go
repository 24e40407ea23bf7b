package config

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/godwit-mta/godwit/core/format"
)

func (c *checker) checkAction(d *directive) {
	a := Action{Pos: d.pos, Name: d.arg(0).text, Method: Method(d.arg(1).text), Path: d.arg(2).text}
	switch a.Method {
	case Maildir, LMTP, MDACommand:
		c.specifiers(d.arg(2), format.Check(a.Path))
	}
	local := a.Method != RelayMethod
	if local {
		a.UserBase = GetPwNam
	}
	if len(d.args) > 2 && a.Path == "" {
		c.errorf(d.arg(2).pos, "%q needs more than an empty string: write where the mail goes", a.Method)
	}
	for i := range d.options {
		o := &d.options[i]
		switch {
		case o.name == "ttl":
			a.TTL = c.delay(o.arg)
		case o.name == schedule:
			if a.Method == ForwardOnly || a.Method == ExpandOnly {
				c.errorf(o.pos, "\"schedule\" has no meaning with %q: remove it", a.Method)
			}
			a.Schedule = c.schedule(o.list)
		case local:
			c.localOption(&a, o)
		default:
			c.relayOption(&a.Relay, o)
		}
	}
	if !local {
		c.checkTLS(d)
		c.checkRelay(d, &a.Relay)
	}
	c.cfg.Actions = append(c.cfg.Actions, a)
}

func (c *checker) localOption(a *Action, o *option) {
	switch o.name {
	case "junk":
		a.Junk = true
	case "rcpt-to":
		a.RcptTo = true
	case "alias":
		a.Alias = c.table(o.table, MapKind, o.name)
	case "virtual":
		a.Virtual = c.table(o.table, MapKind, o.name)
	case "userbase":
		a.UserBase = c.table(o.table, MapKind, o.name)
	case "user":
		switch a.Method {
		case MBox, ForwardOnly, ExpandOnly:
			c.errorf(o.pos, "\"user\" has no meaning with %q: remove it", a.Method)
		}
		if c.printable(o.arg, "the user") {
			a.User = o.arg.text
		}
	case "wrapper":
		c.defined("mda wrapper", o.arg)
		a.Wrapper = o.arg.text
		if a.Method == MBox {
			c.refuse(o.pos, `"wrapper" has no meaning with "mbox", which runs no command: remove one`)
		}
	}
}

func (c *checker) relayOption(r *Relay, o *option) {
	c.checkRelayTables(o)
	switch o.name {
	case "auth":
		r.Auth = c.table(o.table, MapKind, o.name)
	case "backup":
		r.Backup, r.BackupMX = true, o.arg.text
	case "ca":
		r.CA = c.relayCert("ca", o.arg)
	case "ciphers":
		r.Ciphers = o.arg.text
	case "domain":
		r.DomainTable = c.table(o.table, MapKind, o.name)
	case "filter":
		r.Filter = c.filter(o)
	case "helo":
		if c.printable(o.arg, "the name for HELO") {
			r.Helo = o.arg.text
		}
	case "helo-src":
		r.HeloSrc = c.table(o.table, MapKind, o.name)
	case "host":
		c.relayHost(r, o)
	case "mail-from":
		if c.printable(o.arg, "the sender") {
			r.MailFrom = o.arg.text
		}
	case "pki":
		r.PKI = c.relayCert("pki", o.arg)
	case "protocols":
		r.Protocols = o.arg.text
	case "src":
		r.Src = c.table(o.table, UnknownKind, o.name)
	case "srs":
		r.SRS = true
	case "tls":
		r.TLS, r.NoVerify = true, o.extra != ""
	}
}

// checkRelay reports options that need others.
func (c *checker) checkRelay(d *directive, r *Relay) {
	for _, o := range d.options {
		switch {
		case o.name == "auth" && r.Host+r.HostTable+r.DomainTable == "":
			c.errorf(o.pos, "\"auth\" needs a relay: write \"host\" or \"domain\" as well")
		case o.name == "srs" && !c.srsKey:
			c.errorf(o.pos, "\"srs\" needs a key: write a line \"srs key SECRET\"")
		case o.name == "srs" && r.MailFrom != "":
			c.rep.warnf(o.pos, "\"srs\" rewrites nothing where \"mail-from\" gives the sender: remove one")
		case (o.name == "host" || o.name == "domain") && r.Auth == "":
			c.checkLabels(o.table)
		case o.name == "tls" && strings.HasPrefix(strings.ToLower(r.Host), "smtp+notls://"):
			c.refuse(o.pos, "\"tls\" and the relay %q exclude each other: write smtp+tls://", r.Host)
		}
	}
}

func (c *checker) relayHost(r *Relay, o *option) {
	if o.table.ref == "" && o.table.kind == ListKind {
		for i := range o.table.entries {
			c.checkURL(&o.table.entries[i].Key, o.table.at[i])
		}
	}
	if o.table.single {
		r.Host = o.table.entries[0].Key
		return
	}
	r.HostTable = c.table(o.table, ListKind, o.name)
}

// schemes of a relay URL, those of today and those from before OpenSMTPD 6.4.
var (
	schemes    = []string{"lmtp", "smtp", "smtp+notls", "smtp+tls", "smtps"}
	oldSchemes = []string{"secure", "secure+auth", "smtps+auth", "ssl", "ssl+auth", "tls", "tls+auth"}
)

// checkURL checks [scheme://][label@]host[:port]. A label means a password, which asks for
// TLS. All but an unknown scheme and a wrong port is only refused at start, since
// OpenSMTPD finds out when there is mail.
func (c *checker) checkURL(url *string, pos Pos) {
	scheme, rest, found := strings.Cut(*url, "://")
	if scheme = strings.ToLower(scheme); !found {
		scheme, rest = "smtp", *url
	}
	label, host, hasLabel := strings.Cut(rest, "@")
	if !hasLabel {
		host = rest
	}
	host, port, hasPort := splitPort(host)
	n, err := strconv.ParseUint(port, 10, 16)
	switch hint := suggest(scheme, schemes); {
	case !contains(schemes, scheme) && !contains(oldSchemes, scheme):
		if hint != "" {
			c.rep.errorf(pos, hint, "relay %q: unknown scheme %q", *url, scheme)
			return
		}
		c.errorf(pos, "relay %q: unknown scheme %q: write smtp, smtp+tls, smtp+notls, smtps or lmtp", *url, scheme)
	case hasLabel && (scheme == "smtp+notls" || scheme == "lmtp"):
		c.refuse(pos, "relay %q: a label needs TLS: write smtp+tls:// or smtps://", *url)
	case hasLabel && !isPrintable(label):
		c.refuse(pos, "relay %q: the label is empty or has a blank: write smtp+tls://LABEL@HOST", *url)
	case hasPort && (err != nil || n == 0):
		c.errorf(pos, "relay %q: invalid port %q: write a number from 1 to 65535", *url, port)
	case !isRelayHost(host):
		c.refuse(pos, "relay %q: invalid host %q: write a host name or an address in brackets", *url, host)
	case scheme == "lmtp" && !hasPort:
		c.refuse(pos, "relay %q: lmtp:// has no port of its own: write one after the host, like :24", *url)
	case hasLabel && scheme == "smtp":
		c.rep.warnf(pos, "relay %q: a label needs TLS, so smtp+tls:// is taken: write it", *url)
		*url = "smtp+tls://" + rest
	}
}

// splitPort cuts host:port. The colons of an address in brackets do not count.
func splitPort(s string) (host, port string, found bool) {
	i := strings.LastIndexByte(s, ':')
	if strings.HasPrefix(s, "[") && !strings.Contains(s, "]") {
		i = -1
	}
	if i < 0 || i < strings.LastIndexByte(s, ']') {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

func isRelayHost(s string) bool {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		if v6, tagged := strings.CutPrefix(strings.ToLower(inner), "ipv6:"); tagged {
			inner = v6
		}
		_, err := netip.ParseAddr(inner)
		return ok && err == nil
	}
	return isHostname(strings.TrimSuffix(s, "."))
}
