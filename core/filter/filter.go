package filter

import (
	"context"
	"net/netip"
)

// Phase is a moment at which filters decide.
type Phase uint8

// The phases, in the order in which a session usually meets them.
const (
	Connect Phase = iota
	Helo
	Ehlo
	StartTLS
	Auth
	MailFrom
	RcptTo
	Data
	DataLine
	Commit
	Rset
	Quit
	Noop
	Help
	Wiz // may be registered, and never happens
	phaseCount
)

func phaseNames() [phaseCount]string {
	return [phaseCount]string{"connect", "helo", "ehlo", "starttls", "auth", "mail-from", "rcpt-to", "data", "data-line", "commit",
		"rset", "quit", "noop", "help", "wiz"}
}

// String gives the name of smtpd-filters(7).
func (p Phase) String() string {
	if p >= phaseCount {
		return "unknown"
	}
	return phaseNames()[p]
}

// ParsePhase reads a name.
func ParsePhase(name string) (Phase, bool) {
	for i, n := range phaseNames() {
		if n == name {
			return Phase(i), true
		}
	}
	return 0, false
}

// Phases is a set of phases.
type Phases uint32

// Has reports whether p is in the set.
func (s Phases) Has(p Phase) bool { return s&(1<<p) != 0 }

// With gives the set with p in it.
func (s Phases) With(p Phase) Phases { return s | 1<<p }

// outgoing are the phases in which filters decide about our sessions with other servers.
const outgoing Phases = 1<<MailFrom | 1<<RcptTo | 1<<Data | 1<<DataLine | 1<<Commit

// Verdict is what a filter decides.
type Verdict uint8

// The verdicts.
const (
	Proceed    Verdict = iota
	Junk               // goes on; the message is marked as spam
	Bypass             // goes on past all filters: see Link.bypass. Of builtin filters only
	Report             // goes on; the text is reported to whoever looks at the session
	Rewrite            // goes on with another argument
	Reject             // the command is refused
	Disconnect         // and the session is ended
	verdictCount
)

func verdictNames() [verdictCount]string {
	return [verdictCount]string{"proceed", "junk", "bypass", "report", "rewrite", "reject", "disconnect"}
}

// String gives the word of smtpd-filters(7) and smtpd.conf(5).
func (v Verdict) String() string {
	if v >= verdictCount {
		return "unknown"
	}
	return verdictNames()[v]
}

// ParseVerdict reads a word.
func ParseVerdict(word string) (Verdict, bool) {
	for i, n := range verdictNames() {
		if n == word {
			return Verdict(i), true
		}
	}
	return 0, false
}

// Decision is a verdict with its text: of Reject and Disconnect a reply ("550 5.7.1 no"), of
// Rewrite the new argument, of Report what is reported.
type Decision struct {
	Verdict Verdict
	Text    string
}

// FCrDNS says whether the name of a client leads back to its address.
type FCrDNS string

// What is known of the name.
const (
	Pass    FCrDNS = "pass"
	Fail    FCrDNS = "fail"
	Failing FCrDNS = "error" // the look-up failed
)

// Session is what is known of a session. Whoever has the session writes it, between the
// questions; filters read it while they are asked.
type Session struct {
	ID        uint64
	Subsystem Subsystem
	Host      string         // name of the client; "" when it has none
	FCrDNS    FCrDNS         // of Host
	Source    netip.AddrPort // of the client; not valid for a local one
	Local     bool           // a program on this host, over the socket
	Helo      string         // "" before it said it
	TLS       bool
	User      string // who the client proved to be; "" without AUTH
	Auth      bool   // authenticated, or Local
	Sender    string // of the message under way
	Mail      bool   // a message is under way
}

// Filter is a builtin filter: it decides from what is known.
type Filter interface {
	// Phases are those in which it is to be asked.
	Phases() Phases
	// Decide is asked in one of these. arg is what the phase is about: of HELO and EHLO the
	// name, of MAIL and RCPT the address without brackets. An error is answered with 4yz and
	// logged.
	Decide(ctx context.Context, s *Session, p Phase, arg string) (Decision, error)
}
