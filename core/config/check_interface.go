package config

import (
	"net/netip"
	"strconv"
	"strings"
)

// checkInterface says what is wrong with what stands after "listen on", as far as the text
// tells. Whether the host has it is found out when the daemon runs.
func (c *checker) checkInterface(l *Listener, d *directive) {
	w := d.arg(0)
	addr, err := netip.ParseAddr(l.Interface)
	if err != nil {
		c.checkInterfaceName(w)
	} else if addr = addr.Unmap(); l.Family == "inet4" && !addr.Is4() || l.Family == "inet6" && !addr.Is6() {
		c.rep.warnf(w.pos, "%s is no address of family %s: remove the line or %q", l.Interface, l.Family, l.Family)
	}
	for _, o := range c.cfg.Listeners {
		if o.Interface == l.Interface && o.Port == l.Port && (o.Family == "" || o.Family == l.Family) {
			c.rep.warnf(d.pos, "line %d listens on %s port %d already, this line has no effect: remove one", o.Pos.Line, l.Interface, l.Port)
			return
		}
	}
}

// checkInterfaceName takes a name for one of an interface, a group or a host unless it was
// surely meant to be an address.
func (c *checker) checkInterfaceName(w word) {
	inner := strings.TrimSuffix(strings.TrimPrefix(w.text, "["), "]")
	_, bracketed := netip.ParseAddr(inner)
	_, withPort := netip.ParseAddrPort(w.text)
	_, prefix := netip.ParsePrefix(w.text)
	switch {
	case !isPrintable(w.text):
		c.errorf(w.pos, "%q is no interface: write its name, an address or a host name", w.text)
	case bracketed == nil:
		c.errorf(w.pos, "%s: an address stands without brackets here: write %s", w.text, inner)
	case withPort == nil:
		c.errorf(w.pos, "%s: the port stands apart: write the address and \"port NUMBER\"", w.text)
	case prefix == nil:
		c.errorf(w.pos, "%s is a network: write an address or the name of an interface", w.text)
	case badDotted(w.text):
		c.errorf(w.pos, "invalid address %s: write four numbers up to 255", w.text)
	}
}

// badDotted reports whether a word is four numbers of which one is too large for an
// address. Numbers with zeros in front are left to the system.
func badDotted(s string) bool {
	parts := strings.Split(s, ".")
	large := false
	for _, part := range parts {
		if part == "" || strings.Trim(part, "0123456789") != "" {
			return false
		}
		_, err := strconv.ParseUint(part, 10, 8)
		large = large || err != nil && part[0] != '0'
	}
	return large && len(parts) == 4
}
