package config

import "strings"

// declareHost declares the name of a pki or ca. Several lines can add to one name.
func (c *checker) declareHost(d *directive) {
	name := d.arg(0)
	if c.names[d.name] == nil {
		c.names[d.name] = map[string]Pos{}
	}
	lower := strings.ToLower(name.text)
	if _, known := c.names[d.name][lower]; known || lower == "" {
		return
	}
	c.names[d.name][lower] = name.pos
	if lower != "*" && !isHostname(strings.TrimSuffix(lower, ".")) {
		c.errorf(name.pos, "%q is no host name: write letters, digits, dots and hyphens, or \"*\"", name.text)
	}
}

// isHostname tells whether a name could be that of a host: letters, digits, underscores,
// dots and inside of it hyphens.
func isHostname(s string) bool {
	if len(s) > 253 || strings.Contains(s, "..") {
		return false
	}
	for i := 0; i < len(s); i++ {
		inner := i > 0 && i < len(s)-1
		if c := s[i]; !isAlnum(int(c)) && c != '_' && !(inner && (c == '-' || c == '.')) {
			return false
		}
	}
	return s != ""
}

func (c *checker) checkCA(d *directive) {
	name := strings.ToLower(d.arg(0).text)
	for i := range c.cfg.CAs {
		if c.cfg.CAs[i].Name == name {
			c.rep.warnf(d.pos, "ca %q replaces the one before: remove one", name)
			c.cfg.CAs[i].File = d.arg(1).text
			return
		}
	}
	c.cfg.CAs = append(c.cfg.CAs, CA{d.pos, name, d.arg(1).text})
}

func (c *checker) checkPKI(d *directive) {
	pki := c.findPKI(strings.ToLower(d.arg(0).text), d.pos)
	for _, o := range d.options {
		field, value := &pki.Cert, o.arg.text
		switch o.name {
		case "key":
			field = &pki.Key
		case "dhe":
			c.checkDHE(pki, o)
			continue
		}
		if *field != "" && *field != value {
			c.rep.warnf(o.pos, "pki %q: %q replaces the one before: remove one", pki.Name, o.name)
		}
		*field = value
	}
}

func (c *checker) findPKI(name string, pos Pos) *PKI {
	for i := range c.cfg.PKIs {
		if c.cfg.PKIs[i].Name == name {
			return &c.cfg.PKIs[i]
		}
	}
	c.cfg.PKIs = append(c.cfg.PKIs, PKI{Pos: pos, Name: name, DHE: "none"})
	return &c.cfg.PKIs[len(c.cfg.PKIs)-1]
}

func (c *checker) checkDHE(pki *PKI, o option) {
	mode := strings.ToLower(o.arg.text)
	if !contains(dheModes, mode) {
		c.rep.errorf(o.arg.pos, suggest(mode, dheModes), "invalid dhe mode %q: expected none, auto or legacy", o.arg.text)
		return
	}
	if pki.DHE = mode; mode != "none" {
		c.rep.warnf(o.pos, "\"dhe %s\" has no effect: there are no ciphers with DHE here, clients use those with ECDHE: remove it", mode)
	}
}

// checkPKIs reports certificates without a key and keys without a certificate.
func (c *checker) checkPKIs() {
	for _, pki := range c.cfg.PKIs {
		if pki.Name == "" {
			continue // the name is reported
		}
		pos := c.names["pki"][pki.Name]
		if pki.Cert == "" {
			c.errorf(pos, "pki %q has no \"cert\": write pki %s cert \"/path\"", pki.Name, pki.Name)
		}
		if pki.Key == "" {
			c.errorf(pos, "pki %q has no \"key\": write pki %s key \"/path\"", pki.Name, pki.Name)
		}
	}
}

// host gives the lower-case name of a pki or ca that is declared.
func (c *checker) host(kind string, w word) string {
	w.text = strings.ToLower(w.text)
	c.defined(kind, w)
	return w.text
}

// relayCert is host for a relay, about which OpenSMTPD only stumbles at start.
func (c *checker) relayCert(kind string, w word) string {
	w.text = strings.ToLower(w.text)
	if _, ok := c.names[kind][w.text]; !ok {
		c.refuse(w.pos, "there is no %s %q: write a line \"%s %s ...\"", kind, w.text, kind, w.text)
	}
	return w.text
}
