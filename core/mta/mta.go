package mta

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/tlsrpt"
	"github.com/godwit-mta/godwit/core/trace"
)

// MXHost is a mail exchanger of a domain. Addrs is empty when its name has none.
type MXHost struct {
	Name       string
	Preference uint16
	Addrs      []netip.Addr
	Secure     bool // DNSSEC says that it is one
}

// Resolver looks names up. An error that has a method Temporary() bool which gives false is
// permanent: the recipients fail with its text. All others are temporary.
type Resolver interface {
	MX(ctx context.Context, domain string) ([]MXHost, error)
	Host(ctx context.Context, name string) ([]netip.Addr, error)
	PTR(ctx context.Context, addr netip.Addr) string // "" when there is no name
	TLSA(ctx context.Context, host string, port uint16) (TLSA, error)
	STS(ctx context.Context, domain string) (STS, error)
	// Policy gives the word for a domain in the table of policies, "" when it has none:
	// see listed.
	Policy(ctx context.Context, domain string) (string, error)
}

// Dialer connects. source is invalid when the system is to choose it.
type Dialer interface {
	Dial(ctx context.Context, source netip.Addr, to netip.AddrPort) (net.Conn, error)
}

// NetDialer is the Dialer for TCP.
type NetDialer struct{}

// Dial connects from source, any port, to to. The connection does not delay small writes.
func (NetDialer) Dial(ctx context.Context, source netip.Addr, to netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	if source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	return d.DialContext(ctx, "tcp", to.String())
}

// Config is what an MTA needs.
type Config struct {
	Resolver   Resolver
	Dialer     Dialer // nil: NetDialer
	Log        *trace.Logger
	Hostname   string                  // for EHLO, and to know ourselves among exchangers
	Results    func([]envelope.Result) // called by one goroutine at a time
	LocalAddrs func() []netip.Addr     // this host's addresses, the unspecified one when it listens on all; may be nil
	Timeouts   Timeouts
	// TLSResult is told what became of TLS with mail exchangers; may be nil. It must not wait.
	TLSResult func(tlsrpt.Result)
}

// MTA relays messages. It is safe for use by several goroutines.
type MTA struct {
	cfg    Config
	times  Timeouts
	ctx    context.Context // ends when connections are to be cut
	cancel context.CancelFunc
	stop   chan struct{} // closed when no transaction may begin any more
	wg     sync.WaitGroup

	mu        sync.Mutex
	relays    map[string]*relay
	routes    map[routeKey]*route
	hosts     map[netip.Addr]*host
	sources   map[netip.Addr]*sourceHealth
	domains   map[string]*counter
	denied    map[string]*denial // by the key of the relay
	ailing    map[ailingKey]*ailment
	blocks    map[Block]map[Destination]bool // with what was not tried because of it
	places    map[placeKey]*place
	stats     map[string]HostStat
	lastRoute int
	swept     time.Time
	paused    bool
	stopping  bool

	outMu    sync.Mutex
	out      []envelope.Result
	flushing bool
	flushed  *sync.Cond
}

// New gives an MTA that runs until Stop.
func New(cfg Config) *MTA {
	if cfg.Dialer == nil {
		cfg.Dialer = NetDialer{}
	}
	m := &MTA{cfg: cfg, times: cfg.Timeouts.withDefaults(), stop: make(chan struct{}),
		relays: make(map[string]*relay), routes: make(map[routeKey]*route), hosts: make(map[netip.Addr]*host),
		sources: make(map[netip.Addr]*sourceHealth), domains: make(map[string]*counter),
		denied: make(map[string]*denial), ailing: make(map[ailingKey]*ailment), blocks: make(map[Block]map[Destination]bool), places: make(map[placeKey]*place), stats: make(map[string]HostStat)}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.flushed = sync.NewCond(&m.outMu)
	return m
}

