package config

import (
	"fmt"
	"slices"
	"strings"
)

// declareFilter declares a filter and, of proc-exec, the process of the same name.
func (c *checker) declareFilter(d *directive) {
	name := d.arg(0)
	if !c.declareOnce("filter", name) {
		return
	}
	switch d.name {
	case "filter proc":
		c.procOf[name.text] = d.arg(1).text
	case "filter proc-exec":
		if at, twice := c.names["proc"][name.text]; twice {
			c.rep.warnf(name.pos, "the process %q at %s:%d is not used: write another name", name.text, at.File, at.Line)
			delete(c.names["proc"], name.text)
		}
		c.declareOnce("proc", name)
		c.used["proc "+name.text] = true
		c.procOf[name.text] = name.text
	case "filter chain":
		c.chains[name.text] = true
	}
}

func (c *checker) checkProc(d *directive, name string) {
	p := Proc{Name: name, Command: d.arg(1).text}
	if p.Command == "" {
		c.errorf(d.arg(1).pos, "the command is empty: write the path of a program")
	}
	for _, o := range d.options {
		switch o.name {
		case "user":
			p.User = o.arg.text
		case "group":
			p.Group = o.arg.text
		case failOpen:
			p.FailOpen = true
		case "chroot":
			p.Chroot = o.arg.text
		}
	}
	c.cfg.Procs = append(slices.DeleteFunc(c.cfg.Procs, func(o Proc) bool { return o.Name == name }), p)
}

func (c *checker) checkFilter(d *directive) {
	f := Filter{Pos: d.pos, Name: d.arg(0).text}
	switch d.name {
	case "filter proc":
		c.defined("proc", d.arg(1))
		f.Proc = d.arg(1).text
	case "filter proc-exec":
		c.checkProc(d, f.Name)
		f.Proc = f.Name
	case "filter chain":
		f.Chain = c.checkChain(d.options[0].list)
	case "filter phase":
		cond, decision := &d.options[0], &d.options[1]
		f.Phase, f.CondName = d.arg(1).text, cond.name
		f.Cond = c.match(cond, UnknownKind)
		f.Decision, f.Text = decision.name, decision.arg.text
		if f.Decision == "reject" || f.Decision == "disconnect" {
			c.checkReply(decision)
		}
	}
	c.cfg.Filters = append(c.cfg.Filters, f)
}

// checkReply warns of a text that is no refusal. It is no error, since OpenSMTPD loads
// such a file.
func (c *checker) checkReply(o *option) {
	s := o.arg.text
	if len(s) < 4 || s[0] != '4' && s[0] != '5' || !isDigit(int(s[1])) || !isDigit(int(s[2])) || s[3] != ' ' {
		c.rep.warnf(o.arg.pos, "%q takes a reply code and a text: write one like \"550 go away\"", o.name)
	}
}

// checkChain gives the filters of a chain. None of them is a chain, and none and no process
// is there twice.
func (c *checker) checkChain(list []word) []string {
	var names []string
	filters, procs := map[string]bool{}, map[string]bool{}
	for _, w := range list {
		proc := c.procOf[w.text]
		switch {
		case !c.defined("filter", w):
		case c.chains[w.text]:
			c.errorf(w.pos, "%q is a chain: write its filters instead", w.text)
		case filters[w.text]:
			c.errorf(w.pos, "filter %q is in the chain twice: remove one", w.text)
		case proc != "" && procs[proc]:
			c.rep.warnf(w.pos, "filter process %q is in the chain twice: remove one filter of it", proc)
		}
		filters[w.text] = true
		if proc != "" {
			procs[proc] = true
		}
		names = append(names, w.text)
	}
	return names
}

// checkOutgoing warns of builtin filters in relay actions: they are about clients, and have no effect there in
// OpenSMTPD either.
func (c *checker) checkOutgoing() {
	byName := make(map[string]*Filter)
	for i := range c.cfg.Filters {
		byName[c.cfg.Filters[i].Name] = &c.cfg.Filters[i]
	}
	for _, a := range c.cfg.Actions {
		f := byName[a.Relay.Filter]
		if f == nil {
			continue
		}
		if scheme, _, ok := strings.Cut(a.Relay.Host, "://"); ok && strings.EqualFold(scheme, "lmtp") {
			c.refuse(a.Pos, "\"filter\" for a relay that speaks LMTP is not supported yet")
		}
		for _, name := range append([]string{f.Name}, f.Chain...) {
			if of := byName[name]; of != nil && of.Phase != "" {
				c.rep.warnf(a.Pos, "filter %q is about clients and decides nothing in a relay action: remove it", name)
			}
		}
	}
}

// filter gives the filter of an option. A chain written in place gets a name.
func (c *checker) filter(o *option) string {
	if o.list == nil {
		c.defined("filter", o.arg)
		return o.arg.text
	}
	name := fmt.Sprintf("<dynchain:%08x>", c.dynChains)
	c.dynChains++
	c.cfg.Filters = append(c.cfg.Filters, Filter{Pos: o.pos, Name: name, Chain: c.checkChain(o.list)})
	return name
}
