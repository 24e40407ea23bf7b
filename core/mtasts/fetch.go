package mtasts

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// Bounds on fetching.
const (
	fetchTime   = time.Minute // for all of it, RFC 8461 section 3.3
	connectTime = 10 * time.Second
	maxAddrs    = 4        // of the web server that are tried
	maxHeader   = 32 << 10 // octets of the header of the reply
	port        = 443
)

// Errors of fetching.
var (
	errHTTP     = errors.New("reply is not HTTP")
	errType     = errors.New("reply is not text/plain")
	errEncoding = errors.New("reply is encoded")
	errNoHost   = errors.New("web server has no address")
)

// Fetcher fetches the policies of domains.
type Fetcher struct {
	Host  func(ctx context.Context, name string) ([]netip.Addr, error)
	Dial  func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	Roots *x509.CertPool
}

// Fetch gives the policy of a domain. Redirects are not followed.
func (f *Fetcher) Fetch(ctx context.Context, domain string) (Policy, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	host := "mta-sts." + domain
	addrs, err := f.Host(ctx, host)
	if err == nil && len(addrs) == 0 {
		err = errNoHost
	}
	for _, a := range addrs[:min(len(addrs), maxAddrs)] {
		var text []byte
		if text, err = f.get(ctx, host, netip.AddrPortFrom(a, port)); err == nil {
			return ParsePolicy(text)
		}
	}
	return Policy{}, err
}

func (f *Fetcher) get(ctx context.Context, host string, to netip.AddrPort) ([]byte, error) {
	dialCtx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	conn, err := f.Dial(dialCtx, to)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	tc := tls.Client(conn, &tls.Config{ServerName: host, RootCAs: f.Roots, MinVersion: tls.VersionTLS12})
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS with %s: %w", host, err)
	}
	if _, err := io.WriteString(tc, "GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: "+host+
		"\r\nUser-Agent: Godwit\r\nAccept: text/plain\r\nConnection: close\r\n\r\n"); err != nil {
		return nil, err
	}
	return readReply(tc)
}

// readReply gives the body of an HTTP reply that is a text.
func readReply(r io.Reader) ([]byte, error) {
	// The chunks of a body have headers of their own: as many octets again.
	br := bufio.NewReader(io.LimitReader(r, maxHeader+2*maxPolicy))
	tp := textproto.NewReader(br)
	status, err := tp.ReadLine()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errHTTP, err)
	}
	version, rest, _ := strings.Cut(status, " ")
	code, _, _ := strings.Cut(rest, " ")
	if !strings.HasPrefix(version, "HTTP/1.") {
		return nil, errHTTP
	}
	if code != "200" {
		return nil, fmt.Errorf("reply is %q, not 200", code)
	}
	h, err := tp.ReadMIMEHeader()
	if err != nil {
		return nil, fmt.Errorf("%w: header", errHTTP)
	}
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || kind != "text/plain" {
		return nil, errType
	}
	if e := h.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, errEncoding
	}
	return readBody(br, h)
}

func readBody(r *bufio.Reader, h textproto.MIMEHeader) ([]byte, error) {
	switch e := h.Get("Transfer-Encoding"); {
	case strings.EqualFold(e, "chunked"):
		return readChunks(r)
	case e != "":
		return nil, errEncoding
	}
	length := h.Get("Content-Length")
	if length == "" {
		return readAll(r)
	}
	n, err := strconv.ParseUint(length, 10, 31)
	switch {
	case err != nil:
		return nil, errHTTP
	case n > maxPolicy:
		return nil, errSize
	}
	body := make([]byte, n)
	_, err = io.ReadFull(r, body)
	return body, err
}

func readAll(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxPolicy+1))
	if err == nil && len(body) > maxPolicy {
		err = errSize
	}
	return body, err
}

// readChunks reads a body in chunks (RFC 9112 section 7.1).
func readChunks(r *bufio.Reader) ([]byte, error) {
	var body []byte
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return nil, errHTTP
		}
		size, _, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), ";")
		n, err := strconv.ParseUint(strings.TrimSpace(size), 16, 31)
		switch {
		case err != nil:
			return nil, errHTTP
		case n == 0:
			return body, nil
		case uint64(len(body))+n > maxPolicy:
			return nil, errSize
		}
		start := len(body)
		body = append(body, make([]byte, n)...)
		if _, err := io.ReadFull(r, body[start:]); err != nil {
			return nil, err
		}
		var end [2]byte
		if _, err := io.ReadFull(r, end[:]); err != nil || string(end[:]) != "\r\n" {
			return nil, errHTTP
		}
	}
}
