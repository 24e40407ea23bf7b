package smtp

import (
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	gosmtp "github.com/emersion/go-smtp"
)

// Backend makes the session that stands behind a connection. NewSession is called before
// the banner. An error refuses the client: an *SMTPError with its own reply, any other with
// 421. A session that comes with an error serves for the log line and is logged out.
//
// The rules for all methods of a session and its further interfaces: nil gives the usual
// positive reply; an *SMTPError is sent as it is, one with a 2yz code is a success with a
// text of its own, one with 421 or 521 ends the session; any other error is 451. Methods
// are called from one goroutine. Addresses are in the form that address.ParsePath reads:
// quoted where needed, "" for the null reverse-path, possibly without a domain.
//
// Reset is called after RSET, a further EHLO or HELO, STARTTLS, and after each message.
//
// go-smtp's AuthSession offers AUTH: its mechanisms are asked for at each EHLO of an
// encrypted session, and when a client says AUTH in clear, so they may differ from session to
// session; none means no AUTH. An
// error of a mechanism that is no *SMTPError is 454. 535 is a wrong password, which is
// answered late and not often.
type Backend interface {
	NewSession(c *Conn) (gosmtp.Session, error)
}

// HeloSession is told the name of the client and may refuse it.
type HeloSession interface {
	Helo(name string, esmtp bool) error
}

// DataSession is asked before 354 is sent, or before the first chunk of BDAT is taken.
type DataSession interface {
	DataStart() error
}

// MessageSession takes the message in its native form. It is called instead of Data.
// The message may be accepted only after b gave io.EOF. Between the chunks of BDAT the client
// may say other commands: methods of the session for them are called from within b.
type MessageSession interface {
	Message(b *Body) error
}

// TLSSession is told that the session is encrypted now, after STARTTLS. An error ends it.
type TLSSession interface {
	TLSStarted(state tls.ConnectionState) error
}

// CommandSession may refuse the commands that have no method of their own: NOOP, RSET,
// QUIT, HELP, VRFY, EXPN, STARTTLS. verb is in upper case.
type CommandSession interface {
	Command(verb, arg string) error
}

// HostSession gives the verified name of the client. known is false as long as the look-up
// runs: the line about the connection is logged when it is known, at the end at latest.
type HostSession interface {
	Host() (name string, known bool)
}

// FilterSession is asked about HELO, EHLO, MAIL, RCPT and AUTH before the methods of their own, and
// may change what they are about: the name, the address in the form in which Mail and Rcpt
// get it, the mechanism, which stays as it is. What it gives is checked like what a client says. Of MAIL and
// RCPT it may be a path in brackets, with parameters that take the place of the client's.
type FilterSession interface {
	Filter(verb, arg string) (string, error)
}

// LineSession sees each command and each line of a reply, without line ends. The
// arguments of AUTH are masked, control characters are escaped.
type LineSession interface {
	ClientLine(line string)
	ServerLine(line string)
}

// EndSession is told why the session ends ("quit", "timeout", "disconnect", ...), before Logout.
type EndSession interface {
	End(reason string)
}

// Timeouts of a session; zero means the default.
type Timeouts struct {
	Command time.Duration // for a whole command line, and for a TLS handshake; 5 minutes
	Data    time.Duration // for each piece of a message; 5 minutes
	Rate    int           // octets a second of a message that has taken longer than Data; 0: any
	Session time.Duration // in total; 4 hours
}

// Config is what the sessions of one listener share. It is not changed while they run.
type Config struct {
	Hostname        string      // in the banner and the replies
	Ident           string      // name of the software in the banner
	TLSConfig       *tls.Config // nil: no STARTTLS
	SMTPS           bool        // TLS from the first octet
	TLSRequire      bool        // MAIL is refused without TLS
	AuthRequire     bool        // MAIL is refused without AUTH
	MaxMessageSize  int64       // octets as on the wire, without dot-stuffing; 0: no limit
	MaxRcpt         int         // recipients of a message; 0: no limit
	MaxMails        int         // messages of a session; 0: no limit
	MaxErrors       int         // commands refused for good, then 421; 0: 20. Refused recipients count a tenth
	MaxAuthErrors   int         // wrong passwords, then 421; 0: 5
	MaxIdleCommands int         // commands without a message among them, then 421; 0: 1000
	Normalize       bool        // bare LF and CR are line ends
	DSN             bool
	TakeEarly       bool          // a client that talks before the banner is logged, not refused
	AuthDelay       time.Duration // a wrong password is answered after a random time below this
	Timeouts        Timeouts
}

// Peer says who is at the other end.
type Peer struct {
	Remote, Local netip.AddrPort // not valid for a local socket
	Socket        bool           // a local program over the socket
	User          string         // its user, "" when unknown
	UID           int            // its user id, -1 when unknown
	Source        *Source        // what it does in all its sessions; nil: no limits
}

// PeerOf gives what a connection itself says about its ends. The user of a local one is
// not among it.
func PeerOf(conn net.Conn) Peer {
	p := Peer{UID: -1}
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		p.Remote = a.AddrPort()
	}
	if a, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		p.Local = a.AddrPort()
	}
	_, p.Socket = conn.LocalAddr().(*net.UnixAddr)
	return p
}

const (
	defaultTimeout  = 5 * time.Minute
	defaultSession  = 4 * time.Hour
	defaultErrors   = 20
	defaultIdle     = 1000
	defaultIdent    = "Godwit"
	handshakeMost   = time.Minute // a client needs no longer for a handshake
	lingerTime      = 2 * time.Second
	lingerOctets    = 256 << 10
	defaultAuth     = 5
	rcptErrorWeight = 1
	errorWeight     = 10
)

func orCount(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}
