package smtp

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/trace"
)

// Conn is a session as its backend sees it.
type Conn struct {
	cfg     *Config
	peer    Peer
	t       *trace.Trace
	ctx     context.Context
	raw     net.Conn // the socket
	conn    net.Conn // raw, or TLS over it
	in      input
	first   [1]byte // of a command, as long as in has no buffer
	out     []byte  // replies that are not sent yet
	mute    bool    // sending failed: nothing more is sent
	session gosmtp.Session
	expires time.Time // of the whole session

	hostname string // instead of the configuration's

	helo  string
	esmtp bool
	mail  bool // MAIL was accepted
	utf8  bool // with SMTPUTF8
	rcpts int
	mails int

	chunking bool              // a message is coming in by BDAT
	failed   *gosmtp.SMTPError // a chunk was refused with it: so are those that follow
	pending  []byte            // a command that came instead of the next chunk

	score int // refused commands, in tenths
	idle  int // commands since the last message

	authenticated bool
	authErrors    int  // wrong passwords
	secrets       bool // AUTH was said: what is no command may be a password

	reason string // why the session ends; "" as long as it goes on
	named  bool   // announce has done its work

	mu        sync.Mutex
	announced bool     // the line about the connection is logged
	untold    []string // lines that are to follow it
	waiting   bool     // for a command: may be interrupted
	draining  bool
}

// ID gives the 16 digits of the session that stand in the log.
func (c *Conn) ID() string { return c.t.SID() }

// Trace gives the trace of the session.
func (c *Conn) Trace() *trace.Trace { return c.t }

// Context ends with the session, and when the client goes away before the banner. It
// does not end when the session is only asked to finish.
func (c *Conn) Context() context.Context { return c.ctx }

// RemoteAddr gives the address of the client; it is not valid for a local socket.
func (c *Conn) RemoteAddr() netip.AddrPort { return c.peer.Remote }

// LocalAddr gives our address; it is not valid for a local socket.
func (c *Conn) LocalAddr() netip.AddrPort { return c.peer.Local }

// Local reports whether the client is a program on this host that uses the socket.
func (c *Conn) Local() bool { return c.peer.Socket }

// PeerUser gives the user and user id of a local client; "" and -1 when unknown.
func (c *Conn) PeerUser() (name string, uid int) { return c.peer.User, c.peer.UID }

// Hostname gives our name, as in the banner.
func (c *Conn) Hostname() string {
	if c.hostname != "" {
		return c.hostname
	}
	return c.cfg.Hostname
}

// SetHostname gives this session another name of ours. It is for NewSession: the banner
// comes after that.
func (c *Conn) SetHostname(name string) { c.hostname = name }

// Config gives the configuration of the listener. It must not be changed.
func (c *Conn) Config() *Config { return c.cfg }

// Helo gives the name by which the client greeted; "" before it did.
func (c *Conn) Helo() string { return c.helo }

// ESMTP reports whether the client greeted with EHLO.
func (c *Conn) ESMTP() bool { return c.esmtp }

func (c *Conn) secured() bool {
	_, ok := c.conn.(*tls.Conn)
	return ok
}

// TLS gives the state of the encryption, nil without it.
func (c *Conn) TLS() *tls.ConnectionState {
	if tc, ok := c.conn.(*tls.Conn); ok {
		state := tc.ConnectionState()
		return &state
	}
	return nil
}

// AddrText gives the address of the client as the log shows it: IPv6 in brackets, "local"
// for the socket.
func (c *Conn) AddrText() string {
	if c.peer.Socket || !c.peer.Remote.IsValid() {
		return "local"
	}
	return addrText(c.peer.Remote.Addr())
}

func addrText(ip netip.Addr) string {
	ip = ip.Unmap()
	if ip.Is4() {
		return ip.String()
	}
	return "[" + ip.String() + "]"
}

// Host gives the verified name of the client, "<unknown>" when it has none or when it is
// not known yet.
func (c *Conn) Host() string {
	name, _ := c.host()
	return name
}

func (c *Conn) host() (name string, known bool) {
	known = true
	if s, ok := c.session.(HostSession); ok {
		name, known = s.Host()
	}
	if name == "" {
		name = "<unknown>"
	}
	return name, known
}

// announce logs the connection once, as soon as the name of the client is known, or when
// the session ends.
func (c *Conn) announce(atLast bool) {
	if c.named {
		return
	}
	if name, known := c.host(); known || atLast {
		c.named = true
		c.Named(name)
	}
}

// Named tells the name of the client for the line about the connection, "" when it has none. A
// backend may call it from any goroutine, so that a session that waits is announced too.
func (c *Conn) Named(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.announced {
		return
	}
	if name == "" {
		name = "<unknown>"
	}
	c.announced = true
	c.t.Infof("smtp connected address=%s host=%s", c.AddrText(), name)
	for _, line := range c.untold {
		c.t.Infof("%s", line)
	}
	c.untold = nil
}

// tell logs a line, but not before the one about the connection.
func (c *Conn) tell(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.announced {
		c.t.Infof(format, args...)
		return
	}
	c.untold = append(c.untold, fmt.Sprintf(format, args...))
}

// hang makes the session end after the reply that is being made.
func (c *Conn) hang(reason string) {
	if c.reason == "" {
		c.reason = reason
	}
}

// Hang makes the session end after the reply to the command that is being carried out. It
// is for methods of the session.
func (c *Conn) Hang(reason string) { c.hang(reason) }

func (c *Conn) clearTransaction() {
	c.mail, c.utf8, c.rcpts, c.failed = false, false, 0, nil
}

func (c *Conn) reset() {
	c.clearTransaction()
	c.session.Reset()
}

// mask hides what must not be read in logs: the arguments of AUTH. Only the name of a mechanism
// is shown: any other word may be a password that was sent too early.
func mask(line string) string {
	word := strings.TrimLeft(line, " \t")
	if len(word) < 5 || !strings.EqualFold(word[:4], "AUTH") || alnum(word[4]) {
		return line
	}
	rest := strings.TrimLeft(word[5:], " \t")
	name, arg := rest, ""
	if i := strings.IndexAny(rest, " \t"); i >= 0 {
		name, arg = rest[:i], " (...)"
	}
	if !knownMechanism(name) {
		return "AUTH (...)"
	}
	return "AUTH " + name + arg
}

// knownMechanism reports whether a word is the name of a mechanism that clients use, offered
// here or not.
func knownMechanism(name string) bool {
	switch strings.ToUpper(name) {
	case "PLAIN", "LOGIN", "EXTERNAL", "ANONYMOUS", "CRAM-MD5", "DIGEST-MD5", "NTLM", "GSSAPI", "GS2-KRB5",
		"SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-512", "SCRAM-SHA-512-PLUS",
		"XOAUTH2", "OAUTHBEARER":
		return true
	}
	return false
}
