package daemon

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/mta"
	"github.com/godwit-mta/godwit/core/tlspolicy"
)

// relayer is the outgoing half of the dispatcher: it gives the queue's tasks to the MTA
// and the results back.
type relayer struct {
	d    *dispatcherRole
	mta  *mta.MTA
	cfg  atomic.Pointer[relaySettings]
	next *relaySettings
	tls  tlsTeller
}

// relaySettings are the relay actions of a configuration.
type relaySettings struct {
	generation uint64
	actions    map[string]*relayAction
	limits     map[string]mta.Limits // by domain, in lower case
	local      []netip.Addr
	tlsReport  bool
}

func (r *relayer) init(d *dispatcherRole) { r.d = d }

func (r *relayer) prepare(s *dispatcherSettings) error {
	next := &relaySettings{generation: s.Generation, actions: make(map[string]*relayAction),
		limits: make(map[string]mta.Limits), local: s.Interfaces, tlsReport: s.TLSReport}
	for _, l := range s.MTALimits {
		next.limits[strings.ToLower(l.Domain)] = limits(&l)
	}
	for i := range s.Relays {
		a := &s.Relays[i]
		relay, err := next.relay(s, a)
		if err != nil {
			return fmt.Errorf("%s:%d: action %q: %w", a.Pos.File, a.Pos.Line, a.Name, err)
		}
		next.actions[a.Name] = newRelayAction(relay, &a.Relay)
	}
	r.next = next
	return nil
}

func (r *relayer) activate() {
	r.cfg.Store(r.next)
	r.next = nil
	if r.mta == nil {
		r.mta = mta.New(mta.Config{Resolver: lookupResolver{r.d.m}, Log: r.d.m.log, Hostname: r.d.next.Hostname,
			Results: r.results, TLSResult: r.tellTLS, LocalAddrs: func() []netip.Addr { return r.cfg.Load().local }})
	}
}

// setLocal changes what is known of the host's addresses.
func (r *relayer) setLocal(addrs []netip.Addr) {
	cfg := *r.cfg.Load()
	cfg.local = addrs
	r.cfg.Store(&cfg)
}

// relay makes the options of an action.
func (s *relaySettings) relay(d *dispatcherSettings, a *config.Action) (*mta.Relay, error) {
	o := &a.Relay
	r := &mta.Relay{Name: a.Name, RequireTLS: o.TLS, NoVerify: o.NoVerify, DANE: d.DANE, STS: d.STS, Policies: d.TLSPolicy, Helo: o.Helo, MailFrom: o.MailFrom,
		Backup: o.Backup, BackupMX: o.BackupMX, Limits: s.limits[""]}
	if o.Host != "" {
		u, err := mta.ParseURL(o.Host)
		if err != nil {
			return nil, fmt.Errorf("%w: %s", err, o.Host)
		}
		r.URL = u
	}
	if chain := d.filters.chain(o.Filter); chain != nil {
		r.Filters = &mta.Filters{Chain: chain, Hold: d.filters.hold, Release: d.filters.release}
	}
	config, err := d.clientTLS(o)
	if err != nil {
		return nil, err
	}
	r.TLSConfig = config
	for _, t := range d.Tables {
		if t.Name != o.Src {
			continue
		}
		for _, e := range t.Entries {
			addr, err := parseSource(e.Key)
			if err != nil {
				return nil, fmt.Errorf("source address %q: %w", e.Key, err)
			}
			r.Sources = append(r.Sources, addr)
		}
	}
	return r, nil
}

