package config

import "fmt"

// later is the one list of what is understood but not carried out yet: the keywords of
// the directive and of the option, then what is said about them. When
// something is carried out, its line goes.
var later = map[string]string{
	"filter phase": `a builtin filter`,

	"action filter": `"filter" in a relay action`,
}

// unsupported records what later knows of a directive.
func (c *checker) unsupported(d *directive) {
	c.notYet(d.pos, d.name)
	for i := range d.options {
		o := &d.options[i]
		key := d.name + " " + o.name
		c.notYet(o.pos, key)
		if o.extra != "" {
			c.notYet(o.pos, key+" "+o.extra)
		}
	}
}

func (c *checker) notYet(pos Pos, key string) {
	if what, ok := later[key]; ok {
		c.refuse(pos, "%s is not supported yet", what)
	}
}

// refuse records what smtpd does not start with.
func (c *checker) refuse(pos Pos, format string, args ...any) {
	if len(c.cfg.Unsupported) < maxErrors {
		c.cfg.Unsupported = append(c.cfg.Unsupported,
			Unsupported{pos, shown(fmt.Sprintf(format, args...)), c.rep.line(pos)})
	}
}
