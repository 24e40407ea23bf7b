package config

import (
	"strconv"
	"strings"
)

// relay gives d the method and the options of a relay action, and returns what the action
// could be called.
func (t *translator) relay(u *unit, d *directive) string {
	r := u.rule
	d.args = []word{{pos: r.pos}, {pos: r.pos, text: string(RelayMethod)}}
	name := string(RelayMethod)
	switch {
	case r.viaTable != nil:
		d.options = append(d.options, option{pos: r.viaTable.pos, name: t.relayMap(r.viaTable), table: r.viaTable})
		name += refName(r.viaTable)
	case r.via != nil:
		name += "-" + t.via(u, d)
	}
	for _, o := range r.relay {
		name += t.relayOption(u, d, o)
	}
	return name
}

// relayOption adds an option, unless it belongs to the URL. It returns what the option adds
// to the name.
func (t *translator) relayOption(u *unit, d *directive, o option) (name string) {
	switch o.name {
	case "as":
		o.name, o.arg = "mail-from", t.fullAddress(o.arg)
		name = "-as-" + o.arg.text
	case "source":
		o.name = "src"
		name = "-src" + refName(o.table)
	case "helo", "hostnames":
		o.name = "helo-src"
	case "hostname":
		o.name = "helo"
		name = "-helo-" + o.arg.text
	case "certificate":
		o.name, o.arg = "pki", t.certificate(u, o.arg)
	case "backup":
		if o.arg.text != "" {
			o.extra = "mx"
		}
		name = strings.TrimSuffix("-backup-"+o.arg.text, "-")
	case "tls":
		if u.rule.via != nil {
			return ""
		}
		if u.rule.viaTable != nil {
			t.rep.errorf(o.pos, "", "%q belongs into the relay URLs of the map: write it there", o.name)
		}
		name = "-tls" + strings.TrimSuffix("-"+o.extra, "-")
		o.extra = noVerify(o.extra != "")
	case "auth":
		if u.rule.via != nil {
			return ""
		}
	case "enable auth", "port", "smtps", "ssl", "verify":
		if u.rule.viaTable != nil {
			t.rep.errorf(o.pos, "", "%q belongs into the relay URLs of the map: write it there", o.name)
		} else if u.rule.via == nil {
			t.rep.errorf(o.pos, "", "%q needs \"via\": write it before", o.name)
		}
		return ""
	}
	d.options = append(d.options, o)
	if ca := t.pkiCA[strings.ToLower(o.arg.text)]; o.name == "pki" && ca != "" && !d.has("ca") {
		d.options = append(d.options, option{pos: o.pos, name: "ca", arg: word{pos: o.pos, text: ca}})
	}
	return name
}

// refName gives what a table adds to the name of an action.
func refName(t *tableArg) string {
	switch {
	case t == nil:
		return ""
	case t.single:
		return "-" + t.entries[0].Key
	}
	return strings.TrimSuffix("-"+t.ref, "-")
}

// relayMap tells how the map of relay via map is asked: a list is a choice of relays, a
// mapping leads from domains to relays. A file shows by its first line which it is; what
// cannot be read is a list when it is a plain file, as it was when relay maps came up.
func (t *translator) relayMap(table *tableArg) string {
	kind := ListKind
	path := t.paths[table.ref]
	switch {
	case t.resolve(table) != nil:
		kind = t.resolve(table).kind
	case !strings.HasPrefix(strings.TrimPrefix(path, "file:"), "/"):
		kind = MapKind
	case t.read != nil:
		text, err := t.read(strings.TrimPrefix(path, "file:"))
		if err == nil {
			kind = fileKind(text)
		}
	}
	if kind == MapKind {
		return "domain"
	}
	return "host"
}

// fileKind looks at the first line of a table that is not a comment: with a value it is a
// mapping.
func fileKind(text []byte) TableKind {
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 0 && !strings.HasPrefix(fields[0], "#") {
			if len(fields) > 1 || strings.HasSuffix(fields[0], ":") {
				return MapKind
			}
			return ListKind
		}
	}
	return ListKind
}

func noVerify(verify bool) string {
	if verify {
		return ""
	}
	return "no-verify"
}

// fullAddress adds the server's name to a sender without a domain.
func (t *translator) fullAddress(w word) word {
	if !strings.Contains(w.text, "@") {
		w.text += "@" + t.hostname
	}
	return w
}

// oldURL is what relay via was followed by.
type oldURL struct {
	scheme string // lower case, without +auth
	auth   bool
	label  string
	host   string // with the port, if there is one
	table  *tableArg
	verify bool
}