// clientTLS makes the settings of TLS. A certificate is shown to every server that asks for
// one; its key stays in the crypto process.
func (d *dispatcherSettings) clientTLS(o *config.Relay) (*tls.Config, error) {
	roots, err := d.roots(o.CA)
	if err != nil {
		return nil, err
	}
	policy, err := tlspolicy.Parse(o.Protocols, o.Ciphers)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{RootCAs: roots}
	policy.Apply(c)
	if o.PKI != "" {
		cert := d.certs[o.PKI]
		if cert == nil {
			return nil, fmt.Errorf("there is no pki %q", o.PKI)
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	return c, nil
}

// roots gives the authorities that are trusted: those of a ca, otherwise the
// system's.
func (d *dispatcherSettings) roots(ca string) (*x509.CertPool, error) {
	pem := d.SystemCAs
	for _, c := range d.CAs {
		if c.Name == ca && ca != "" {
			pem = c.PEM
		}
	}
	pool := x509.NewCertPool()
	if len(pem) > 0 && !pool.AppendCertsFromPEM(pem) && ca != "" {
		return nil, fmt.Errorf("ca %q: no certificate in the file", ca)
	}
	return pool, nil
}

func limits(l *config.MTALimits) mta.Limits {
	return mta.Limits{Family: l.Family, MaxConnPerHost: l.MaxConnPerHost, MaxConnPerRoute: l.MaxConnPerRoute,
		MaxConnPerSource: l.MaxConnPerSource, MaxConnPerConnector: l.MaxConnPerConnector, MaxConnPerRelay: l.MaxConnPerRelay,
		MaxConnPerDomain: l.MaxConnPerDomain, ConnDelayHost: l.ConnDelayHost, ConnDelayRoute: l.ConnDelayRoute,
		ConnDelaySource: l.ConnDelaySource, ConnDelayConnector: l.ConnDelayConnector, ConnDelayRelay: l.ConnDelayRelay,
		ConnDelayDomain: l.ConnDelayDomain, ReconnDelayRoute: l.ReconnDelayRoute, SessionMailMax: l.SessionMailMax, TransactionDelay: l.TransactionDelay,
		SessionKeepalive: l.SessionKeepalive, MaxFailuresPerSession: l.MaxFailuresPerSession,
		StartConn: l.StartConn, MailPerMinuteHost: l.MailPerMinuteHost, MailPerMinuteDomain: l.MailPerMinuteDomain, Prefer: l.Prefer}
}

// task takes a message that is to be relayed.
func (r *relayer) task(req *ipc.Request) {
	var t relayTask
	if err := req.Decode(&t); err != nil || len(t.Envelopes) == 0 || slices.Contains(t.Envelopes, nil) {
		r.d.m.log.Warnf("relay: task of the queue: %v", err)
		return
	}
	cfg := r.cfg.Load()
	a := cfg.actions[t.Action]
	switch {
	case a == nil:
		r.refuse(&mta.Relay{Name: t.Action}, &t, fmt.Sprintf("no relay action %q in the configuration", t.Action))
	case a.asks:
		req.Go(func() { r.route(cfg, a, &t) })
	default:
		r.submit(cfg, a.Relay, &t)
	}
}

// submit hands a message to the MTA.
func (r *relayer) submit(cfg *relaySettings, opts *mta.Relay, t *relayTask) {
	first := t.Envelopes[0]
	if l, ok := cfg.limits[first.Dest.Domain]; ok && opts.URL.Host == "" && first.Dest.Domain != "" {
		own := *opts
		own.Limits = l
		opts = &own
	}
	m := t.message()
	if t.Body != nil {
		m.Body.Bytes = t.Body
	} else {
		body := &relayedBody{queue: r.d.m.peers[Queue], procs: r.d.m.procs}
		for _, e := range t.Envelopes {
			body.ids = append(body.ids, e.ID)
		}
		m.Body.File, m.Body.Size, m.Close = body, t.Size, body.close
	}
	if opts.Filters != nil && !holdFilters(opts.Filters, m) {
		r.refuse(opts, t, "the filters of an earlier configuration have ended")
		return
	}
	r.mta.Submit(m, opts)
}

// holdFilters keeps filters running until the last result of a message, so that what a configuration began
// to send is sent with its filters.
func holdFilters(f *mta.Filters, m *mta.Message) bool {
	if !f.Hold() {
		return false
	}
	done := m.Close
	m.Close = func() {
		if done != nil {
			done()
		}
		go f.Release() // it may wait for the end of processes
	}
	return true
}

// message is the task without its body.
func (t *relayTask) message() *mta.Message {
	first := t.Envelopes[0]
	m := &mta.Message{ID: first.ID.Message(), Sender: t.Sender, EnvID: first.EnvID, Ret: first.Ret,
		UTF8: first.Flags&envelope.SMTPUTF8 != 0, RequireTLS: first.Flags&envelope.RequireTLS != 0,
		TLSOptional: first.Flags&envelope.TLSOptional != 0}
	for _, e := range t.Envelopes {
		m.Recipients = append(m.Recipients, mta.Recipient{ID: e.ID, Dest: e.Dest, Rcpt: e.Rcpt, Notify: e.Notify,
			ORcpt: e.ORcpt, Created: e.Created})
	}
	return m
}

// refuse makes the recipients of a message wait for another attempt.
func (r *relayer) refuse(opts *mta.Relay, t *relayTask, why string) {
	r.d.m.log.Warnf("relay: action %q: message %s: %s", t.Action, t.Envelopes[0].ID.Message(), why)
	r.mta.Refuse(t.message(), opts, why)
}

// results tells the queue what became of recipients.
func (r *relayer) results(res []envelope.Result) {
	for len(res) > 0 {
		n := min(len(res), maxResults/10)
		if err := r.d.m.peers[Queue].Send(kindResults, &results{res[:n]}); err != nil {
			r.d.m.log.Warnf("relay: results cannot be recorded: %v", err)
			return
		}
		res = res[n:]
	}
}

func (r *relayer) drain(ctx context.Context) {
	if r.mta != nil {
		r.mta.Stop(ctx)
		r.flushTLS()
	}
}

// admin answers what smtpctl asks about relaying.
func (r *relayer) admin(req *ipc.Request, q *adminRequest) {
	var lines []string
	switch q.Op {
	case control.ShowHosts:
		lines = texts(r.mta.Hosts())
	case control.ShowHostStats:
		lines = texts(r.mta.HostStats())
	case control.ShowRelays:
		lines = texts(r.mta.Relays())
	case control.ShowRoutes:
		lines = texts(r.mta.Routes())
	case control.ShowBlocks:
		lines = texts(r.mta.Blocks())
	case control.ResumeRoute:
		missed, ok := r.mta.ResumeRoute(int(q.Route))
		r.reached(missed)
		done(req, ok)
		return
	case control.BlockMTA, control.UnblockMTA:
		r.block(req, q)
		return
	default:
		req.Fail(fmt.Errorf("dispatcher: request %d", q.Op))
		return
	}
	req.Reply(&control.Text{Text: strings.Join(lines, "")})
}

// block pauses or resumes relaying from an address, to a domain, or both.
func (r *relayer) block(req *ipc.Request, q *adminRequest) {
	b, err := mta.ParseBlock(q.Source, q.Domain)
	if err != nil {
		req.Fail(err)
		return
	}
	r.d.pausing.Lock()
	defer r.d.pausing.Unlock()
	if q.Op == control.BlockMTA {
		if !r.mta.Block(b) {
			req.Fail(errAlready)
		} else if err := r.d.keepPause(blockPart(b), true); err != nil {
			r.unblock(b)
			req.Fail(err)
		} else {
			req.Reply(nil)
		}
		return
	}
	if !slices.Contains(r.mta.Blocks(), b) {
		req.Fail(errAlready)
		return
	}
	if err := r.d.keepPause(blockPart(b), false); err != nil {
		req.Fail(err)
		return
	}
	r.unblock(b)
	req.Reply(nil)
}

func (r *relayer) unblock(b mta.Block) {
	missed, _ := r.mta.Unblock(b)
	r.reached(missed)
}

// blockAgain pauses what was paused before the start.
func (r *relayer) blockAgain(req *ipc.Request) {
	var p pausedParts
	if err := req.Decode(&p); err != nil {
		r.d.m.log.Warnf("relay: what is paused: %v", err)
		return
	}
	for _, part := range p.Parts {
		if b, ok := partBlock(part); ok {
			r.mta.Block(b)
		}
	}
}

// reached tells the queue that it can try these destinations again.
func (r *relayer) reached(missed []mta.Destination) {
	if len(missed) == 0 {
		return
	}
	if err := r.d.m.peers[Queue].Send(kindReached, &reached{missed}); err != nil {
		r.d.m.log.Warnf("relay: what waits for %d destinations keeps its time: %v", len(missed), err)
	}
}

func texts[T fmt.Stringer](list []T) []string {
	lines := make([]string, len(list))
	for i, l := range list {
		lines[i] = l.String() + "\n"
	}
	return lines
}

// relayedBody is a message that is read from the queue when its transaction begins.
type relayedBody struct {
	queue *ipc.Conn
	ids   []envelope.ID
	mu    sync.Mutex
	have  bool
	bytes []byte
	file  *os.File
	procs *Processors
	done  func() // with a file
}

// ReadAt is io.ReaderAt.
func (b *relayedBody) ReadAt(p []byte, off int64) (int, error) {
	if err := b.fetch(); err != nil {
		return 0, err
	}
	if b.file != nil {
		return b.file.ReadAt(p, off)
	}
	return bytes.NewReader(b.bytes).ReadAt(p, off)
}

func (b *relayedBody) fetch() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.have {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupWait)
	defer cancel()
	var reply bodyReply
	files, err := b.queue.CallFiles(ctx, kindBody, &bodyRequest{b.ids}, &reply)
	if err != nil {
		return err
	}
	if len(files) == 1 {
		b.file, b.done = files[0], b.procs.wide()
	}
	b.bytes, b.have = reply.Body, true
	return nil
}

func (b *relayedBody) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file != nil {
		b.file.Close()
		b.done()
	}
	b.bytes, b.file = nil, nil
}

