package daemon

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwit-mta/godwit/compat/nonblock"
	"github.com/godwit-mta/godwit/compat/privdrop"
	"github.com/godwit-mta/godwit/core/filter"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/smtp"
	"github.com/godwit-mta/godwit/core/stats"
	"github.com/godwit-mta/godwit/core/tlspolicy"
	"github.com/godwit-mta/godwit/core/trace"
)

// dispatcherRole runs the SMTP sessions, in and out. It has no files and no keys of its own.
type dispatcherRole struct {
	m     *member
	stats stats.Counters
	ids   messageIDs
	heads sync.Pool // of *headBuffer
	relay relayer

	cfg  atomic.Pointer[dispatcherSettings]
	next *dispatcherSettings

	ctx      context.Context // ends when sessions are to finish
	stop     context.CancelFunc
	sessions sync.WaitGroup
	count    atomic.Int64
	most     int64        // sessions at a time, as the system lets
	thrifty  atomic.Bool  // there are many sessions
	bodies   atomic.Int64 // files of large messages
	sources  *smtp.Sources
	filters  []*filterSet // of earlier configurations, which sessions may still have
	paused   atomic.Bool

	mostBodies int64

	pausing    sync.Mutex    // one change after the other
	pauseKnown chan struct{} // closed when paused is what it was before the start
}

// dispatcherSettings is a configuration in the form in which it is used. Sessions keep
// the one with which they began.
type dispatcherSettings struct {
	dispatcherConfig
	certs     map[string]*tls.Certificate // by the name of the pki
	listeners []*listener
	local     *listener // behind the control socket
	filters   *filterSet
	decider   *decider // nil: lookup decides about all recipients
	accepting sync.WaitGroup
}

// listener is a socket and what sessions on it are like.
type listener struct {
	boundListener
	socket net.Listener
	smtp   *smtp.Config
	chain  *filter.Chain // nil without filters
}

// mostSessions bounds the memory that sessions take together, at some 10 KiB each.
const mostSessions = 20000

// fdReserve is how many descriptors are kept for other things than sessions.
const fdReserve = 32

func newDispatcher(m *member) *dispatcherRole {
	ctx, cancel := context.WithCancel(context.Background())
	d := &dispatcherRole{m: m, ctx: ctx, stop: cancel, most: 600, mostBodies: 100, sources: smtp.NewSources(m.log), pauseKnown: make(chan struct{})}
	if limit, err := privdrop.RaiseFileLimit(); err == nil && limit > 4*fdReserve {
		files := int64(min(limit, 1<<20) - fdReserve)
		// An eighth is for large messages, a quarter for relaying.
		d.most, d.mostBodies = min(files*5/8, mostSessions), files/8
	}
	d.ids.m = m
	d.heads.New = func() any { return new(headBuffer) }
	d.relay.init(d)
	return d
}

func (d *dispatcherRole) prepare(r *ipc.Request, sockets []*os.File) error {
	s := new(dispatcherSettings)
	if err := r.Decode(&s.dispatcherConfig); err != nil {
		return err
	}
	defer closeFiles(sockets)
	var err error
	if s.decider, err = newDecider(&s.dispatcherConfig, d.m.log); err != nil {
		return err
	}
	if s.certs, err = d.certificates(s); err != nil {
		return err
	}
	if s.filters, err = d.openFilters(s); err != nil {
		return err
	}
	if s.listeners, err = s.listen(s.Listeners, sockets); err != nil {
		s.filters.close()
		return err
	}
	s.local = s.localListener()
	if err := d.relay.prepare(s); err != nil {
		s.close()
		return err
	}
	d.next = s
	return nil
}

// listen makes listeners of sockets.
func (s *dispatcherSettings) listen(bound []boundListener, sockets []*os.File) ([]*listener, error) {
	if len(sockets) != len(bound) {
		return nil, fmt.Errorf("dispatcher: %d sockets for %d listeners", len(sockets), len(bound))
	}
	var made []*listener
	for i, f := range sockets {
		l, err := s.listener(&bound[i])
		if err == nil {
			l.socket, err = net.FileListener(f)
		}
		if err != nil {
			closeListeners(made)
			return nil, err
		}
		made = append(made, l)
	}
	return made, nil
}

// close takes no more connections. Filter processes end with the sessions that have them.
func (s *dispatcherSettings) close() {
	closeListeners(s.listeners)
	s.filters.retire()
}

func closeListeners(list []*listener) {
	for _, l := range list {
		l.socket.Close()
	}
}

