package config

import (
	"fmt"
	"strings"
)

// declareTable takes a table line. A wrong line declares the name all the same.
func (c *checker) declareTable(d *directive) {
	name := d.arg(0)
	if !c.declareOnce("table", name) {
		return
	}
	t := Table{Pos: name.pos, Name: name.text}
	switch {
	case d.broken:
	case strings.HasPrefix(name.text, "<"):
		c.errorf(name.pos, "the name of a table cannot begin with \"<\": write it without")
	case d.table != nil:
		t.Backend, t.Kind, t.Entries = "static", d.table.kind, d.table.entries
	default:
		c.tableSource(&t, d.arg(1))
	}
	c.tables[t.Name] = len(c.cfg.Tables)
	c.cfg.Tables = append(c.cfg.Tables, t)
}

// tableSource reads [TYPE:]PATH.
func (c *checker) tableSource(t *Table, w word) {
	backend, path, hasPath := "file", w.text, true
	if !strings.HasPrefix(w.text, "/") {
		backend, path, hasPath = strings.Cut(w.text, ":")
	}
	if hasPath && !strings.HasPrefix(path, "/") {
		c.errorf(w.pos, "the path of table %q is not absolute: write %s:/...", t.Name, backend)
		return
	}
	t.Backend, t.Path = backend, path
	switch backend {
	case "static", "file":
		if t.Backend = "file"; !hasPath {
			t.Backend = "static"
			c.rep.warnf(w.pos, "table %q is empty: write file:/path or { ... }", t.Name)
		}
	case "db":
		if !hasPath {
			c.errorf(w.pos, "table %q needs a path: write %s:/path", t.Name, backend)
		}
	case "getpwnam":
		t.Kind = MapKind
	default:
		c.tableProgram(t, w)
	}
}

// tableProgram takes a type that is not built in.
func (c *checker) tableProgram(t *Table, w word) {
	hint := suggest(t.Backend, tableTypes)
	if t.Backend == "" || strings.Trim(t.Backend, programLetters) != "" {
		c.rep.errorf(w.pos, hint, "invalid table type %q: write a path, or file:/path", t.Backend)
		return
	}
	program := c.env.LibexecDir + "/table-" + t.Backend
	if c.env.Executable != nil && !c.env.Executable(program) {
		if hint != "" {
			c.rep.errorf(w.pos, hint, "unknown table type %q: there is no program %s", t.Backend, program)
			return
		}
		c.refuse(w.pos, "there is no program %s: install it or write another type of table", program)
	}
}

// programLetters are what the name of a table program consists of: no path can be made of
// them.
const programLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

// table gives the name of the table in an argument. Kind is what the use needs,
// UnknownKind when both will do.
func (c *checker) table(t *tableArg, kind TableKind, use string) string {
	if t.ref == "" {
		c.rightKind(t, kind, t.kind, use)
		return c.dynamic(t)
	}
	c.used["table "+t.ref] = true
	i, ok := c.tables[t.ref]
	if !ok {
		switch t.ref {
		case GetPwNam, LocalNames, LocalHost, AnyHost, AnyDestination:
			return t.ref
		}
		c.defined("table", word{pos: t.pos, text: t.ref})
		return t.ref
	}
	c.rightKind(t, kind, c.cfg.Tables[i].Kind, use)
	return t.ref
}

// rightKind checks a table against its use. The keys of a mapping are a list as well.
func (c *checker) rightKind(t *tableArg, want, have TableKind, use string) {
	switch {
	case want == UnknownKind || have == UnknownKind || want == have:
	case want == ListKind:
		if t.ref == "" {
			c.rep.warnf(t.pos, "%q needs no values: write a list like { a, b }", use)
		}
	default:
		c.errorf(t.pos, "%q needs a mapping, not a list: write { key = value } or <NAME> of such a table", use)
	}
}

// dynamic gives a table written in place a name.
func (c *checker) dynamic(t *tableArg) string {
	name := fmt.Sprintf("<dynamic:%d>", c.dynTables)
	c.dynTables++
	c.tables[name] = len(c.cfg.Tables)
	c.cfg.Tables = append(c.cfg.Tables, Table{
		Pos: t.pos, Name: name, Backend: "static", Kind: t.kind, Entries: t.entries,
	})
	return name
}

// unknown reports a name that is not declared.
func (c *checker) unknown(kind string, pos Pos, name string, known []string) {
	message, hint := fmt.Sprintf("there is no %s %q", kind, name), suggest(name, known)
	if hint == "" {
		message += fmt.Sprintf(": write a line \"%s %s ...\"", kind, name)
	}
	c.rep.errorf(pos, hint, "%s", message)
}