// lookupResolver asks the lookup process.
type lookupResolver struct{ m *member }

func (l lookupResolver) MX(ctx context.Context, domain string) ([]mta.MXHost, error) {
	var reply mxReply
	if err := l.m.peers[Lookup].Call(ctx, kindMX, &nameRequest{Name: domain}, &reply); err != nil {
		return nil, err
	}
	hosts := make([]mta.MXHost, len(reply.Hosts))
	for i, h := range reply.Hosts {
		hosts[i] = mta.MXHost{Name: h.Name, Preference: h.Preference, Addrs: h.Addrs, Secure: h.Secure}
	}
	return hosts, reply.Error.err()
}

func (l lookupResolver) Host(ctx context.Context, name string) ([]netip.Addr, error) {
	var reply hostReply
	if err := l.m.peers[Lookup].Call(ctx, kindHost, &nameRequest{Name: name}, &reply); err != nil {
		return nil, err
	}
	return reply.Addrs, reply.Error.err()
}

func (l lookupResolver) TLSA(ctx context.Context, host string, port uint16) (mta.TLSA, error) {
	var reply tlsaReply
	if err := l.m.peers[Lookup].Call(ctx, kindTLSA, &tlsaRequest{host, port}, &reply); err != nil {
		return mta.TLSA{}, err
	}
	return reply.TLSA, reply.Error.err()
}

func (l lookupResolver) STS(ctx context.Context, domain string) (mta.STS, error) {
	var reply stsReply
	err := l.m.peers[Lookup].Call(ctx, kindSTS, &nameRequest{Name: domain}, &reply)
	return reply.STS, err
}

// Policy gives what the table of TLS policies has for a domain.
func (l lookupResolver) Policy(ctx context.Context, domain string) (string, error) {
	var reply foundReply
	err := l.m.peers[Lookup].Call(ctx, kindTLSPolicy, &nameRequest{Name: domain}, &reply)
	if err == nil && reply.Failed {
		err = errors.New("the table of mta tls-policy failed")
	}
	return reply.Value, err
}

// ptrTime is how long the name of a server is waited for: it is only for the log.
const ptrTime = 2 * time.Second

func (l lookupResolver) PTR(ctx context.Context, addr netip.Addr) string {
	ctx, cancel := context.WithTimeout(ctx, ptrTime)
	defer cancel()
	var reply ptrReply
	if err := l.m.peers[Lookup].Call(ctx, kindPTR, &addrRequest{addr}, &reply); err != nil {
		return ""
	}
	return reply.Name
}
