package mta

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/trace"
)

const (
	ptrWait      = 2 * time.Second // how long a connection waits for the name of its server
	surplusWait  = time.Second     // how long a second idle session waits for work
	maxRejected  = 10              // messages refused in a row after which a session ends
	sessionLimit = "max-failures-per-session"
)

// session is one connection of a relay, from connecting to the end.
type session struct {
	m      *MTA
	r      *relay
	opts   *Relay
	limits Limits
	choice choice
	counts []*counter
	tr     *trace.Trace
	wake   chan struct{}

	origin   origin
	up       bool         // it got to the point of taking mail
	sent     int          // transactions
	failures int          // recipients refused in a row
	rejected int          // messages refused in a row
	current  *transaction // for the case of a panic
}

// start begins a session. The caller holds the lock.
func (m *MTA) start(r *relay, c choice) {
	c.route = m.routeFor(routeKey{c.source, c.target.addr})
	s := &session{m: m, r: r, opts: r.opts, limits: r.limits, choice: c, tr: m.cfg.Log.NewTrace(), wake: make(chan struct{}, 1)}
	s.counts = []*counter{&r.counter, &c.route.counter, &m.hostFor(c.target.addr).counter,
		counterFor(m.sources, c.source), counterFor(r.connectors, c.source), counterFor(m.domains, r.limitDomain())}
	for _, n := range s.counts {
		n.begin(time.Now())
	}
	r.connecting++
	m.wg.Go(s.run)
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
	stop := context.AfterFunc(s.m.ctx, p.close)
	defer stop()
	s.ready()
	if reason, err := s.loop(p); err != nil {
		p.close()
		s.tr.Infof("mta error reason=%s", ioText(err))
		if s.sent > 0 {
			s.tr.Infof("mta disconnected reason=io-error messages=%d", s.sent)
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
}

// end gives the places of the session free and lets others have them.
func (s *session) end() {
	m, r := s.m, s.r
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range s.counts {
		n.conns--
	}
	s.choice.route.lastUsed = time.Now()
	if s.up {
		r.ready--
		s.choice.route.ready--
	} else {
		r.connecting--
	}
	m.dispatch(r)
	blocked := slices.Collect(maps.Keys(m.blocked))
	clear(m.blocked)
	for _, b := range blocked {
		m.dispatch(b)
	}
}

// open connects and brings the connection to the point of taking mail. When TLS was only
// wished for and fails, it is tried once more in clear.
func (s *session) open() (peer, error) {
	to := netip.AddrPortFrom(s.choice.target.addr, s.opts.URL.port())
	o := opener{relay: s.opts, times: s.m.times, host: s.choice.target.host, tr: s.tr}
	conn, err := s.dial(to)
	if err != nil {
		return nil, err
	}
	o.helo = s.helo(conn)
	p, err := o.open(s.m.ctx, conn)
	required, _, _ := o.demand()
	if errors.Is(err, errHandshake) && !required && s.m.ctx.Err() == nil {
		s.tr.Infof("mta closing reason=tls-failure")
		s.tr.Infof("smtp-out: opportunistic TLS failed, downgrading to plain: %v", err)
		o.noTLS = true
		if conn, err = s.connect(to); err != nil {
			return nil, err
		}
		p, err = o.open(s.m.ctx, conn)
	}
	if err == nil {
		s.origin.noDSN = p.noDSN()
	}
	return p, err
}

// dial finds the name of the server while it connects, and logs both.
func (s *session) dial(to netip.AddrPort) (net.Conn, error) {
	named := make(chan string, 1)
	go func() { named <- s.m.name(s.m.ctx, to.Addr()) }()
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
	ctx, cancel := context.WithTimeout(s.m.ctx, s.m.times.Connect)
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
	s.tr.Infof("mta error reason=%s", ioText(err))
	m, r := s.m, s.r
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx.Err() != nil {
		return
	}
	r.lastFate = openFate(err)
	if s.choice.route.ready > 0 {
		// It takes mail over other connections: it only has enough of them.
		r.most, r.mostUntil = max(r.ready, 1), time.Now().Add(targetLife)
		return
	}
	r.failed[s.choice.target.addr] = true
	m.disable(s.choice.route)
}

// openFate is the fate of recipients when no server could be used. It is always temporary.
func openFate(err error) fate {
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
	return unreachable(ioText(err))
}

func (s *session) ready() {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.up = true
	s.r.connecting--
	s.r.ready++
	s.choice.route.ready++
	s.choice.route.penalty = max(0, s.choice.route.penalty-1)
	s.m.dispatch(s.r) // now that it works there may be more
}

// loop sends what there is. It gives the reason why it ended, or the error of a connection
// that is lost.
func (s *session) loop(p peer) (string, error) {
	tx := s.next(p, true)
	for tx != nil {
		s.current = tx
		following, err := p.send(tx, s.sender, func() *transaction { return s.next(p, false) })
		s.settle(p, tx, err)
		s.current = nil
		if err != nil || p.closed() != nil {
			if following != nil {
				s.returnTask(following.task)
			}
			if err == nil {
				return "server-closing", nil
			}
			return "", err
		}
		if s.rejected >= maxRejected {
			s.tr.Infof("mta host-rejects-all-mails")
		}
		if tx = following; tx == nil {
			tx = s.next(p, true)
		}
	}
	if s.failures >= s.limits.MaxFailuresPerSession {
		return sessionLimit, nil
	}
	return "quit", nil
}

func (s *session) sender(msg *Message) address.Address { return s.opts.sender(msg.Sender) }

func (s *session) returnTask(t *task) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.r.giveBack(t)
}

// usable reports whether another transaction may begin on this connection. One that is under
// way counts already.
func (s *session) usable(begun int) bool {
	return !s.m.stopping && !s.m.paused && s.sent+begun < s.limits.SessionMailMax &&
		s.failures < s.limits.MaxFailuresPerSession && s.rejected < maxRejected
}

// next takes a task. With wait it stays for one as long as the keep-alive lasts; without, it
// is called while a transaction is under way, to send the next one along.
func (s *session) next(p peer, wait bool) *transaction {
	if !wait && (s.limits.TransactionDelay > 0 || p.closed() != nil) {
		return nil
	}
	if wait && s.sent > 0 && s.limits.TransactionDelay > 0 && !s.sleep(s.limits.TransactionDelay) {
		return nil
	}
	m, r := s.m, s.r
	m.mu.Lock()
	defer m.mu.Unlock()
	if !wait {
		if !s.usable(1) || len(r.tasks) == 0 {
			return nil
		}
		return r.take()
	}
	for idleSince := time.Now(); s.usable(0); {
		if len(r.tasks) > 0 {
			return r.take()
		}
		keep := s.limits.SessionKeepalive
		if len(r.idle) > 0 {
			keep = min(keep, surplusWait)
		}
		if !s.idle(time.Until(idleSince.Add(keep))) {
			return nil
		}
	}
	return nil
}

func (r *relay) take() *transaction {
	t := r.tasks[0]
	r.tasks[0] = nil
	r.tasks = r.tasks[1:]
	return newTransaction(t)
}

// idle waits for a task. The caller holds the lock, which is given up meanwhile.
func (s *session) idle(d time.Duration) (woken bool) {
	m, r := s.m, s.r
	r.idle = append(r.idle, s)
	m.mu.Unlock()
	t := time.NewTimer(d)
	select {
	case <-s.wake:
		woken = true
	case <-t.C:
	case <-m.stop:
	case <-m.ctx.Done():
	}
	t.Stop()
	m.mu.Lock()
	if i := slices.Index(r.idle, s); i >= 0 {
		r.idle = slices.Delete(r.idle, i, i+1)
	} else {
		if !woken {
			<-s.wake // it was sent together with what ended the wait
			woken = true
		}
		r.woken--
	}
	return woken
}

func (s *session) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.m.stop:
	case <-s.m.ctx.Done():
	}
	return false
}

