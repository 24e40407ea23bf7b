package config

import "strings"

// listen translates a listener. One for smtps and tls becomes two.
func (t *translator) listen(u *unit) {
	old := u.listen
	d := &directive{pos: old.pos, name: old.name, args: old.args}
	tls := option{}
	for _, o := range old.options {
		switch o.name {
		case "smtps", "tls", "tls-require", "ssl", "secure":
			if tls.name != "" {
				t.rep.errorf(o.pos, "", "%q and %q exclude each other: remove one", tls.name, o.name)
			}
			tls = o
		default:
			t.listenOption(u, d, o)
		}
	}
	t.listenTag(d)
	if tls.name == "" {
		u.today = append(u.today, d)
		return
	}
	d.options = append(d.options, t.listenPKI(u, d)...)
	if tls.name != "ssl" && tls.name != "secure" {
		d.options = append([]option{tls}, d.options...)
		u.today = append(u.today, d)
		return
	}
	for _, o := range d.options {
		if o.name == "port" {
			t.rep.errorf(o.pos, "", "%q is smtps and tls, which need a port each: remove \"port\"", tls.name)
		}
	}
	for _, name := range []string{"smtps", "tls"} {
		one := *d
		one.options = append([]option{{pos: tls.pos, name: name}}, d.options...)
		u.today = append(u.today, &one)
	}
}

func (t *translator) listenOption(u *unit, d *directive, o option) {
	switch o.name {
	case "certificate", "use certificate":
		o.name, o.arg = "pki", t.certificate(u, o.arg)
	case "enable auth":
		o.name = "auth-optional"
	case "port":
		if o.arg.text == "ssmtp" { // the name of the port of smtps before it had that
			o.arg.text = "smtps"
		}
	case "mask-source":
		o.name = "mask-src"
	case "dsn-notify disable":
		o.name = "no-dsn"
		u.note = "dsn-notify disable has no equivalent: no-dsn refuses the other options of DSN as well"
	case "dsn-ret headers":
		t.lost(u, o.pos, `"dsn-ret headers"`)
		return
	case "filter":
		t.lost(u, o.pos, "a filter of OpenSMTPD before 6.4")
		return
	}
	d.options = append(d.options, o)
	if ca := t.pkiCA[strings.ToLower(o.arg.text)]; o.name == "pki" && ca != "" && !d.has("ca") {
		d.options = append(d.options, option{pos: o.pos, name: "ca", arg: word{pos: o.pos, text: ca}})
	}
}

// listenTag gives a listener without a tag the one that it had, where a rule asks for it:
// until 2012 its interface, and the socket was always tagged.
func (t *translator) listenTag(d *directive) {
	name := d.arg(0).text
	switch {
	case d.name == "listen socket":
		name = "local"
	case t.tree.lang != Maps:
		return
	}
	if t.tags[name] && !d.has("tag") {
		d.options = append(d.options, option{pos: d.pos, name: "tag", arg: word{pos: d.pos, text: name}})
	}
}

// tagSocket makes a line for the socket where a rule asks for its tag and no line is there.
func (t *translator) tagSocket(u *unit) {
	if t.tags["local"] && !t.socket {
		t.socket = true
		d := &directive{pos: u.pos, name: "listen socket"}
		t.listenTag(d)
		u.today = append(u.today, d)
	}
}

// listenPKI gives the certificates of a listener that names none: the one of its host name,
// or of "*", or all there are. Before there were pki lines its interface was the name.
func (t *translator) listenPKI(u *unit, d *directive) []option {
	if d.has("pki") {
		return nil
	}
	host := t.hostname
	for _, o := range d.options {
		if o.name == "hostname" {
			host = o.arg.text
		}
	}
	names := t.pkis
	for _, name := range []string{strings.ToLower(host), "*"} {
		if t.known[name] {
			names = []string{name}
			break
		}
	}
	if len(t.pkis) == 0 {
		names = []string{t.certificate(u, d.arg(0)).text}
	}
	var options []option
	for _, name := range names[:min(len(names), maxPKIs)] {
		options = append(options, option{pos: d.pos, name: "pki", arg: word{pos: d.pos, text: name}})
	}
	return options
}

// has tells whether an option is given.
func (d *directive) has(name string) bool {
	for _, o := range d.options {
		if o.name == name {
			return true
		}
	}
	return false
}
