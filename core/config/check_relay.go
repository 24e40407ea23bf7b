package config

import (
	"net/netip"
	"strings"
)

// checkRelayTables looks at the entries of tables that a relay action has in place. Those of
// files are looked at by who reads them.
func (c *checker) checkRelayTables(o *option) {
	switch o.name {
	case "auth":
		c.eachEntry(o.table, MapKind, func(e *Entry, pos Pos) {
			if user, _, ok := strings.Cut(e.Value, ":"); !ok || user == "" {
				c.refuse(pos, "the credentials for %q have no password: write USER:PASSWORD", e.Key)
			}
		})
	case "domain":
		c.eachEntry(o.table, MapKind, func(e *Entry, pos Pos) { c.checkURL(&e.Value, pos) })
	case "helo-src":
		c.eachEntry(o.table, MapKind, func(e *Entry, pos Pos) {
			c.checkSource(e, pos)
			if !isPrintable(e.Value) {
				c.refuse(pos, "%q is no name for EHLO: write a host name", e.Value)
			}
		})
	case "src":
		c.eachEntry(o.table, UnknownKind, c.checkSource)
	}
}

// eachEntry gives the entries of a table written in place, UnknownKind of any.
func (c *checker) eachEntry(t *tableArg, kind TableKind, check func(e *Entry, pos Pos)) {
	if t.ref != "" || kind != UnknownKind && t.kind != kind {
		return
	}
	for i := range t.entries {
		check(&t.entries[i], t.at[i])
	}
}

// checkSource reports what is no address.
func (c *checker) checkSource(e *Entry, pos Pos) {
	s := strings.TrimSuffix(strings.TrimPrefix(e.Key, "["), "]")
	if _, err := netip.ParseAddr(s); err != nil {
		c.refuse(pos, "source %q is no IP address: write an address of this host", e.Key)
	}
}

// checkLabels names URLs that want credentials in an action that has none: their mail would
// wait for ever.
func (c *checker) checkLabels(t *tableArg) {
	c.eachEntry(t, UnknownKind, func(e *Entry, pos Pos) {
		url := e.Key
		if t.kind == MapKind {
			url = e.Value
		}
		scheme, rest, _ := strings.Cut(url, "://")
		if strings.Contains(rest, "@") || strings.HasSuffix(strings.ToLower(scheme), "+auth") {
			c.refuse(pos, "relay %q needs credentials: write \"auth\" and their table as well", url)
		}
	})
}
