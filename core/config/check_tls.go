package config

import "github.com/godwit-mta/godwit/core/tlspolicy"

// checkTLS reports versions and ciphers of TLS that cannot be used, each by itself or
// together. OpenSMTPD finds out when it starts.
func (c *checker) checkTLS(d *directive) {
	var protocols, ciphers word
	for i := range d.options {
		o := &d.options[i]
		switch o.name {
		case "protocols":
			protocols = o.arg
			_, err := tlspolicy.Parse(o.arg.text, "")
			c.refuseError(o.arg.pos, err)
		case "ciphers":
			ciphers = o.arg
			_, err := tlspolicy.Parse("", o.arg.text)
			c.refuseError(o.arg.pos, err)
		}
	}
	_, wrongP := tlspolicy.Parse(protocols.text, "")
	_, wrongC := tlspolicy.Parse("", ciphers.text)
	if _, err := tlspolicy.Parse(protocols.text, ciphers.text); wrongP == nil && wrongC == nil {
		c.refuseError(ciphers.pos, err)
	}
}

func (c *checker) refuseError(pos Pos, err error) {
	if err != nil {
		c.refuse(pos, "%v", err)
	}
}
