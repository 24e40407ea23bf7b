package daemon

import (
	"net/netip"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/mta"
	"github.com/godwit-mta/godwit/core/stats"
	"github.com/godwit-mta/godwit/core/trace"
)

// The messages between the processes. "->" says who sends; a line without "answer" wants
// none.
const (
	// parent -> any member
	kindHello     ipc.Kind = iota + 1 // hello; answer nil
	kindPeer                          // peer and its socket; answer nil
	kindListener                      // a listening socket, for the next kindPrepare or kindAddresses
	kindPrepare                       // the role's part of the configuration; answer nil
	kindActivate                      // answer nil
	kindAbandon                       // answer nil
	kindAddresses                     // addresses, to dispatcher and lookup; answer nil
	kindDrain                         // drain; answer nil when done
	kindVerbosity                     // verbosity; answer nil
	kindQuiet                         // begin nothing new, to the queue before it drains; answer nil

	// any member -> parent
	kindLogLine // logLine

	// dispatcher -> crypto
	kindSign // signRequest; answer signature

	// dispatcher -> lookup
	kindRecipient // recipientRequest; answer recipientReply
	kindPTR       // addrRequest; answer ptrReply
	kindMX        // nameRequest; answer mxReply
	kindHost      // nameRequest; answer hostReply
	kindTLSA      // tlsaRequest; answer tlsaReply
	kindSTS       // nameRequest; answer stsReply
	kindTLSPolicy // nameRequest; answer foundReply
	kindAuth      // authRequest; answer foundReply
	kindSender    // senderRequest; answer foundReply
	kindAddrName  // addrNameRequest; answer foundReply
	kindRoute     // routeRequest; answer routeReply
	kindUser      // authRequest without a password; answer foundReply
	kindScram     // scramRequest; answer scramReply

	kindFilterMatch // matchRequest; answer foundReply

	kindTLSResults // tlsResults

	// lookup -> queue, and the queue's own notices by way of lookup
	kindEnvelopes // newEnvelopes

	// queue -> lookup
	kindNoticeRecipient // recipientRequest; answer recipientReply

	// dispatcher -> queue
	kindReserve  // reserveRequest; answer reserveReply
	kindBodyFile // messageRef; answer nil and a descriptor
	kindCommit   // commitRequest; answer commitReply
	kindAbort    // messageRef
	kindResults  // results
	kindBody     // bodyRequest; answer bodyReply, and a descriptor when it is large
	kindReached  // reached
	kindPause    // partPause; answer partPause

	// dispatcher -> parent
	kindPassword    // authRequest without a table; answer foundReply
	kindFilterStart // filterRequest; answer programReply and a socket

	// parent -> hasher
	kindVerify // verifyRequest; answer verifyReply

	// queue -> dispatcher
	kindRelay  // relayTask
	kindPaused // pausedParts, before the first relayTask

	// queue -> parent
	kindAgent   // agentRequest; answer agentReply and a socket
	kindBackend // backendRequest; answer programReply and a socket
	kindResumed // resumed

	// queue -> agent
	kindDeliver // deliverRequest; answer mda.Outcome

	// lookup -> parent
	kindForward // forwardRequest; answer forwardReply

	// lookup -> parent, for tables of a configuration that lookup holds
	kindTableFile  // fileRequest; answer nil and a descriptor
	kindTableStart // tableRequest; answer programReply and a socket

	kindSTSFiles    // answer nil and two descriptors
	kindReportFiles // the same

	// lookup -> dispatcher
	kindReportMail // reportMail; answer nil

	// lookup, queue or dispatcher -> parent
	kindProgramStop // programStop

	// parent -> lookup
	kindUserinfo // userinfoRequest; answer userinfoReply

	// control -> parent, queue, dispatcher, lookup
	kindAdmin // a request of core/control, whatever its kind there
	kindStats // answer statsReply
)

// hello is what a member is told before anything else.
type hello struct {
	Version   string // of the parent's program
	Stderr    bool   // log to standard error
	Verbosity verbosity
	Drop      bool // give up root
	Root      string
	User      string
	UID       uint32
	GID       uint32
	Groups    []uint32
	Home      string // of an agent
	// Commands of users are run by this agent. They may be programs that gain privileges on
	// purpose, such as procmail, which no-new-privileges would break.
	Commands bool
	Spool    string // the queue's directory, as it is seen from inside Root
}

type peer struct{ Role string }

type drain struct{ Wait int64 } // nanoseconds

// verbosity is what is logged.
type verbosity struct {
	Verbose bool
	Traced  uint32   // a trace.Subsystem
	Clients []string // of trace.ParseClientText
}

func verbosityOf(log *trace.Logger) verbosity {
	v := verbosity{Verbose: log.Verbose(), Traced: uint32(log.Traced())}
	for _, c := range log.Clients() {
		v.Clients = append(v.Clients, c.String())
	}
	return v
}

func (v *verbosity) apply(log *trace.Logger) {
	log.SetVerbose(v.Verbose)
	log.SetTraced(trace.Subsystem(v.Traced))
	var list []trace.Client
	for _, text := range v.Clients[:min(len(v.Clients), trace.MaxClients)] {
		if c, ok := trace.ParseClientText(text); ok {
			list = append(list, c)
		}
	}
	log.SetClients(list)
}

type logLine struct {
	Level uint8
	Line  string
}

// signRequest asks for a signature by the key of a pki. Hash is a crypto.Hash, PSS asks
// for RSASSA-PSS with a salt as long as the hash.
type signRequest struct {
	Generation uint64 // of the configuration in which the pki is meant
	PKI        string
	Digest     []byte
	Hash       uint
	PSS        bool
}

