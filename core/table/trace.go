package table

import (
	"strconv"

	"github.com/godwit-mta/godwit/core/trace"
)

// traced reports whether look-ups are to be told.
func (s *Set) traced() bool { return s.log != nil && s.log.Traced()&trace.Lookup != 0 }

// tell writes what came of a look-up, with the words of OpenSMTPD. What may be a password
// is left out.
func (s *Set) tell(verb string, t Table, name string, service Service, key, outcome string, err error) {
	if err != nil {
		outcome = "error: " + err.Error()
	}
	if service == Auth {
		key = "..."
	}
	if verb == "fetch" {
		s.log.Tracef(trace.Lookup, "lookup: fetch %s from table %s:%s -> %s", service, backendOf(t), name, outcome)
		return
	}
	s.log.Tracef(trace.Lookup, "lookup: %s %q as %s in table %s:%s -> %s", verb, key, service, backendOf(t), name, outcome)
}

// valueText is a value as it is told.
func valueText(service Service, value string, found bool) string {
	switch {
	case !found:
		return "none"
	case service == Credentials:
		return "..."
	}
	return strconv.Quote(value)
}

// backendOf names what answers, as OpenSMTPD calls it: files are read into memory.
func backendOf(t Table) string {
	switch t := t.(type) {
	case *Program:
		return "proc"
	case systemUsers:
		return "getpwnam"
	case *file:
		if t.format == "db" {
			return "db"
		}
	}
	return "static"
}
