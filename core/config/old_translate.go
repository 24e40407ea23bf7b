package config

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

// translator makes today's directives of the units of an old file.
type translator struct {
	tree     *tree
	rep      *report
	env      Environment
	read     func(path string) ([]byte, error)
	hostname string // the server's name
	auth     bool   // clients can authenticate somewhere
	tables   map[string]*tableArg
	paths    map[string]string // of tables and maps
	aliases  bool              // some rule names its aliases
	pkis     []string          // names, in order
	known    map[string]bool   // the same
	pkiCA    map[string]string // pki: name of the ca that was part of it
	made     map[string]bool   // certificates made of a name alone
	tags     map[string]bool   // tags that rules ask for
	socket   bool              // there is a line for the socket
	actions  map[string]string // definition: name
	taken    map[string]int    // name of an action: how many begin with it
}

// translate fills in the directives of a tree that has units.
func translate(tree *tree, env Environment, read func(string) ([]byte, error), rep *report) {
	t := &translator{
		tree: tree, rep: rep, env: env, read: read, hostname: env.Hostname, tables: map[string]*tableArg{},
		paths: map[string]string{}, pkiCA: map[string]string{}, made: map[string]bool{},
		tags: map[string]bool{}, actions: map[string]string{}, taken: map[string]int{}, known: map[string]bool{},
	}
	for _, u := range tree.units {
		t.gather(u)
	}
	t.expiry()
	for _, u := range tree.units {
		switch {
		case u.rule != nil:
			t.rule(u)
		case u.listen != nil:
			t.listen(u)
		case u.setting != nil:
			t.setting(u)
		}
		tree.directives = append(tree.directives, u.today...)
	}
}

// gather finds out what the translation of other lines depends on.
func (t *translator) gather(u *unit) {
	switch {
	case u.listen != nil:
		for _, o := range u.listen.options {
			t.auth = t.auth || o.name == "auth" || o.name == "auth-optional" || o.name == "enable auth"
		}
		t.socket = t.socket || u.listen.name == "listen socket"
	case u.rule != nil:
		if u.rule.tag != nil {
			t.tags[u.rule.tag.arg.text] = true
		}
		t.aliases = t.aliases || u.rule.alias != nil
	case u.setting != nil:
		t.gatherSetting(u.setting)
	}
}

func (t *translator) gatherSetting(d *directive) {
	name := d.arg(0).text
	switch d.name {
	case "hostname":
		t.hostname = name
	case "table":
		t.tables[name] = d.table
		t.paths[name] = d.arg(1).text
	case "pki":
		name = strings.ToLower(name)
		if !t.known[name] {
			t.known[name] = true
			t.pkis = append(t.pkis, name)
		}
		for _, o := range d.options {
			if o.name == "ca" {
				t.pkiCA[name] = name
			}
		}
	}
}

// expiry gives the rules before a global expire the time that held where they stand: it
// counted for the rules after it.
func (t *translator) expiry() {
	const standard = "4d"
	current, last := standard, standard
	for _, u := range t.tree.units {
		if u.setting != nil && u.setting.name == "queue ttl" {
			last = u.setting.arg(0).text
		}
	}
	for _, u := range t.tree.units {
		switch {
		case u.setting != nil && u.setting.name == "queue ttl":
			current = u.setting.arg(0).text
		case u.rule != nil && u.rule.expire.text == "" && current != last:
			u.rule.expire = word{pos: u.pos, text: current}
		}
	}
}

// setting translates what is neither a rule nor a listener.
func (t *translator) setting(u *unit) {
	d := u.setting
	switch d.name {
	case "pki":
		t.pki(u)
		return
	case "bounce":
		t.bounce(u)
	case "queue interval":
		u.note = "has no equivalent: smtpd.conf(5) says when a message is tried again"
	case "curve":
		u.note = "has no equivalent: the TLS library chooses the curve"
	case "filter", "enqueuer":
		t.lost(u, d.pos, "a filter of OpenSMTPD before 6.4")
		return
	default:
		u.today = append(u.today, d)
		return
	}
	if u.note != "" {
		t.rep.warnf(d.pos, "%q is not used any more", d.name)
	}
}

// bounce gives the intervals. All but four were left out, without any there was no notice.
func (t *translator) bounce(u *unit) {
	const most = 4
	d := *u.setting
	if len(d.args) == 0 {
		d.args = []word{{pos: d.pos, text: "0s"}}
	}
	if len(d.args) > most {
		t.rep.warnf(d.args[most].pos, "only %d delays are used", most)
		d.args = d.args[:most]
	}
	u.today = append(u.today, &d)
}

// lost records what cannot be said in today's language: smtpd does not start then.
func (t *translator) lost(u *unit, pos Pos, what string) {
	u.lost = true
	u.note = "NOT CONVERTED: " + what + " is not supported yet"
	if len(t.tree.lost) >= maxErrors {
		return
	}
	t.tree.lost = append(t.tree.lost, Unsupported{pos, what + " is not supported yet", t.rep.line(pos)})
}

// pki translates a certificate of 5.4 and later, of which a CA and parameters could be part.
func (t *translator) pki(u *unit) {
	d := &directive{pos: u.pos, name: "pki", args: u.setting.args}
	name := u.setting.arg(0)
	for _, o := range u.setting.options {
		switch o.name {
		case "certificate":
			o.name = "cert"
			d.options = append(d.options, o)
		case "key", "dhe":
			d.options = append(d.options, o)
		case "ca":
			u.today = append(u.today, &directive{pos: o.pos, name: "ca", args: []word{name, o.arg}})
		case "dhparams":
			u.note = "dhparams has no equivalent: ciphers that need parameters are not used"
			t.rep.warnf(o.pos, "\"dhparams\" is not used any more")
		}
	}
	u.today = append([]*directive{d}, u.today...)
}

// certificate gives the name of a pki for the certificate that only has a name: its files
// were in a fixed directory.
func (t *translator) certificate(u *unit, w word) word {
	name := strings.ToLower(w.text)
	if !isHostname(name) {
		name = "cert-" + digest(w.text)
	}
	pki := word{pos: w.pos, text: name}
	if !t.made[name] && !t.known[name] {
		t.made[name] = true
		path := "/etc/mail/certs/" + w.text
		u.today = append(u.today, &directive{pos: w.pos, name: "pki", args: []word{pki}, options: []option{
			{pos: w.pos, name: "cert", arg: word{pos: w.pos, text: path + ".crt"}},
			{pos: w.pos, name: "key", arg: word{pos: w.pos, text: path + ".key"}},
		}})
	}
	return pki
}

// digest gives a few letters that stand for a text.
func digest(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s)))[:8] }