// Submit takes a message over. It does not wait; the results come by Config.Results, one
// for each recipient. After Stop it does nothing.
func (m *MTA) Submit(msg *Message, opts *Relay) {
	msg.open.Store(int64(len(msg.Recipients)))
	if len(msg.Recipients) == 0 {
		if msg.Close != nil {
			msg.Close()
		}
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopping {
		return
	}
	m.sweep(time.Now())
	if msg.RequireTLS && !msg.Sender.Null() { // https://www.rfc-editor.org/rfc/rfc8689#section-5
		opts = opts.strict()
	} else if msg.TLSOptional && (opts.DANE || opts.STS || m.cfg.TLSResult != nil) { // https://www.rfc-editor.org/rfc/rfc8689#section-4.2.2
		own := *opts
		own.DANE, own.STS, own.Quiet = false, false, true
		opts = &own
	}
	if opts.URL.Host != "" {
		m.enqueue(opts, "", msg, msg.Recipients)
		return
	}
	var order []string
	byDomain := make(map[string][]Recipient)
	for _, r := range msg.Recipients {
		if _, ok := byDomain[r.Dest.Domain]; !ok {
			order = append(order, r.Dest.Domain)
		}
		byDomain[r.Dest.Domain] = append(byDomain[r.Dest.Domain], r)
	}
	for _, d := range order {
		m.enqueue(opts, d, msg, byDomain[d])
	}
}

// Refuse gives the recipients of a message a temporary failure without trying: what is
// needed for it is missing. The body is not needed. After Stop it does nothing.
func (m *MTA) Refuse(msg *Message, opts *Relay, why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopping {
		return
	}
	msg.open.Store(int64(len(msg.Recipients)))
	m.refuse(msg, opts, fate{status: envelope.TempFail, text: limitText(clean(why)), class: 4, code: 300, unreached: true}) // 4.3.0 other mail system status
}

// refuse gives f to all recipients of a message. The caller holds the lock.
func (m *MTA) refuse(msg *Message, opts *Relay, f fate) {
	o := origin{tr: m.cfg.Log.NewTrace(), source: "-", relay: "-"}
	m.conclude(o, opts.sender(msg.Sender), msg, msg.Recipients, slices.Repeat([]fate{f}, len(msg.Recipients)))
}

// enqueue adds tasks to a relay and lets it work. The caller holds the lock.
func (m *MTA) enqueue(opts *Relay, domain string, msg *Message, rcpts []Recipient) {
	m.relayFor(opts, domain, func(r *relay) {
		rcpts, others := split(rcpts)
		for len(rcpts) > 0 || len(others) > 0 {
			if len(rcpts) == 0 {
				rcpts, others = others, nil
			}
			n := min(len(rcpts), maxRecipients)
			r.tasks = append(r.tasks, &task{msg: msg, rcpts: rcpts[:n:n]})
			rcpts = rcpts[n:]
		}
	})
}

// relayFor lets add give tasks to a relay, a new one if need be, and lets it work. The caller
// holds the lock.
func (m *MTA) relayFor(opts *Relay, domain string, add func(*relay)) {
	k := opts.key(domain)
	r := m.relays[k]
	if r == nil {
		r = newRelay(opts, k, domain)
		m.relays[k] = r
	}
	r.opts, r.limits = opts, opts.Limits.withDefaults() // the latest configuration counts
	add(r)
	if f, denied := m.isDenied(r); denied {
		m.failAll(r, f)
		return
	}
	m.dispatch(r)
}

// split puts the recipients apart whose addresses need SMTPUTF8: a server that lacks it is
// to get the others.
func split(rcpts []Recipient) (ascii, others []Recipient) {
	if !slices.ContainsFunc(rcpts, func(r Recipient) bool { return r.Dest.International() }) {
		return rcpts, nil
	}
	for _, r := range rcpts {
		if r.Dest.International() {
			others = append(others, r)
		} else {
			ascii = append(ascii, r)
		}
	}
	return ascii, others
}

// Pause lets no transaction begin until Resume. It reports false when it was so already.
func (m *MTA) Pause() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.paused
	m.paused = true
	return !was
}

