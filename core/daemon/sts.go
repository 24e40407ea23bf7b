package daemon

import (
	"context"
	"crypto/x509"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/godwit-mta/godwit/core/dns"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/mtasts"
	"github.com/godwit-mta/godwit/core/table"
)

// stsWeb is what lookup has for MTA-STS: the policies, which outlive a configuration, and the
// authorities that are trusted to tell the web servers.
type stsWeb struct {
	policies *mtasts.Cache // nil until a configuration wants it
	roots    atomic.Pointer[x509.CertPool]
}

func (w *stsWeb) trust(pem []byte) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	w.roots.Store(pool)
}

func (w *stsWeb) close() {
	if w.policies != nil {
		w.policies.Close()
	}
}

// openSTS gives the policies, read once. Lookup may not write files: it gets them from the
// parent. Without them it does what it can.
func (l *lookupRole) openSTS(s *lookupSettings) *mtasts.Cache {
	if l.web.policies != nil {
		return l.web.policies
	}
	if l.web.roots.Load() == nil {
		l.web.trust(s.SystemCAs)
	}
	o := mtasts.Options{TXT: l.dns.LookupTXT, Log: l.m.log, Fetch: func(ctx context.Context, domain string) (mtasts.Policy, error) {
		f := mtasts.Fetcher{Roots: l.web.roots.Load(),
			Host: func(ctx context.Context, name string) ([]netip.Addr, error) {
				return l.dns.LookupHost(ctx, name, dns.AnyFamily)
			},
			Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", to.String())
			}}
		return f.Fetch(ctx, domain)
	}}
	ctx, cancel := context.WithTimeout(l.ctx, setupWait)
	defer cancel()
	files, err := l.m.parent.CallFiles(ctx, kindSTSFiles, nil, nil)
	if err == nil && len(files) == 2 {
		o.Store = mtasts.NewStore(files[0], files[1])
	} else {
		closeFiles(files)
		l.m.log.Warnf("mta-sts: policies cannot be kept across restarts: %v", err)
	}
	l.web.policies = mtasts.New(o)
	return l.web.policies
}

// sts answers what the policy of a domain is.
func (l *lookupRole) sts(r *ipc.Request) {
	var req nameRequest
	l.answer(r, &req, func(ctx context.Context) any {
		reply := &stsReply{}
		if cfg := l.cfg.get(0); cfg != nil && cfg.policies != nil {
			p, why := cfg.policies.Lookup(ctx, req.Name)
			reply.STS.Policy, reply.STS.Reason = p, why
			reply.STS.Failure = cfg.policies.Failure(req.Name)
		}
		return reply
	})
}

// tlsPolicy answers what the table of TLS policies has for a domain, or for one above it.
func (l *lookupRole) tlsPolicy(r *ipc.Request) {
	var req nameRequest
	l.answer(r, &req, func(ctx context.Context) any {
		cfg := l.cfg.get(0)
		if cfg == nil || cfg.TLSPolicy == "" {
			return &foundReply{}
		}
		q := routing{tables: cfg.tables}
		value, ok, err := q.first(ctx, cfg.TLSPolicy, table.String, relayKeys(req.Name))
		return l.found("TLS policy of "+req.Name, cfg.TLSPolicy, value, ok, err)
	})
}

// keepFiles gives lookup the two files below the spool that it keeps something in.
func (p *parent) keepFiles(r *ipc.Request, name string) {
	var files []*os.File
	for _, n := range []string{name + ".0", name + ".1"} {
		f, err := os.OpenFile(filepath.Join(p.opts.Spool, n), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			closeFiles(files)
			r.Fail(err)
			return
		}
		files = append(files, f)
	}
	r.Reply(nil, files...)
}
