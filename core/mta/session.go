package mta

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/trace"
)

// ptrWait is how long a connection waits for the name of its server.
const ptrWait = 2 * time.Second

// session is one connection of a relay, from connecting to the end.
type session struct {
	m      *MTA
	r      *relay
	opts   *Relay
	limits Limits
	choice choice
	counts []*counter // those of the connection, then from shared on those of its relay
	tr     *trace.Trace
	wake   chan struct{}

	ctx      context.Context // ends when it is given up
	cancel   context.CancelFunc
	since    time.Time     // when its step began
	turnOf   *list.Element // among the busy ones of its source
	slow     bool          // it was given up
	disliked bool          // the server does not take mail from this source
	at       *place
	parked   []seat // where it is found while it waits for work
	moved    bool   // to another relay, for which it is to be looked at
	joined   target // the server as that relay knows it
	leaving  bool   // it was woken to end, because its place is wanted
	verified bool   // the certificate was
	turn     int    // transactions for this relay in a row

	rcptMost  int // recipients of a transaction that the server takes; 0: not known
	origin    origin
	freeing   bool         // it is counted in relay.freeing
	up        bool         // it got to the point of taking mail
	sent      int          // transactions
	taken     int          // of them, those of which the server took something
	failures  int          // recipients refused in a row
	rejected  int          // messages refused in a row
	current   *transaction // for the case of a panic
	following *transaction // the same: what was taken while current was sent
	onlooker  *onlooker    // of the connection; nil without filters
	release   func()       // of the filters; nil when they are not held
}

// start begins a session. The caller holds the lock.
func (m *MTA) start(r *relay, c choice) {
	c.route = m.routeFor(r.routeTo(c.source, c.target.addr))
	s := &session{m: m, r: r, opts: r.opts, limits: r.limits, choice: c, tr: m.cfg.Log.NewTrace(), wake: make(chan struct{}, 1)}
	s.tr.Of, s.tr.Remote = trace.MTA, c.target.addr
	s.counts = append([]*counter{&c.route.counter, &m.hostFor(c.target.addr).counter, &m.sourceFor(c.source).counter},
		m.ownCounts(r, c.source)...)
	s.at = m.placeFor(placeKey{r.wire, c.target.addr})
	s.at.users++
	s.context()
	for _, n := range s.counts {
		n.begin(time.Now())
	}
	s.noteLimits()
	s.step(time.Now())
	r.connecting++
	if s.tr.Traces(trace.MTA) {
		s.tr.Tracef(trace.MTA, "mta: %s: connecting for %s over route %s, to %s", s.tr.SID(), r.opts.describe(r.domain), c.route.key, c.target.host)
	}
	m.wg.Go(s.run)
}

// noteLimits tells the counters of a session what their windows are for it.
func (s *session) noteLimits() {
	l := &s.limits
	s.counts[2].start, s.counts[2].most = l.MaxConnPerSource, l.MaxConnPerSource
	for i, most := range [...]int{l.MaxConnPerRoute, l.MaxConnPerHost, l.MaxConnPerRelay, l.MaxConnPerDomain} {
		c := s.windows()[i]
		c.start, c.most = l.StartConn, most
	}
}

// shared is the number of counters in session.counts that stay when it moves to another relay.
const shared = 3

// ownCounts gives the counters of a relay's connection from a source that are the relay's.
func (m *MTA) ownCounts(r *relay, source netip.Addr) []*counter {
	return []*counter{&r.counter, counterFor(r.connectors, source), counterFor(m.domains, r.limitDomain())}
}

// run is the life of a session.
func (s *session) run() {
	defer s.end()
	defer s.rescue()
	p, err := s.open()
	if err != nil {
		s.failed(err)
		return
	}
	stop := context.AfterFunc(s.ctx, p.close)
	defer stop()
	s.ready()
	if reason, err := s.loop(p); err != nil {
		p.close()
		s.tr.Infof("mta error reason=%s", unquoted(ioText(err)))
		if s.sent > 0 {
			s.tr.Infof("mta disconnected reason=%s messages=%d", lostReason(err), s.sent)
		}
	} else {
		p.quit()
		s.tr.Infof("mta disconnected reason=%s messages=%d", reason, s.sent)
	}
}

// rescue turns a panic into the loss of this session.
func (s *session) rescue() {
	e := recover()
	if e == nil {
		return
	}
	s.tr.Warnf("mta: panic in session %s: %v: %s", s.tr.SID(), e, debug.Stack())
	if s.current != nil {
		s.current.settle(fate{status: envelope.TempFail, text: "Internal error", class: 4, code: 300})
		s.report(s.current, s.current.fates)
	}
	if s.following != nil {
		s.returnTask(s.following.task)
	}
}

