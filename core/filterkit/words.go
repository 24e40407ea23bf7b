package filterkit

// Event is something that happened in a session.
type Event string

// The events, and what their handlers are given.
const (
	LinkConnect    Event = "link-connect"    // name of the client, pass/fail/error of its confirmation, source, destination
	LinkGreeting   Event = "link-greeting"   // name of the server
	LinkIdentify   Event = "link-identify"   // HELO or EHLO, name
	LinkTLS        Event = "link-tls"        // version:cipher:bits
	LinkAuth       Event = "link-auth"       // pass/fail/error, user
	LinkDisconnect Event = "link-disconnect" // nothing
	TxReset        Event = "tx-reset"        // message
	TxBegin        Event = "tx-begin"        // message
	TxMail         Event = "tx-mail"         // message, ok/permfail/tempfail, address
	TxRcpt         Event = "tx-rcpt"         // message, ok/permfail/tempfail, address
	TxEnvelope     Event = "tx-envelope"     // message, envelope
	TxData         Event = "tx-data"         // message, ok/permfail/tempfail
	TxCommit       Event = "tx-commit"       // message, octets
	TxRollback     Event = "tx-rollback"     // message
	ProtocolClient Event = "protocol-client" // line
	ProtocolServer Event = "protocol-server" // line
	FilterResponse Event = "filter-response" // phase, answer, its parameter
	FilterReport   Event = "filter-report"   // builtin or proc, filter, text
	Timeout        Event = "timeout"         // nothing
)

// eventArgs says into how many arguments the line of an event is split at most. An address or a line
// may contain what separates them.
var eventArgs = map[Event]int{
	LinkConnect: 4, LinkGreeting: 1, LinkIdentify: 2, LinkTLS: 1, LinkAuth: 2, LinkDisconnect: 0,
	TxReset: 1, TxBegin: 1, TxMail: 3, TxRcpt: 3, TxEnvelope: 2, TxData: 2, TxCommit: 2, TxRollback: 1,
	ProtocolClient: 1, ProtocolServer: 1, FilterResponse: 3, FilterReport: 3, Timeout: 0,
}

// Phase is a command that a filter decides about.
type Phase string

// The phases, and the value that their handlers are given.
const (
	Connect  Phase = "connect"   // name of the client|address
	Helo     Phase = "helo"      // name
	Ehlo     Phase = "ehlo"      // name
	StartTLS Phase = "starttls"  // nothing
	Auth     Phase = "auth"      // mechanism and initial response
	MailFrom Phase = "mail-from" // address without brackets
	RcptTo   Phase = "rcpt-to"   // address without brackets
	Data     Phase = "data"      // nothing
	Commit   Phase = "commit"    // nothing; the message is there, an answer decides its fate
	Rset     Phase = "rset"      // nothing
	Quit     Phase = "quit"      // nothing
	Noop     Phase = "noop"      // nothing

	dataLine Phase = "data-line" // by Lines and Message
)