// activate listens by the new configuration and no longer by the old one. Connections that
// wait on a socket which both have are not lost: the socket stays open in the parent.
func (d *dispatcherRole) activate() {
	first := d.cfg.Load() == nil
	if first {
		told := d.next.PausedSMTP
		d.sessions.Go(func() { d.learnPaused(told) })
	}
	d.relay.activate()
	d.sources.SetLimits(sourceLimits(&d.next.SMTP))
	old := d.cfg.Swap(d.next)
	d.next = nil
	if old != nil {
		old.close()
		d.keepFilters(old.filters)
	}
	d.listen(d.cfg.Load(), d.cfg.Load().listeners)
}

func (d *dispatcherRole) abandon() {
	if d.next != nil {
		d.next.close()
		d.next = nil
	}
}

func (d *dispatcherRole) listen(s *dispatcherSettings, listeners []*listener) {
	for _, l := range listeners {
		s.accepting.Go(func() { d.accept(s, l) })
	}
}

// accept takes connections until the socket is closed.
func (d *dispatcherRole) accept(s *dispatcherSettings, l *listener) {
	<-d.pauseKnown
	for {
		conn, err := l.socket.Accept()
		if err != nil {
			if d.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			d.m.log.Warnf("smtp: accept on %s: %v", l.Addr, err)
			select {
			case <-time.After(100 * time.Millisecond): // descriptors have to come back first
			case <-d.ctx.Done():
				return
			}
			continue
		}
		n := d.count.Add(1)
		full := n > s.most(d.most)
		if full || d.paused.Load() {
			d.count.Add(-1)
			if full {
				d.sources.Busy()
			}
			d.sessions.Go(func() { turnAway(l, conn, "4.3.2", "Service not available") })
			continue
		}
		d.thrift(n)
		d.sessions.Go(func() {
			defer func() { d.thrift(d.count.Add(-1)) }()
			d.serve(s, l, nonblock.Wrap(conn))
		})
	}
}

// manySessions are so many that their memory counts for more than the collector's work.
const manySessions = 1000

// thriftyPercent is what garbage may take then, of the memory that is in use.
const thriftyPercent = 35

// thrift lets the garbage take less memory than usual while there are many sessions. What they
// left is there for as long as the collector has no reason to run, which is for minutes when they
// are idle.
func (d *dispatcherRole) thrift(sessions int64) {
	switch thrifty := d.thrifty.Load(); {
	case !thrifty && sessions >= manySessions && d.thrifty.CompareAndSwap(false, true):
		debug.SetGCPercent(thriftyPercent)
	case thrifty && sessions < manySessions/2 && d.thrifty.CompareAndSwap(true, false):
		debug.SetGCPercent(100)
	}
}

// most gives how many sessions there may be at a time.
func (s *dispatcherSettings) most(system int64) int64 {
	if n := int64(s.SMTP.MaxSession); n > 0 {
		return min(n, system)
	}
	return system
}

func (d *dispatcherRole) serve(s *dispatcherSettings, l *listener, conn net.Conn) {
	peer := smtp.Peer{UID: -1}
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		peer.Remote = a.AddrPort()
	}
	if a, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		peer.Local = a.AddrPort()
	}
	t := d.m.log.NewTrace()
	if l.ProxyV2 && !d.proxied(conn, &peer, t) {
		conn.Close()
		return
	}
	if !d.mayServe(l, conn, &peer) {
		return
	}
	defer peer.Source.Leave()
	family := stats.SMTPSessionInet4
	if peer.Remote.Addr().Unmap().Is6() {
		family = stats.SMTPSessionInet6
	}
	d.stats.Counter(family).Add(1)
	d.session(s, l, conn, peer, t)
}

func (d *dispatcherRole) session(s *dispatcherSettings, l *listener, conn net.Conn, peer smtp.Peer, t *trace.Trace) {
	now := d.stats.Counter(stats.SMTPSession)
	now.Add(1)
	defer now.Add(-1)
	b := backend{d, s, l}
	if l.chain == nil {
		smtp.Serve(d.ctx, conn, peer, l.smtp, &b, t)
		return
	}
	if !s.filters.hold() { // the configuration was changed in this moment
		turnAway(l, conn, "4.3.2", "Service not available")
		return
	}
	defer s.filters.release()
	smtp.Serve(d.ctx, conn, peer, l.smtp, &filteredBackend{b, l.chain}, t)
}

