package config

import (
	"net/netip"
	"time"
)

// Pos is a place in a configuration file. Line and Column count from 1.
type Pos struct {
	File   string
	Line   int
	Column int
}

// Config is a checked configuration: every name in it is defined, every default filled
// in. Its types are plain data, so that parts of it can be sent to other processes.
type Config struct {
	Language       Language // of the file
	Hostname       string   // "server name": mailname file or the host's name
	ADMD           string
	MaxMessageSize int64           // octets
	SubAddrDelim   string          // one character
	QueueTTL       time.Duration   // how long a message is tried
	Schedule       []time.Duration // waits between attempts; empty: the usual ones
	MaxBodyMemory  int64           // octets of messages under way that are kept in memory
	QueueCompress  string          // "gzip" or "zstd"; empty: none
	QueueKeys      []string        // see QueueKeyStdin; the first one encrypts, all decrypt
	SRS            SRS
	WarnIntervals  []time.Duration // delay notices
	Bounce         Bounce
	MaxRcpt        int // recipients a transaction
	MaxMails       int // messages a session
	SMTP           SMTPLimits
	Ciphers        string
	MTAMaxDeferred int
	DANE           DANE
	STS            bool   // MTA-STS, RFC 8461
	TLSPolicy      string // table: domain -> one of TLSPolicies; "" for none
	TLSReport      TLSReport
	MTALimits      []MTALimits // the first has no Domain and holds the defaults
	MDA            MDALimits
	Scheduler      SchedulerLimits
	Wrappers       []Wrapper
	CAs            []CA
	PKIs           []PKI
	Tables         []Table
	Procs          []Proc
	Filters        []Filter
	Listeners      []Listener
	Socket         SocketListener
	Actions        []Action
	Rules          []Rule
	Unsupported    []Unsupported
}

// What QueueKeys may hold besides keys, which have QueueKeySize octets.
const (
	QueueKeyNone  = "none"  // as the first one: nothing is encrypted any more
	QueueKeyStdin = "stdin" // a line of standard input
	QueueKeyFile  = "file:" // before the path of a file that has a key on each line
	QueueKeySize  = 32
)

// Unsupported is what keeps smtpd from starting although smtpd -n only warns of it: a
// construct that is not carried out yet, or one that OpenSMTPD's own -n takes and that
// could never work.
type Unsupported struct {
	Pos  Pos
	What string
	Line string // the text of the line, without its end
}

// Bounce is what notices may hold and how many may be sent.
type Bounce struct {
	ReturnFull string // which senders may have their whole message back
	MaxReturn  int64  // octets of the largest message that is returned whole
	// Notices an hour that answer mail from outside and go outside, 0: no limit.
	MaxSender, MaxDomain, MaxTotal int
}

// The values of ReturnFull.
const (
	ReturnAny           = "any"
	ReturnAuthenticated = "authenticated" // local ones too
	ReturnNone          = "none"
)

// SRS is the srs directive. An empty Key means that it was not given.
type SRS struct {
	Key, BackupKey string
	TTL            time.Duration
}

// MTALimits are the limits of mta limit. Domain is empty for the defaults.
type MTALimits struct {
	Domain                string
	Family                string // "", "inet4" or "inet6"
	MaxConnPerHost        int
	MaxConnPerRoute       int
	MaxConnPerSource      int
	MaxConnPerConnector   int
	MaxConnPerRelay       int
	MaxConnPerDomain      int
	ConnDelayHost         time.Duration
	ConnDelayRoute        time.Duration
	ConnDelaySource       time.Duration
	ConnDelayConnector    time.Duration
	ConnDelayRelay        time.Duration
	ConnDelayDomain       time.Duration
	ReconnDelayRoute      time.Duration
	SessionMailMax        int
	TransactionDelay      time.Duration
	SessionKeepalive      time.Duration
	MaxFailuresPerSession int
	StartConn             int
	MailPerMinuteHost     int    // 0: no limit
	MailPerMinuteDomain   int    // 0: no limit
	Prefer                string // "", "inet4" or "inet6"
	TaskHiwat             int
	TaskLowat             int
	TaskRelease           int
}

// MDALimits are the limits of mda limit.
type MDALimits struct {
	MaxSession        int
	MaxSessionPerUser int
	TaskHiwat         int
	TaskLowat         int
	TaskRelease       int
}

// SchedulerLimits are the limits of scheduler limit.
type SchedulerLimits struct {
	MaxInflight     int
	MaxEvpBatchSize int
	MaxMsgBatchSize int
	MaxSchedule     int
}

// Wrapper is mda wrapper NAME COMMAND.
type Wrapper struct{ Name, Command string }

// CA is ca NAME cert FILE.
type CA struct {
	Pos        Pos
	Name, File string
}

// PKI is pki NAME. Name is "*" or a host name in lower case.
type PKI struct {
	Pos             Pos // where it is first named
	Name, Cert, Key string
	DHE             string // "none", "auto" or "legacy"
}

// TableKind says how the entries of a table are written.
type TableKind uint8

// The kinds. A file's kind is known when it is read.
const (
	UnknownKind TableKind = iota
	ListKind
	MapKind
)