// settle gives out the results of a transaction. Recipients without one are tried again
// when it is sure that the message did not arrive: over another connection when this one is lost.
func (s *session) settle(p peer, tx *transaction, err error) {
	first := s.sent == 0
	s.sent++
	s.count(tx)
	again := tx.again(p.closed(), err, first)
	s.report(tx, tx.fates)
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if err != nil && first && !tx.body && s.m.ctx.Err() == nil {
		s.r.lastFate = lost(err)
		s.r.failed[s.choice.target.addr] = true
		s.m.disable(s.choice.route)
	}
	if again != nil {
		s.r.giveBack(again)
	}
}

// again gives the recipients that are to be tried once more at once, and settles the others.
func (tx *transaction) again(closing *fate, err error, first bool) *task {
	end := lost(errSequence)
	if err != nil {
		end = lost(err)
	}
	if closing != nil {
		end = *closing
	}
	broken := err != nil || closing != nil && tx.accepted == 0
	tries := tx.tries
	switch {
	case broken && !tx.body && (tries+1 >= maxTries || first && err == nil):
		tx.settle(end)
	case broken && !tx.body:
		tries++
	default:
		// The message may have arrived. (Or the server forgot to reply for a recipient.)
		tx.settleTaken(end)
	}
	if open := tx.open(); len(open) > 0 {
		return &task{msg: tx.msg, rcpts: open, tries: tries}
	}
	return nil
}

// count keeps the runs of refusals.
func (s *session) count(tx *transaction) {
	delivered := false
	for _, f := range tx.fates {
		switch f.status {
		case envelope.Delivered:
			delivered = true
			s.failures = 0
		case envelope.TempFail, envelope.PermFail:
			s.failures++
		}
	}
	if s.rejected++; delivered {
		s.rejected = 0
	}
}

func (s *session) report(tx *transaction, fates []fate) {
	s.m.conclude(s.origin, s.sender(tx.msg), tx.msg, tx.rcpts, fates)
	for _, f := range fates {
		if f.status != 0 {
			s.m.mu.Lock()
			s.m.note(s.r, f.text)
			s.m.mu.Unlock()
			return
		}
	}
}
