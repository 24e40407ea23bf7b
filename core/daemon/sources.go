package daemon

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/smtp"
)

// sourceLimits are the limits of clients. What stands there was checked with the file.
func sourceLimits(c *config.SMTPLimits) *smtp.Limits {
	l := &smtp.Limits{Session: smtp.PerClient(c.Session), Connect: smtp.PerClient(c.Connect), Errors: smtp.PerClient(c.Errors),
		AuthErrors: smtp.PerClient(c.AuthErrors), Rcpt: smtp.PerClient(c.Rcpt)}
	for _, text := range c.Exempt {
		if p, err := netip.ParsePrefix(text); err == nil {
			l.Exempt = append(l.Exempt, p)
		}
	}
	return l
}

// mayServe counts a session of the client, which has to leave when it ends. A client that may
// have none is told so, and conn is closed.
func (d *dispatcherRole) mayServe(l *listener, conn net.Conn, peer *smtp.Peer) bool {
	src, refused := d.sources.Enter(peer.Remote.Addr())
	if refused != "" {
		turnAway(l, conn, "4.7.0", refused)
		return false
	}
	peer.Source = src
	return true
}

// turnAway tells a client to come back. It never waits: the reply has room in the socket.
func turnAway(l *listener, conn net.Conn, code, why string) {
	if !l.SMTPS { // a client that waits for TLS could not read it
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		_, _ = fmt.Fprintf(conn, "421 %s %s %s, try again later\r\n", code, l.smtp.Hostname, why)
	}
	conn.Close()
}
