package config

import (
	"slices"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/address"
)

// TLSReport says who makes reports about TLS (RFC 8460). Without an organization nobody does.
type TLSReport struct {
	Organization string
	Contact      string        // mailbox
	Sender       string        // mailbox, of reports by mail
	Spread       time.Duration // after the end of a day, within which reports are made
}

// spreadTime is what RFC 8460 section 4.1 suggests.
const spreadTime = 4 * time.Hour

func (p *parser) parseTLSReport(d *directive) {
	d.name = "mta tls-report"
	d.args = append(d.args, p.str("the name of the organization"))
	for !p.failed && p.tok.kind != tNewline && p.tok.kind != tEOF {
		o := option{pos: p.tok.pos}
		if o.name = p.oneWord(tlsReportWords...); p.failed {
			return
		}
		if o.name == "spread" {
			o.arg = p.delay()
		} else {
			o.arg = p.str("an address after \"" + o.name + "\"")
		}
		d.options = append(d.options, o)
	}
}

func (c *checker) checkTLSReport(d *directive) {
	const mostName, mostSpread = 200, 20 * time.Hour
	if len(d.args) == 0 {
		return
	}
	r := TLSReport{Organization: strings.TrimSpace(d.args[0].text), Spread: spreadTime}
	if r.Organization == "" || len(r.Organization) > mostName || strings.ContainsFunc(r.Organization, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		c.errorf(d.args[0].pos, "%q is no name of an organization: write one of 1 to %d characters", r.Organization, mostName)
	}
	for _, o := range d.options {
		switch o.name {
		case "contact":
			r.Contact = c.mailbox(o.arg)
		case "sender":
			r.Sender = c.mailbox(o.arg)
		case "spread":
			if r.Spread = c.delay(o.arg); r.Spread > mostSpread {
				c.errorf(o.arg.pos, "spread %q is too long: write 20h or less", o.arg.text)
			}
		}
	}
	switch {
	case r.Contact == "" && !hasOption(d, "contact"):
		c.errorf(d.pos, "tls-report needs somebody to ask: write \"contact\" and an address")
	case r.Sender == "":
		r.Sender = r.Contact
	}
	c.cfg.TLSReport = r
}

// mailbox takes an address with a domain.
func (c *checker) mailbox(w word) string {
	a, err := address.Parse(w.text)
	if err != nil || a.Null() || !address.ValidHost(a.Domain) || a.International() {
		c.errorf(w.pos, "%q is no address: write user@domain", w.text)
		return ""
	}
	return a.String()
}

func hasOption(d *directive, name string) bool {
	return slices.ContainsFunc(d.options, func(o option) bool { return o.name == name })
}