type signature struct{ Bytes []byte }

// session is what is known of a client when it names a recipient.
type session struct {
	Local         bool // over the local socket
	Addr          netip.Addr
	RDNS          string // name of the client; "" when it has none
	FCrDNS        bool   // RDNS resolves back to Addr
	Helo          string
	Tag           string
	SMTPName      string
	TLS           bool
	Authenticated bool
	Username      string
	Watched       uint64 // the number of the session, when it is traced by itself
}

// recipientRequest asks who gets a message. The envelopes go from lookup to the queue.
type recipientRequest struct {
	Message envelope.MessageID
	Session session
	Sender  string
	Rcpt    string
	Notify  uint8
	Ret     string
	EnvID   string
	ORcpt   string
	Index   int   // which RCPT of the transaction this is
	Notice  bool  // the message is a notice of ours
	Flags   uint8 // SMTPUTF8 and RequireTLS of the envelope
	// Generation is that of the configuration that the session began with, 0 for the one
	// in use.
	Generation uint64
}

// recipientReply is the refusal (Code is not 0), or how many envelopes were sent.
type recipientReply struct {
	Code      int
	Enhanced  []int
	Text      string
	Envelopes int
}

// newEnvelopes are the envelopes that one RCPT became.
type newEnvelopes struct {
	Message   envelope.MessageID
	Index     int
	Envelopes []*envelope.Envelope
}

// reserveRequest asks for N ids and for room for a message of Size octets; with N 0 only for that.
type reserveRequest struct {
	N    int
	Size int64
}

type reserveReply struct{ IDs []envelope.MessageID }

// messageRef names a message under way. Envelopes is the number that lookup announced for it.
type messageRef struct {
	Message   envelope.MessageID
	Envelopes int
}

// commitRequest ends a transaction. Body is nil when the message is in the file that
// kindBodyFile gave.
type commitRequest struct {
	Message   envelope.MessageID
	Envelopes int // that lookup sends
	// Relayed are envelopes that the dispatcher made, one each of the first RCPTs.
	Relayed []*envelope.Envelope
	Body    []byte
	Size    int64
	// TLSOptional: its header says so.
	TLSOptional bool
}

// commitReply names the envelopes in the order of the RCPTs, the last one of each.
type commitReply struct {
	NoSpace bool
	Error   string
	IDs     []envelope.ID
}

// relayTask is one message and those of its recipients who go through one relay. The
// message itself comes with it only when it is small.
type relayTask struct {
	Action    string
	Sender    address.Address // that of the envelopes, rewritten if the action asks for it
	Envelopes []*envelope.Envelope
	Body      []byte // nil: to be asked for with kindBody
	Size      int64
}

// bodyRequest asks for the message of envelopes of which one is being relayed.
type bodyRequest struct{ Envelopes []envelope.ID }

// bodyReply is the message, or nothing when its descriptor comes along.
type bodyReply struct{ Body []byte }

type results struct{ Results []envelope.Result }

// partPause says, with Set, whether a part of the server is paused, or asks for it.
type partPause struct {
	Part        string
	Set, Paused bool
}

// pausedParts are the parts of the relay that are paused.
type pausedParts struct{ Parts []string }

// resumed tells the parent that a part which the command line paused is so no more.
type resumed struct{ Part string }

// reached names destinations that may take mail again.
type reached struct{ Destinations []mta.Destination }

// agentRequest asks for an agent of a user. Mailbox asks for one that may lock and append
// to the user's system mailbox and does nothing else.
type agentRequest struct {
	User     string
	UserBase string
	Mailbox  bool
	Commands bool // runs commands of the user or the configuration
}

// agentReply says what the agent's user is, or why there is none.
type agentReply struct {
	Error     string
	Permanent bool
	Home      string
	UID       uint32
	GID       uint32
}

// deliverRequest is one delivery by an agent. The message comes with it: Body, or a
// descriptor when it is large.
type deliverRequest struct {
	Method      uint8
	Path        string
	Argv        []string
	Wrapper     string
	WrapperArgv []string
	Junk        bool
	RcptTo      bool
	User        string
	Sender      address.Address
	Rcpt        address.Address
	Dest        address.Address
	Subaddress  string
	Hostname    string
	Body        []byte
	Size        int64
}

// forwardRequest asks for a user's .forward. The file must belong to UID.
type forwardRequest struct {
	User string
	UID  uint32
	GID  uint32
	Home string
}

type forwardReply struct {
	Found    bool
	Content  []byte
	Error    string
	Insecure bool // others could have written it; permanent
}

// fileRequest asks for a file of a table that lookup may not read itself.
type fileRequest struct{ Path string }

// tableRequest asks for the program of a table to be started.
type tableRequest struct {
	Generation uint64 // of the configuration in which the table is meant
	Name       string
}

// backendRequest asks for the program that the command line names for the queue, or for the
// scheduler.
type backendRequest struct{ Scheduler bool }

// filterRequest asks for a filter process.
type filterRequest struct {
	Generation uint64
	Name       string
}

// programReply comes with the socket to the program.
type programReply struct{ ID uint64 }

// programStop says that a program is not needed any more.
type programStop struct{ ID uint64 }

type userinfoRequest struct{ Table, User string }

type userinfoReply struct {
	Found bool
	Error string
	UID   uint32
	GID   uint32
	Home  string
}

type statsReply struct{ Values []stats.Value }