func (d *dispatcherRole) handle(from Role, r *ipc.Request) {
	switch {
	case r.Kind == kindRelay && from == Queue:
		d.relay.task(r)
	case r.Kind == kindPaused && from == Queue:
		d.relay.blockAgain(r)
	case r.Kind == kindReportMail && from == Lookup:
		r.Go(func() { d.reportMail(r) })
	case r.Kind == kindStats:
		r.Reply(&statsReply{d.stats.Snapshot()})
	case r.Kind == kindAdmin && from == Control:
		r.Go(func() { d.admin(r) })
	default:
		r.Fail(fmt.Errorf("dispatcher: message %d of %s", r.Kind, from))
	}
}

// drain lets sessions finish what they are at.
func (d *dispatcherRole) drain(ctx context.Context) {
	if s := d.cfg.Load(); s != nil {
		s.close()
	}
	d.stop()
	d.sources.Close()
	d.relay.drain(ctx)
	done := make(chan struct{})
	go func() {
		if s := d.cfg.Load(); s != nil {
			s.accepting.Wait()
		}
		d.sessions.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// listener makes the settings of sessions on one address.
func (s *dispatcherSettings) listener(b *boundListener) (*listener, error) {
	l := &listener{boundListener: *b, chain: s.filters.chain(b.Filter)}
	l.smtp = s.sessionConfig(b.Hostname)
	l.smtp.Normalize, l.smtp.DSN = b.Normalize, !b.NoDSN
	l.smtp.SMTPS, l.smtp.TLSRequire = b.SMTPS, b.TLSRequire
	l.smtp.AuthRequire, l.smtp.AuthDelay = b.Auth, time.Second
	if b.TLS || b.SMTPS || b.TLSRequire {
		config, err := s.serverTLS(b)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", b.Pos.File, b.Pos.Line, err)
		}
		l.smtp.TLSConfig = config
	}
	return l, nil
}

func (s *dispatcherSettings) localListener() *listener {
	l := &listener{chain: s.filters.chain(s.Socket.Filter)}
	l.Tag, l.MaskSrc = s.Socket.Tag, s.Socket.MaskSrc
	l.smtp = s.sessionConfig("")
	l.smtp.Normalize, l.smtp.DSN = true, !s.Socket.NoDSN
	return l
}

func (s *dispatcherSettings) sessionConfig(hostname string) *smtp.Config {
	if hostname == "" {
		hostname = s.Hostname
	}
	return &smtp.Config{Hostname: hostname, Ident: "Godwit", MaxMessageSize: s.MaxMessageSize,
		MaxRcpt: s.MaxRcpt, MaxMails: s.MaxMails, MaxErrors: s.SMTP.MaxErrors, MaxAuthErrors: s.SMTP.MaxAuthErrors,
		TakeEarly: s.SMTP.TakeEarly, Timeouts: smtp.Timeouts{Command: s.SMTP.CommandTimeout, Data: s.SMTP.DataTimeout,
			Session: s.SMTP.SessionTimeout, Rate: s.SMTP.MinDataRate}}
}

// certificates joins each chain with its key in the crypto process.
func (d *dispatcherRole) certificates(s *dispatcherSettings) (map[string]*tls.Certificate, error) {
	certs := make(map[string]*tls.Certificate, len(s.Chains))
	for _, chain := range s.Chains {
		cert, err := remoteCertificate(s.Generation, chain, d.m.peers[Crypto])
		if err != nil {
			return nil, err
		}
		certs[chain.Name] = cert
	}
	return certs, nil
}

// serverTLS makes the settings of TLS of a listener.
func (s *dispatcherSettings) serverTLS(b *boundListener) (*tls.Config, error) {
	names := b.PKI
	if len(names) == 0 {
		names = []string{b.Hostname, "*"}
	}
	var own []*tls.Certificate
	for _, name := range names {
		if c := s.certs[name]; c != nil {
			own = append(own, c)
		}
	}
	if len(own) == 0 {
		return nil, fmt.Errorf("listener with TLS has no pki, and there is none for %q or \"*\"", b.Hostname)
	}
	policy, err := tlspolicy.Parse(b.Protocols, cmp.Or(b.Ciphers, s.Ciphers))
	if err != nil {
		return nil, err
	}
	c := &tls.Config{GetCertificate: newCertChoice(own).choose}
	policy.Apply(c)
	if b.TLSVerify {
		c.ClientAuth = tls.RequireAndVerifyClientCert
		c.ClientCAs, err = s.clientCAs(b.CA)
	}
	return c, err
}

// clientCAs gives the authorities for the certificates of clients: those of a ca, otherwise
// the system's.
func (s *dispatcherSettings) clientCAs(ca string) (*x509.CertPool, error) {
	pool, err := s.roots(ca)
	if err == nil && pool.Equal(x509.NewCertPool()) {
		err = errors.New("verify: the system has no certificate authorities: write \"ca NAME\"")
	}
	return pool, err
}