// end gives the places of the session free and lets others have them.
func (s *session) end() {
	m, r := s.m, s.r
	s.unfiltered()
	if s.release != nil {
		s.release()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s.at.users--
	s.rest()
	s.cancel()
	for _, n := range s.counts {
		n.conns--
		if s.leaving {
			n.leaving--
		}
	}
	s.choice.route.ended = time.Now()
	s.free(false)
	s.choice.route.lastUsed = time.Now()
	if s.up {
		r.ready--
		s.choice.route.ready--
	} else {
		r.connecting--
	}
	for _, n := range s.counts {
		m.freed(n)
	}
	m.lookAgain(s.at)
	m.dispatch(r)
}

// open connects and brings the connection to the point of taking mail. When TLS was only
// wished for and fails, it is tried once more in clear.
func (s *session) open() (peer, error) {
	o := opener{relay: s.opts, times: s.m.times, host: s.choice.target.host, tr: s.tr}
	means, _ := s.opts.URL.scheme().traits()
	o.smtps = means.smtps && !(means.fallback && s.withoutSMTPS(false))
	err := s.hold()
	if err != nil {
		return nil, err
	}
	if o.policy, err = s.policy(); err != nil {
		s.tell(&o, err)
		return nil, err
	}
	// https://www.rfc-editor.org/rfc/rfc8689#section-4.2.1
	if s.opts.Strict && !s.choice.target.secure && o.policy.name != "mta-sts" {
		return nil, strictError{errNotValidated}
	}
	p, err := s.try(&o, s.dial)
	required, verified, _ := o.demand()
	s.verified = verified
	switch {
	case err == nil || s.ctx.Err() != nil:
	case o.smtps && means.fallback && !o.secure:
		s.tr.Infof("smtp-out: no TLS from the first byte, trying STARTTLS: %s", unquoted(ioText(err)))
		s.withoutSMTPS(true)
		o.smtps = false
		p, err = s.try(&o, s.dial)
	case errors.Is(err, errHandshake) && !required:
		s.tr.Infof("mta closing reason=tls-failure")
		s.tr.Infof("smtp-out: opportunistic TLS failed, downgrading to plain: %s", unquoted(ioText(err)))
		o.noTLS = true
		p, err = s.try(&o, s.connect)
	}
	s.tell(&o, err)
	if err != nil {
		return nil, o.policy.blame(err)
	}
	if o.policy.testing && !o.secure {
		s.tr.Infof("mta tls-policy policy=%s host=%s reason=\"would fail: no TLS\"", o.policy.name, o.host)
	}
	s.origin.noDSN, s.origin.final = p.noDSN(), p.final()
	if c, ok := p.(*client); ok {
		s.obey(&c.ext)
	}
	return p, nil
}

// obey keeps to what the server says about its limits (RFC 9422), and to what is known of its pipelining.
func (s *session) obey(x *extensions) {
	s.m.mu.Lock()
	x.pipelining = x.pipelining && time.Now().After(s.m.hostFor(s.choice.target.addr).serial)
	s.m.mu.Unlock()
	if s.rcptMost = x.rcpt; x.mail > 0 {
		s.limits.SessionMailMax = min(s.limits.SessionMailMax, x.mail)
	}
}

func (s *session) try(o *opener, dial func(netip.AddrPort) (net.Conn, error)) (peer, error) {
	to := netip.AddrPortFrom(s.choice.target.addr, s.opts.URL.port(o.smtps))
	conn, err := dial(to)
	if err != nil {
		return nil, err
	}
	o.filters = s.filtered(conn, to)
	if o.helo == "" {
		o.helo = s.helo(conn)
	}
	return o.open(s.ctx, conn)
}

// withoutSMTPS reports whether the server was found not to have TLS from the first byte,
// and notes that when it is so. It is forgotten after a while.
func (s *session) withoutSMTPS(note bool) bool {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	h := s.m.hostFor(s.choice.target.addr)
	if note {
		h.noSMTPS = time.Now().Add(targetLife)
	}
	return time.Now().Before(h.noSMTPS)
}

// dial finds the name of the server while it connects, and logs both.
func (s *session) dial(to netip.AddrPort) (net.Conn, error) {
	named := make(chan string, 1)
	go func() { named <- s.m.name(s.ctx, to.Addr()) }()
	type dialed struct {
		conn net.Conn
		err  error
	}
	done := make(chan dialed, 1)
	go func() {
		conn, err := s.connect(to)
		done <- dialed{conn, err}
	}()
	name := <-named
	s.tr.Infof("mta connecting address=%s://%s host=%s", s.opts.URL.scheme(), to, name)
	d := <-done
	s.origin = origin{tr: s.tr, source: "-", relay: fmt.Sprintf("%s (%s)", to.Addr(), name), mta: s.choice.target.host}
	if d.err == nil {
		s.tr.Infof("mta connected")
		if a, err := netip.ParseAddrPort(d.conn.LocalAddr().String()); err == nil {
			s.origin.source = a.Addr().Unmap().String()
		}
	}
	return d.conn, d.err
}

func (s *session) connect(to netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.m.times.Connect)
	defer cancel()
	return s.m.cfg.Dialer.Dial(ctx, s.choice.source, to)
}

