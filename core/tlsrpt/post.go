package tlsrpt

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Bounds on a report that is posted.
const (
	postTime    = time.Minute // for all of it
	connectTime = 10 * time.Second
	maxAddrs    = 4    // of a web server that are tried
	maxStatus   = 1024 // octets of the first line of the reply; nothing else of it is read
)

var (
	errHTTP     = errors.New("reply is not HTTP")
	errNoPublic = errors.New("web server has no public address")
)

// web is what posting needs.
type web struct {
	host  func(ctx context.Context, name string) ([]netip.Addr, error)
	dial  func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	roots func() *x509.CertPool
}

// public reports whether an address can be one of a web server for everybody. Who publishes a
// record must not make us talk to hosts that only we can reach.
func public(a netip.Addr) bool {
	a = a.Unmap()
	shared := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10) // RFC 6598
	return a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a) && !(a.Is4() && (a.As4()[0] == 0 || a.As4()[0] >= 240))
}

// post sends a report to a web server (https://www.rfc-editor.org/rfc/rfc8460#section-5.4).
// Redirects are not followed.
func (w *web) post(ctx context.Context, t Target, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, postTime)
	defer cancel()
	addrs, err := w.host(ctx, t.Host)
	if err != nil {
		return err
	}
	err, tried := errNoPublic, 0
	for _, a := range addrs {
		if !public(a) || tried == maxAddrs {
			continue
		}
		tried++
		if err = w.postTo(ctx, netip.AddrPortFrom(a, 443), t, body); err == nil {
			return nil
		}
	}
	return err
}

func (w *web) postTo(ctx context.Context, to netip.AddrPort, t Target, body []byte) error {
	dialCtx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	conn, err := w.dial(dialCtx, to)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	tc := tls.Client(conn, &tls.Config{ServerName: t.Host, RootCAs: w.roots(), MinVersion: tls.VersionTLS12})
	if err := tc.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS with %s: %w", t.Host, err)
	}
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: Godwit\r\nContent-Type: application/tlsrpt+gzip\r\nContent-Length: %d\r\nConnection: close\r\n\r\n",
		t.Path, t.Host, len(body))
	if _, err := tc.Write(append([]byte(head), body...)); err != nil {
		return err
	}
	return readStatus(tc)
}

// readStatus reads the first line of a reply.
func readStatus(r io.Reader) error {
	line, err := bufio.NewReader(io.LimitReader(r, maxStatus)).ReadString('\n')
	if err != nil {
		return fmt.Errorf("%w: %w", errHTTP, err)
	}
	version, rest, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
	code, _, _ := strings.Cut(rest, " ")
	switch {
	case !strings.HasPrefix(version, "HTTP/1.") || len(code) != 3:
		return errHTTP
	case code[0] != '2':
		return fmt.Errorf("reply is %q, not 2xx", code)
	}
	return nil
}
