package filterkit

import (
	"context"
	"net/netip"
	"strings"
)

// Session is a session of smtpd, and what was told of it so far. Handlers get the same one each
// time and may change State and Tx.State; what they start beside themselves must not touch it.
type Session struct {
	ID  uint64
	Out bool // with a server that smtpd connected to

	// Of the other side.
	Name      string     // its name in the DNS; "" when it has none
	Confirmed bool       // that name has its address
	Addr      netip.Addr // the zero Addr when it came by a local socket
	Source    string     // where the connection comes from: an address and port, or unix:PATH
	Dest      string     // where it goes to

	Helo string // what the client called itself
	TLS  string // version:cipher:bits; "" without TLS
	User string // the user that has logged in

	Tx Transaction // the message at hand

	State any // the filter's own

	run    *run
	ctx    context.Context
	cancel context.CancelFunc
	data   *body
	commit Answer // what a message was found to deserve

	// Guarded by run.mu.
	queue  []line
	octets int // of queue
	busy   bool
}

// Transaction is a message on its way. ID is "" when there is none.
type Transaction struct {
	ID         string
	Sender     string
	Recipients []string // those that were accepted, at most 10000
	State      any      // the filter's own
}

// maxRecipients bounds what is kept for one message.
const maxRecipients = 10000

// tracked are the events from which a Session is filled in.
var tracked = []Event{LinkConnect, LinkIdentify, LinkTLS, LinkAuth, LinkDisconnect,
	TxBegin, TxMail, TxRcpt, TxCommit, TxRollback, TxReset}

// Context ends when the session does. What waits within a handler should end with it.
func (s *Session) Context() context.Context { return s.ctx }

// Config is what the server said at the start.
func (s *Session) Config() Config { return s.run.config }

// note fills in what an event tells, before its handler is called.
func (s *Session) note(e Event, args []string) {
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	switch e {
	case LinkConnect:
		s.connected(arg(0), arg(1), arg(2), arg(3))
	case LinkIdentify:
		s.Helo = arg(1)
	case LinkTLS:
		s.TLS = arg(0)
	case LinkAuth:
		if arg(0) == "pass" {
			s.User = arg(1)
		}
	case TxBegin:
		s.Tx = Transaction{ID: arg(0)}
	case TxMail:
		if arg(1) == "ok" {
			s.Tx.Sender = arg(2)
		}
	case TxRcpt:
		if arg(1) == "ok" && len(s.Tx.Recipients) < maxRecipients {
			s.Tx.Recipients = append(s.Tx.Recipients, arg(2))
		}
	}
}

func (s *Session) connected(name, confirmed, source, dest string) {
	if name != "<unknown>" {
		s.Name = name
	}
	s.Confirmed = confirmed == "pass"
	s.Source, s.Dest = source, dest
	other := source
	if s.Out {
		other = dest
	}
	s.Addr = address(other)
}

// address reads an address with a port, or without one. It gives the zero Addr for anything else.
func address(s string) netip.Addr {
	if p, err := netip.ParseAddrPort(s); err == nil {
		return p.Addr().Unmap()
	}
	a, _ := netip.ParseAddr(strings.Trim(s, "[]"))
	return a.Unmap()
}

// over forgets the message after the handler of an event that ends it.
func (s *Session) over(e Event) {
	switch e {
	case TxReset, TxRollback:
		s.dropBody()
		s.commit = Answer{}
		fallthrough
	case TxCommit:
		s.Tx = Transaction{}
	}
}