// name gives the name of a server, asked for once.
func (m *MTA) name(ctx context.Context, a netip.Addr) string {
	const unknown = "<unknown>"
	m.mu.Lock()
	h := m.hostFor(a)
	ptr, known := h.ptr, h.ptrKnown
	m.mu.Unlock()
	if !known {
		ctx, cancel := context.WithTimeout(ctx, ptrWait)
		defer cancel()
		ptr = m.cfg.Resolver.PTR(ctx, a)
		m.mu.Lock()
		h.ptr, h.ptrKnown = ptr, true
		m.mu.Unlock()
	}
	if ptr == "" {
		return unknown
	}
	return ptr
}

// helo gives the name to introduce ourselves with.
func (s *session) helo(conn net.Conn) string {
	source := s.choice.source
	if a, err := netip.ParseAddrPort(conn.LocalAddr().String()); err == nil && !source.IsValid() {
		source = a.Addr().Unmap()
	}
	for _, name := range []string{s.opts.HeloBySource[source], s.opts.Helo, s.m.cfg.Hostname} {
		if name != "" && printable(name) {
			return name
		}
	}
	return "localhost"
}

// failed notes that this server could not be used; the next one is tried.
func (s *session) failed(err error) {
	m, r := s.m, s.r
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.slow {
		err = errSlow
	}
	s.tr.Infof("mta error reason=%s", unquoted(ioText(err)))
	if m.ctx.Err() != nil {
		return
	}
	r.lastFate = openFate(err)
	if m.deny(r, s.choice.route.key, err) {
		return
	}
	if errors.As(err, new(strictError)) {
		r.failed[s.choice.route.key] = true
		return
	}
	if r.ready > 0 && s.choice.route.ready > 0 {
		// It takes mail over other connections: it only has enough of them.
		s.enough(r.lastFate.text, s.choice.route.ready)
		return
	}
	r.failed[s.choice.route.key] = true
	var demanded *policyError
	if errors.As(err, &demanded) {
		return // others who demand less may use the route
	}
	if r.lastFate.said >= 400 && r.lastFate.blamesSource(s.origin.source) && m.otherSource(r, s.choice, r.lastFate.text) {
		return
	}
	if s.choice.route.ready == 0 { // another relay may be using it well
		if s.enough("", 0); r.lastFate.said >= 400 {
			s.choice.route.why = r.lastFate.text
		}
		m.disable(s.choice.route)
	}
}

// openFate is the fate of recipients when no server could be used. It is temporary, unless
// the message must not go to such a server.
func openFate(err error) fate {
	if errors.As(err, new(strictError)) {
		return strictFate(ioText(err))
	}
	var e *refusal
	if errors.As(err, &e) {
		f := verdict(e.reply)
		f.status = envelope.TempFail
		if f.class != 0 {
			f.class = 4
		}
		return f
	}
	var ne *net.OpError
	if errors.As(err, &ne) && ne.Op == "dial" {
		return unreachable("Network error on destination MXs: " + ioText(err))
	}
	f := unreachable(ioText(err))
	if errors.Is(err, errUnsure) {
		f.code = 403 // directory server failure
	}
	of := func(e error) bool { return errors.Is(err, e) }
	switch { // RFC 3463 section 3.8
	case slices.ContainsFunc([]error{errNoTLS, errTLSRefused, errNoAuth, errAuthMech, errAuthPlain, errPolicy}, of):
		f.code = 704 // security features not supported
	case slices.ContainsFunc([]error{errHandshake, errInjection}, of):
		f.code = 705 // cryptographic failure
	}
	return f
}

func (s *session) ready() {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.up = true
	s.r.connecting--
	s.r.ready++
	s.choice.route.ready++
	s.choice.route.penalty = max(0, s.choice.route.penalty-1)
	delete(s.m.denied, s.r.key)
	s.m.recovered(s.opts)
}
