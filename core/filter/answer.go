package filter

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// answer is a line that a filter process says after the handshake.
type answer struct {
	session, token uint64
	decision       Decision
	line           []byte // of a message, dot-escaped; nil for a decision. Valid until the next line
}

// parseAnswer reads filter-result|SESSION|TOKEN|VERDICT, with |TEXT where it has one, or
// filter-dataline|SESSION|TOKEN|LINE. The token is checked by who knows it; that the phase allows the
// decision too.
func parseAnswer(line []byte) (a answer, err error) {
	verb, rest, _ := bytes.Cut(line, []byte{'|'})
	session, rest, ok1 := bytes.Cut(rest, []byte{'|'})
	token, rest, ok2 := bytes.Cut(rest, []byte{'|'})
	var known bool
	if a.session, known = parseHex(session); known {
		a.token, known = parseHex(token)
	}
	result := string(verb) == "filter-result"
	switch {
	case !result && string(verb) != "filter-dataline":
		return a, fmt.Errorf("said %q", abbreviate(string(line)))
	case !ok1 || !ok2 || !known:
		return a, fmt.Errorf("said %q, which names no session and token", abbreviate(string(line)))
	case !result:
		a.line = rest
		return a, nil
	}
	a.decision, err = parseDecision(string(rest))
	return a, err
}

func parseDecision(s string) (d Decision, err error) {
	word, text, given := strings.Cut(s, "|")
	v, ok := ParseVerdict(word)
	needs := v == Reject || v == Disconnect || v == Rewrite || v == Report
	switch {
	case !ok || v == Bypass:
		return d, fmt.Errorf("decided %q", abbreviate(word))
	case needs && !given:
		return d, fmt.Errorf("decided %q without a text", word)
	case strings.ContainsAny(text, "\x00\r"):
		return d, fmt.Errorf("decided %q with a control character in its text", word)
	}
	if needs {
		d.Text = text
	}
	d.Verdict = v
	return d, nil
}

// parseHex reads the 16 digits of a session or a token.
func parseHex(b []byte) (uint64, bool) {
	if len(b) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b), 16, 64)
	return n, err == nil
}

// registration is what a filter process wants to hear.
type registration struct {
	filters [subsystemCount]Phases
	reports [subsystemCount]events
}

// take reads a line of the handshake. ready is the last one.
func (r *registration) take(line string) (ready bool, err error) {
	f := strings.Split(line, "|")
	switch {
	case line == "register|ready":
		return true, nil
	case f[0] != "register":
		return false, fmt.Errorf("said %q before register|ready", abbreviate(line))
	case len(f) != 4:
		return false, fmt.Errorf("cannot register %q", abbreviate(line))
	}
	sub := SMTPIn
	if f[2] == SMTPOut.String() {
		sub = SMTPOut
	} else if f[2] != SMTPIn.String() {
		return false, fmt.Errorf("cannot register for %q", abbreviate(f[2]))
	}
	switch f[1] {
	case "report":
		e, ok := ParseEvent(f[3])
		switch {
		case f[3] == "*":
			r.reports[sub] = allEvents
		case ok:
			r.reports[sub] |= 1 << e
		default:
			return false, fmt.Errorf("cannot register for reports of %q", abbreviate(f[3]))
		}
	case "filter":
		p, ok := ParsePhase(f[3])
		if !ok || sub == SMTPOut && !outgoing.Has(p) {
			return false, fmt.Errorf("cannot register to filter %s %q", sub, abbreviate(f[3]))
		}
		r.filters[sub] = r.filters[sub].With(p)
	default:
		return false, fmt.Errorf("cannot register for %q", abbreviate(f[1]))
	}
	return false, nil
}