// oldURL reads [scheme://][label@]host[:port], and what older files say beside it.
func (t *translator) oldURL(r *oldRule) oldURL {
	var u oldURL
	scheme, rest, found := strings.Cut(r.via.text, "://")
	if !found {
		scheme, rest = "", r.via.text
	}
	u.scheme, u.auth = strings.CutSuffix(strings.ToLower(scheme), "+auth")
	label, host, labelled := strings.Cut(rest, "@")
	if u.host = rest; labelled {
		u.label, u.host = label, host
	}
	for _, o := range r.relay {
		switch o.name {
		case "smtps", "ssl", "tls":
			if scheme == "" {
				u.scheme = o.name
			}
			u.verify = u.verify || o.extra != ""
		case "port":
			if _, _, has := splitPort(u.host); !has {
				u.host += ":" + t.port(o.arg)
			}
		case "auth":
			u.table = o.table
			u.auth = u.auth || scheme == "" && u.scheme != ""
		case "enable auth":
			u.auth, u.table = true, &tableArg{pos: o.pos, ref: "secrets"}
		case "verify":
			u.verify = true
		}
	}
	return u
}

// port gives a port as a number, which is what a URL takes.
func (t *translator) port(w word) string {
	known := map[string]string{"smtp": "25", "smtps": "465", "submission": "587", "submissions": "465"}
	if n := known[w.text]; n != "" {
		return n
	}
	if !w.isNumber && t.env.LookupPort != nil {
		if n, err := t.env.LookupPort(w.text); err == nil {
			return strconv.Itoa(int(n))
		}
	}
	return w.text
}

// via translates relay via URL and returns a name for it.
//
// Schemes have changed their meaning. Without one TLS was tried, which smtp+tls:// said
// from 5.3 on, when smtp:// came to be without TLS. Certificates were looked at only after
// "verify".
func (t *translator) via(u *unit, d *directive) string {
	url := t.oldURL(u.rule)
	pos := u.rule.via.pos
	host, _, _ := splitPort(url.host)
	today := map[string]string{
		"": "smtp", "lmtp": "lmtp", "smtp": "smtp+notls", "smtp+tls": "smtp", "smtps": "smtps", "tls": "smtp+tls",
		"ssl": "secure", "secure": "secure",
	}
	if t.tree.lang == Maps {
		today["smtp"] = "smtp"
	}
	scheme, known := today[url.scheme]
	tls := url.scheme == "smtps" || url.scheme == "tls"
	switch {
	case url.scheme == "backup" || url.scheme == "tls+backup":
		d.options = append(d.options, option{pos: pos, name: "backup", extra: "mx", arg: word{pos: pos, text: host}})
		if url.scheme == "tls+backup" {
			d.options = append(d.options, option{pos: pos, name: "tls", extra: noVerify(url.verify)})
		}
		return "backup-" + host
	case !known:
		t.rep.errorf(pos, "", "relay %q: unknown scheme %q: write smtp, tls or smtps", u.rule.via.text, url.scheme)
	case url.verify && scheme == "secure":
		t.lost(u, pos, `"verify" with a relay for smtps and tls`)
	case url.verify && !tls:
		t.rep.errorf(pos, "", "\"verify\" needs TLS: write tls:// or smtps://")
	case url.auth && !tls && scheme != "secure":
		t.rep.errorf(pos, "", "relay %q: authentication needs TLS: write tls+auth:// or smtps+auth://", u.rule.via.text)
	case url.auth && url.table == nil:
		t.rep.errorf(pos, "", "relay %q needs credentials: write \"auth\" and a table", u.rule.via.text)
	case !url.auth && url.label != "":
		t.rep.errorf(pos, "", "relay %q: a label needs credentials: write tls+auth:// or smtps+auth://", u.rule.via.text)
	}
	t.viaOptions(d, &url, scheme, host, tls, pos)
	return strings.TrimPrefix(url.scheme+"-", "-") + url.host
}

func (t *translator) viaOptions(d *directive, url *oldURL, scheme, host string, tls bool, pos Pos) {
	text := url.host
	if url.auth {
		if url.label == "" { // until 2012 the host was the key of the credentials
			url.label = host
		}
		text = url.label + "@" + text
		if scheme == "secure" {
			scheme += "+auth"
		}
	}
	text = scheme + "://" + text
	d.options = append(d.options, option{pos: pos, name: "host", table: &tableArg{
		pos: pos, single: true, kind: ListKind, entries: []Entry{{Key: text}}, at: []Pos{pos},
	}})
	if tls {
		d.options = append(d.options, option{pos: pos, name: "tls", extra: noVerify(url.verify)})
	}
	switch {
	case url.auth && url.table != nil:
		d.options = append(d.options, option{pos: pos, name: "auth", table: url.table})
	case url.table != nil:
		t.rep.warnf(url.table.pos, "\"auth\" has no effect without a scheme with +auth")
	}
}
