package filterkit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxLine bounds a line of the server, in octets.
const maxLine = 1 << 20

// line is a line of the server after the handshake.
type line struct {
	filter  bool // a question, else a report
	out     bool // of an outgoing session
	old     bool // of a protocol before 0.7
	name    string
	session uint64
	token   string
	rest    string // what belongs to the event or the phase
}

var errLine = errors.New("cannot read the line of the server")

// parseLine reads
//
//	report|VERSION|TIME|SUBSYSTEM|EVENT|SESSION[|ARGUMENTS]
//	filter|VERSION|TIME|SUBSYSTEM|PHASE|SESSION|TOKEN|ARGUMENT
func parseLine(s string) (line, error) {
	f := strings.SplitN(s, "|", 7)
	if len(f) < 6 {
		return line{}, badLine(s)
	}
	l := line{filter: f[0] == "filter", out: f[3] == "smtp-out", name: f[4]}
	minor, known := strings.CutPrefix(f[1], "0.")
	version, err := strconv.ParseUint(minor, 10, 16)
	switch {
	case !l.filter && f[0] != "report", !known || err != nil || version < 5, !l.out && f[3] != "smtp-in", l.name == "":
		return line{}, badLine(s)
	}
	l.old = version < 7
	if l.session, err = strconv.ParseUint(f[5], 16, 64); err != nil {
		return line{}, badLine(s)
	}
	if len(f) == 7 {
		l.rest = f[6]
	}
	if l.filter {
		var ok bool
		if l.token, l.rest, ok = strings.Cut(l.rest, "|"); !ok || l.token == "" {
			return line{}, badLine(s)
		}
	}
	return l, nil
}

func badLine(s string) error { return fmt.Errorf("%w: %.200q", errLine, s) }

// args gives the arguments of an event. The last has the rest, whatever is in it.
func (l *line) args() []string {
	n, known := eventArgs[Event(l.name)]
	if !known {
		n = -1
	}
	if l.rest == "" && n == 0 {
		return nil
	}
	a := strings.SplitN(l.rest, "|", n)
	if Event(l.name) == LinkAuth && l.old { // the user came first
		if i := strings.LastIndexByte(l.rest, '|'); i >= 0 {
			a = []string{l.rest[i+1:], l.rest[:i]}
		}
	}
	return a
}
