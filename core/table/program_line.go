package table

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The protocol of smtpd-tables(7). A line is at most MaxLine octets, without its end.
const (
	protocolVersion = "0.1"
	// spokenVersion is the release of OpenSMTPD whose protocol we speak: programs look at
	// it to find out what they are talking to.
	spokenVersion = "7.8.0"
	mostRegisters = 64 // lines of a handshake
)

// greeting is what a program is told before it has to say anything.
func greeting(table string) string {
	return "config|smtpd-version|" + spokenVersion + "\nconfig|protocol|" + protocolVersion +
		"\nconfig|tablename|" + table + "\nconfig|ready\n"
}

// parseRegister reads a line of the program's part of the handshake.
func parseRegister(line string) (service Service, ready bool, err error) {
	name, ok := strings.CutPrefix(line, "register|")
	switch {
	case !ok:
		return 0, false, fmt.Errorf("said %q instead of what it serves", abbreviate(line))
	case name == "ready":
		return 0, true, nil
	}
	if service, ok = ParseService(name); !ok {
		return 0, false, fmt.Errorf("serves %q, which does not exist", abbreviate(name))
	}
	return service, false, nil
}

// The verbs of requests. The answer to each has the same with "-result".
const (
	verbUpdate = "update"
	verbCheck  = "check"
	verbLookup = "lookup"
	verbFetch  = "fetch"
)

// request writes a line for the program. Service and key are left out of an update, the
// key also of a fetch.
func request(at time.Time, table, verb string, service Service, id, key string) string {
	line := fmt.Sprintf("table|%s|%d.%06d|%s|%s|", protocolVersion, at.Unix(), at.Nanosecond()/1000, table, verb)
	switch verb {
	case verbUpdate:
		return line + id + "\n"
	case verbFetch:
		return line + service.String() + "|" + id + "\n"
	}
	return line + service.String() + "|" + id + "|" + key + "\n"
}

// result is what a program answered to one request.
type result struct {
	found bool
	value string // of lookup and fetch, not empty when found
	err   error  // concerns this request only
}

// parseAnswer reads VERB-result|ID|RESULT. What comes after the second bar belongs to the
// result, bars included.
func parseAnswer(line string) (verb, id, res string, err error) {
	verb, rest, _ := strings.Cut(line, "|")
	verb, suffixed := strings.CutSuffix(verb, "-result")
	id, res, whole := strings.Cut(rest, "|")
	if !suffixed || !whole {
		return "", "", "", fmt.Errorf("answered %q", abbreviate(line))
	}
	return verb, id, res, nil
}

// parseResult reads the result of a request. An error means that the program does not
// speak the protocol; what it cannot tell about one key is in the result.
func parseResult(verb, res string) (r result, err error) {
	word, value, valued := strings.Cut(res, "|")
	switch {
	case word == "error":
		r.err = errors.New("answered an error")
		if value != "" {
			r.err = fmt.Errorf("answered the error %q", abbreviate(value))
		}
	case word == "ok" && !valued && verb == verbUpdate:
	case verb == verbUpdate:
		err = fmt.Errorf("answered %q to an update", abbreviate(res))
	case word == "not-found" && !valued:
	case word == "found" && verb == verbCheck:
		r.found = true // what is told besides does not matter
	case word == "found" && value == "":
		r.err = errors.New("answered found without a value")
	case word == "found" && strings.ContainsFunc(value, control):
		r.err = errors.New("answered a value with control characters")
	case word == "found":
		r.found, r.value = true, value
	default:
		err = fmt.Errorf("answered %q to a %s", abbreviate(res), verb)
	}
	return r, err
}

// abbreviate keeps what is foreign from filling the log.
func abbreviate(s string) string {
	if len(s) > 200 {
		return s[:200] + "..."
	}
	return s
}
