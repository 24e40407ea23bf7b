package daemon

import (
	"net/netip"
	"time"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/queue"
)

// The parts of the configuration, one a role.

type controlConfig struct{ Started int64 } // Unix time

type cryptoConfig struct {
	Generation uint64
	Keys       []namedPEM
}

type namedPEM struct {
	Name string
	PEM  []byte
}

type lookupConfig struct {
	Generation   uint64
	Hostname     string
	SubAddrDelim string
	QueueTTL     time.Duration
	Tables       []config.Table
	Actions      []config.Action
	Rules        []config.Rule
	Wrappers     []config.Wrapper
	Sessions     []tableUse
	Filters      []config.Filter // those that something uses
	Interfaces   []netip.Addr
	DaemonUser   string
	SRS          config.SRS
	DANE         config.DANE
	STS          bool
	SystemCAs    []byte // where STS or TLSReport is set
	TLSReport    config.TLSReport
	TLSPolicy    string // table
	ScramSecret  []byte // for salts of unknown users
}

type dispatcherConfig struct {
	Generation     uint64
	Hostname       string
	MaxMessageSize int64
	MaxRcpt        int
	MaxMails       int
	SMTP           config.SMTPLimits
	Listeners      []boundListener // in the order of the sockets
	Socket         config.SocketListener
	Ciphers        string     // of listeners that have none of their own
	Chains         []namedPEM // certificates of the pkis
	CAs            []namedPEM
	SystemCAs      []byte
	Relays         []config.Action
	Tables         []config.Table // static ones that relays name
	Rules          []config.Rule  // those that can be tried here
	RuleTables     []config.Table // lists that they name
	SubAddrDelim   string
	QueueTTL       time.Duration
	SRS            bool
	MTALimits      []config.MTALimits
	Interfaces     []netip.Addr
	Filters        []config.Filter // those that something uses
	FailOpen       []string        // processes of filters
	ADMD           string
	Version        string // of the program
	ControlSocket  string
	PausedSMTP     bool
	DANE           bool
	STS            bool
	TLSPolicy      bool
	TLSReport      bool
}

// addresses are what changed on the host while a configuration is in use. The sockets of
// Added, in its order, come before it as kindListener. Gone is closed first.
type addresses struct {
	Interfaces []netip.Addr // all of them
	Added      []boundListener
	Gone       []netip.AddrPort
}

// boundListener is an address of a listener.
type boundListener struct {
	config.Listener
	Addr netip.AddrPort
}

type queueConfig struct {
	Hostname      string
	QueueTTL      time.Duration
	SubAddrDelim  string
	WarnIntervals []time.Duration
	Bounce        config.Bounce
	Actions       []config.Action
	MDA           config.MDALimits
	MTALimits     []config.MTALimits
	Scheduler     config.SchedulerLimits
	Schedule      []time.Duration
	MaxBodyMemory int64

	MTAMaxDeferred int
	PausedMDA      bool
	PausedMTA      bool
	MailboxDir     string
	Wrappers       []config.Wrapper
	SRS            config.SRS
	DaemonUser     string
	Backends       Backends
	Spool          string // as other processes see it
	Encoding       queue.Encoding
}
