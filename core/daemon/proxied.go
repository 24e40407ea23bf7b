package daemon

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/godwit-mta/godwit/core/proxy"
	"github.com/godwit-mta/godwit/core/smtp"
	"github.com/godwit-mta/godwit/core/trace"
)

// proxyWait is how long a proxy may take to say whose connection it passes on.
const proxyWait = 10 * time.Second

// unknownSource stands for a client of a proxy that does not know or does not tell its
// address. The address of the proxy would do harm: it may be one from which mail is relayed.
var unknownSource = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)

// proxied takes the header of the PROXY protocol, before TLS and before anything is said.
// From then on peer is the client behind the proxy. Without a good header the connection is
// of no use, and what was sent may be for nobody's eyes: nothing is answered.
func (d *dispatcherRole) proxied(conn net.Conn, peer *smtp.Peer, t *trace.Trace) bool {
	_ = conn.SetReadDeadline(time.Now().Add(proxyWait))
	stop := context.AfterFunc(d.ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	h, err := proxy.Read(conn)
	if !stop() && err == nil {
		err = context.Cause(d.ctx)
	}
	if err != nil {
		t.Infof("smtp event=closed address=%s reason=%q", addrText(peer.Remote.Addr()), proxyText(err))
		return false
	}
	_ = conn.SetReadDeadline(time.Time{})
	t.Infof("smtp event=proxy address=%s version=%d", addrText(peer.Remote.Addr()), h.Version)
	switch {
	case h.Local: // it is the proxy itself
	case h.Source.IsValid():
		peer.Remote = h.Source
	default:
		peer.Remote = unknownSource
	}
	return true
}

func proxyText(err error) string {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "disconnect"
	}
	return err.Error()
}