// Resume undoes Pause. It reports false when there was nothing to undo.
func (m *MTA) Resume() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.paused
	m.paused = false
	for _, r := range m.relays {
		m.dispatch(r)
	}
	return was
}

// Stop lets running transactions end and closes the connections, those that are left when
// ctx ends by force. Messages whose transaction did not begin get no result and are not
// closed: nothing was tried. When it returns, all results were given.
func (m *MTA) Stop(ctx context.Context) {
	m.mu.Lock()
	if !m.stopping {
		m.stopping = true
		close(m.stop)
		for _, rt := range m.routes {
			if rt.timer != nil {
				rt.timer.Stop()
			}
		}
		for _, r := range m.relays {
			for _, t := range []*time.Timer{r.timer, r.watcher} {
				if t != nil {
					t.Stop()
				}
			}
		}
	}
	m.mu.Unlock()
	cut := context.AfterFunc(ctx, m.cancel)
	m.wg.Wait()
	cut()
	m.cancel()
	m.outMu.Lock()
	defer m.outMu.Unlock()
	for m.flushing {
		m.flushed.Wait()
	}
}

// give hands results on. They are gathered while Results runs, so that a busy receiver
// gets them in batches.
func (m *MTA) give(results []envelope.Result) {
	m.outMu.Lock()
	defer m.outMu.Unlock()
	m.out = append(m.out, results...)
	if m.flushing || len(m.out) == 0 {
		return
	}
	m.flushing = true
	go m.deliverResults()
}

func (m *MTA) deliverResults() {
	m.outMu.Lock()
	defer m.outMu.Unlock()
	for len(m.out) > 0 {
		batch := m.out
		m.out = nil
		m.outMu.Unlock()
		m.cfg.Results(batch)
		m.outMu.Lock()
	}
	m.flushing = false
	m.flushed.Broadcast()
}

// origin says over what a fate was met, for the log.
type origin struct {
	tr            *trace.Trace
	source, relay string // as the log gives them
	mta           string // name of the server
	noDSN, final  bool
}

var statusNames = [...]string{envelope.Delivered: "Ok", envelope.TempFail: "TempFail",
	envelope.PermFail: "PermFail", envelope.Loop: "PermFail"}

// conclude logs fates and gives them on. fates[i] is the one of rcpts[i]; those without a
// status are left out.
func (m *MTA) conclude(o origin, sender address.Address, msg *Message, rcpts []Recipient, fates []fate) {
	now := time.Now()
	results := make([]envelope.Result, 0, len(rcpts))
	for i := range rcpts {
		f, r := fates[i], &rcpts[i]
		if f.status == 0 {
			continue
		}
		rcpt := "-"
		if r.Rcpt != r.Dest && !r.Rcpt.Null() {
			rcpt = r.Rcpt.String()
		}
		o.tr.Infof("mta delivery evpid=%s from=<%s> to=<%s> rcpt=<%s> source=\"%s\" relay=\"%s\" delay=%s result=\"%s\" stat=\"%s\"",
			r.ID, sender, r.Dest, rcpt, o.source, o.relay, trace.Delay(now.Sub(r.Created)), statusNames[f.status], unquoted(f.text))
		mta := o.mta
		if f.filter {
			mta = "" // the server did not say it
		}
		results = append(results, envelope.Result{ID: r.ID, Status: f.status, Text: f.text, EscClass: f.class,
			EscCode: f.code, MTA: mta, NoDSN: o.noDSN && f.status == envelope.Delivered, Final: o.final, Unreached: f.unreached})
	}
	m.give(results)
	if msg.open.Add(-int64(len(results))) == 0 && len(results) > 0 && msg.Close != nil {
		msg.Close()
	}
}
