package filter

// Subsystem says whose session it is.
type Subsystem uint8

// The subsystems.
const (
	SMTPIn  Subsystem = iota // a client's with us
	SMTPOut                  // ours with another server
	subsystemCount
)

// String gives the name of smtpd-filters(7).
func (s Subsystem) String() string {
	if s == SMTPOut {
		return "smtp-out"
	}
	return "smtp-in"
}

// Event is what may be reported of a session.
type Event uint8

// The events, with their parameters.
const (
	LinkConnect    Event = iota // name of the other end or <unknown>, FCrDNS, source, destination
	LinkGreeting                // host name in the banner
	LinkIdentify                // HELO, EHLO or LHLO; name
	LinkTLS                     // version:cipher:bits
	LinkAuth                    // pass, fail or error; user
	LinkDisconnect              //
	TxReset                     // message id
	TxBegin                     // message id
	TxMail                      // message id; ok, permfail or tempfail; address
	TxRcpt                      // message id; ok, permfail or tempfail; address
	TxEnvelope                  // message id, envelope id
	TxData                      // message id; ok, permfail or tempfail
	TxCommit                    // message id, size
	TxRollback                  // message id
	ProtocolClient              // line
	ProtocolServer              // line
	FilterReport                // builtin or proc, name of the filter, text
	FilterResponse              // phase, verdict, text if any
	Timeout                     //
	eventCount
)

func eventNames() [eventCount]string {
	return [eventCount]string{"link-connect", "link-greeting", "link-identify", "link-tls", "link-auth", "link-disconnect",
		"tx-reset", "tx-begin", "tx-mail", "tx-rcpt", "tx-envelope", "tx-data", "tx-commit", "tx-rollback",
		"protocol-client", "protocol-server", "filter-report", "filter-response", "timeout"}
}

// String gives the name of smtpd-filters(7).
func (e Event) String() string {
	if e >= eventCount {
		return "unknown"
	}
	return eventNames()[e]
}

// ParseEvent reads a name.
func ParseEvent(name string) (Event, bool) {
	for i, n := range eventNames() {
		if n == name {
			return Event(i), true
		}
	}
	return 0, false
}

// events is a set of events.
type events uint32

const allEvents events = 1<<eventCount - 1

func (s events) has(e Event) bool { return s&(1<<e) != 0 }