// Table is a declared table, or one written in place, which is named "<dynamic:N>".
type Table struct {
	Pos     Pos
	Name    string
	Backend string // "static", "file", "db", "getpwnam" or the name of a table program
	Path    string // of a file, or the argument of a program
	Kind    TableKind
	Entries []Entry // of a static table
}

// Entry is a key of a list, or a key and a value of a mapping.
type Entry struct{ Key, Value string }

// Names of the built-in tables. Names cannot be given twice, so no table of a file is
// ever called so.
const (
	LocalNames     = "<localnames>"     // localhost, the server's name, every interface's address
	LocalHost      = "<localhost>"      // "local" and every interface's address
	AnyHost        = "<anyhost>"        // every address
	AnyDestination = "<anydestination>" // every domain
	GetPwNam       = "<getpwnam>"       // the system's users
)

// Proc is a filter process: proc NAME COMMAND.
type Proc struct {
	Name, Command, User, Group, Chroot string

	FailOpen bool // what it does not decide goes on
}

// Filter is filter NAME. Exactly one of Proc, Chain and Phase is set.
type Filter struct {
	Pos      Pos
	Name     string
	Proc     string
	Chain    []string
	Phase    string
	Cond     Match  // of a builtin filter; which criterion is in CondName
	CondName string // fcrdns rdns src helo auth mail-from rcpt-to
	Decision string // reject disconnect rewrite report junk bypass
	Text     string
}

// Listener is listen on INTERFACE.
type Listener struct {
	Pos          Pos
	Interface    string // as written: an interface, an address or a host name
	Port         uint16
	Family       string // "", "inet4" or "inet6"
	TLS          bool   // offers STARTTLS
	TLSRequire   bool
	TLSVerify    bool // a client certificate is demanded
	SMTPS        bool
	PKI          []string
	CA           string
	Ciphers      string
	Protocols    string
	Auth         bool
	AuthOptional bool
	AuthTable    string // "" is the system's passwords
	Scram        bool   // offers SCRAM-SHA-256
	Senders      string // table
	Masquerade   bool
	Tag          string
	Hostname     string
	Hostnames    string // table
	MaskSrc      bool
	ReceivedAuth bool
	NoDSN        bool
	ProxyV2      bool
	Normalize    bool // bare LF and CR in data become line ends instead of a refusal
	Filter       string
}

// SocketListener is listen on socket.
type SocketListener struct {
	Tag     string
	MaskSrc bool
	NoDSN   bool
	Filter  string
}

// Method is how an action delivers.
type Method string

// The methods.
const (
	MBox        Method = "mbox"
	Maildir     Method = "maildir"
	LMTP        Method = "lmtp"
	MDACommand  Method = "mda"
	ForwardOnly Method = "forward-only"
	ExpandOnly  Method = "expand-only"
	RelayMethod Method = "relay"
)

// Action is action NAME METHOD. Tables are named as in Config.Tables or are built-in.
type Action struct {
	Pos      Pos
	Name     string
	Method   Method
	TTL      time.Duration   // 0: that of the queue
	Schedule []time.Duration // empty: that of the queue
	Path     string          // maildir: pattern, "" is ~/Maildir; lmtp: destination; mda: command
	Junk     bool
	RcptTo   bool   // lmtp: RCPT TO is the recipient instead of the user
	Alias    string // table
	Virtual  string // table
	User     string
	UserBase string // table, GetPwNam when not given
	Wrapper  string
	Relay    Relay
}

// Relay holds the options of a relay action.
// TLSPolicies gives what the table of TLS policies can say about a domain.
func TLSPolicies() []string { return []string{"dane", "encrypt", "may", "secure"} }

// DANE says whether mail goes out under the rules of RFC 7672.
type DANE struct {
	On bool
	// Resolvers are the name servers that are trusted to validate; those on loopback
	// addresses when there are none.
	Resolvers []netip.Addr
}

type Relay struct {
	Helo        string
	HeloSrc     string // table
	PKI         string
	CA          string
	Ciphers     string
	Protocols   string
	Src         string // table
	MailFrom    string
	Backup      bool
	BackupMX    string
	Host        string // relay URL, or
	HostTable   string // table of relay URLs
	DomainTable string // table: domain -> relay URL
	TLS         bool
	NoVerify    bool
	Auth        string // table
	Filter      string
	SRS         bool
}

// Match is one criterion of a rule.
type Match struct {
	On    bool // the criterion was given
	Not   bool
	Regex bool
	Table string // "" where the criterion asks for the mere presence
}

// Rule is a match line. The criteria are tested in the order of the fields.
type Rule struct {
	Pos        Pos
	Tag        Match
	FromSocket Match
	From       Match // never off: LocalHost by default
	OrTrusted  bool  // From covers who authenticated and what expansion made as well
	RDNS       Match
	For        Match // never off: LocalNames by default
	Helo       Match
	Auth       Match
	TLS        Match
	MailFrom   Match
	RcptTo     Match
	Reject     bool
	Action     string
}

// Tables gives the names of the tables that its criteria ask, "" for those that ask none.
func (r *Rule) Tables() []string {
	return []string{r.Tag.Table, r.FromSocket.Table, r.From.Table, r.RDNS.Table, r.For.Table, r.Helo.Table, r.Auth.Table, r.TLS.Table,
		r.MailFrom.Table, r.RcptTo.Table}
}
