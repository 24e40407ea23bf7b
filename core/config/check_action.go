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
		c.errorf(d.arg(2).pos, "%q needs more than an empty string", a.Method)
	}
	for i := range d.options {
		o := &d.options[i]
		switch {
		case o.name == "ttl":
			a.TTL = c.delay(o.arg)
		case local:
			c.localOption(&a, o)
		default:
			c.relayOption(&a.Relay, o)
		}
	}
	if !local {
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
			c.errorf(o.pos, "\"user\" has no meaning with %q", a.Method)
		}
		if c.printable(o.arg, "the user") {
			a.User = o.arg.text
		}
	case "wrapper":
		c.defined("mda wrapper", o.arg)
		a.Wrapper = o.arg.text
	}
}

func (c *checker) relayOption(r *Relay, o *option) {
	switch o.name {
	case "auth":
		r.Auth = c.table(o.table, MapKind, o.name)
	case "backup":
		r.Backup, r.BackupMX = true, o.arg.text
	case "ca":
		r.CA = c.host("ca", o.arg)
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
		r.PKI = c.host("pki", o.arg)
	case "protocols":
		r.Protocols = o.arg.text
	case "src":
		c.checkSources(o.table)
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
			c.errorf(o.pos, "\"auth\" needs \"host\" or \"domain\"")
		case o.name == "srs" && !c.srsKey:
			c.errorf(o.pos, "\"srs\" needs a line \"srs key\"")
		case o.name == "tls" && strings.HasPrefix(r.Host, "smtp+notls://"):
			c.errorf(o.pos, "\"tls\" and the relay %q exclude each other", r.Host)
		}
	}
}

// checkSources reports what is no address in a list written in place.
func (c *checker) checkSources(t *tableArg) {
	if t.ref != "" || t.kind != ListKind {
		return
	}
	for i, e := range t.entries {
		s := strings.TrimSuffix(strings.TrimPrefix(e.Key, "["), "]")
		if _, err := netip.ParseAddr(s); err != nil {
			c.errorf(t.at[i], "source %q is no IP address", e.Key)
		}
	}
}

func (c *checker) relayHost(r *Relay, o *option) {
	if o.table.ref == "" && o.table.kind == ListKind {
		for i, e := range o.table.entries {
			c.checkURL(e.Key, o.table.at[i])
		}
	}
	if o.table.single {
		r.Host = o.table.entries[0].Key
		return
	}
	r.HostTable = c.table(o.table, ListKind, o.name)
}

// schemes of a relay URL.
var schemes = []string{"lmtp", "smtp", "smtp+notls", "smtp+tls", "smtps"}

// checkURL checks [scheme://][label@]host[:port].
func (c *checker) checkURL(url string, pos Pos) {
	scheme, rest, found := strings.Cut(url, "://")
	if !found {
		scheme, rest = "smtp", url
	}
	label, host, hasLabel := strings.Cut(rest, "@")
	if !hasLabel {
		host = rest
	}
	host, port, hasPort := splitPort(host)
	n, err := strconv.ParseUint(port, 10, 16)
	switch {
	case !contains(schemes, scheme):
		c.rep.errorf(pos, suggest(scheme, schemes), "relay %q: unknown scheme %q", url, scheme)
	case hasLabel && scheme != "smtp+tls" && scheme != "smtps":
		c.errorf(pos, "relay %q: a label needs smtp+tls:// or smtps://", url)
	case hasLabel && label == "":
		c.errorf(pos, "relay %q: the label is empty", url)
	case hasPort && (err != nil || n == 0):
		c.errorf(pos, "relay %q: invalid port %q", url, port)
	case !isRelayHost(host):
		c.errorf(pos, "relay %q: invalid host %q", url, host)
	case scheme == "lmtp" && !hasPort:
		c.errorf(pos, "relay %q: lmtp:// needs a port", url)
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
