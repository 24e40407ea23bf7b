package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/compat/user"
	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/dns"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/expand"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/mtasts"
	"github.com/godwit-mta/godwit/core/rules"
	"github.com/godwit-mta/godwit/core/srs"
	"github.com/godwit-mta/godwit/core/stats"
	"github.com/godwit-mta/godwit/core/table"
	"github.com/godwit-mta/godwit/core/tlsrpt"
)

// lookupRole answers questions: which envelopes a recipient becomes, and what the DNS
// says. It makes all envelopes but those of a decider.
type lookupRole struct {
	m   *member
	dns *dns.Resolver
	web stsWeb
	// reports are nil until a configuration wants them.
	reports *tlsrpt.Reporter
	stats   stats.Counters
	cfg     generations[*lookupSettings]
	next    *lookupSettings
	ctx     context.Context
	stop    context.CancelFunc

	hashing   *fairGate     // for comparing passwords, which takes all that a processor has
	authSlots chan struct{} // those who wait for it are in nobody's way
	guesses   guesses
	// scramSecret is of this process: it seals.
	scramSecret [32]byte

	// Questions under way. Tables that take their time do not keep the DNS from answering.
	tableSlots, routeSlots, dnsSlots chan struct{}
}

// Limits of what lookup does for others.
const (
	mostLookups = 4096             // of each kind at a time
	answerLimit = 45 * time.Second // less than lookupWait: who asks is to hear of it
)

// lookupSettings is a configuration in the form in which it is used.
type lookupSettings struct {
	lookupConfig
	tables   *table.Set
	expander *expand.Expander
	decoys   map[string]*atomic.Pointer[string] // by table of auth: a hash as its users have
	relays   map[string]*relayTables            // by action
	policies *mtasts.Cache                      // nil without STS
}

// set gives the tables; those of no configuration are nil.
func (s *lookupSettings) set() *table.Set {
	if s == nil {
		return nil
	}
	return s.tables
}

func newLookup(m *member) *lookupRole {
	ctx, cancel := context.WithCancel(context.Background())
	l := &lookupRole{m: m, ctx: ctx, stop: cancel, hashing: newFairGate(hashSlots()), authSlots: make(chan struct{}, mostLookups),
		tableSlots: make(chan struct{}, mostLookups), routeSlots: make(chan struct{}, mostLookups), dnsSlots: make(chan struct{}, mostLookups),
		dns: dns.New(dns.Options{ResolvConf: "/etc/resolv.conf", Hosts: "/etc/hosts", Log: m.log})}
	rand.Read(l.scramSecret[:])
	return l
}

func (l *lookupRole) prepare(r *ipc.Request, _ []*os.File) error {
	s := new(lookupSettings)
	if err := r.Decode(&s.lookupConfig); err != nil {
		return err
	}
	var err error
	if s.tables, err = l.openTables(s); err != nil {
		return err
	}
	if err = l.checkTables(s); err != nil {
		_ = s.tables.Close()
		return err
	}
	if s.STS {
		s.policies = l.openSTS(s)
	}
	l.next = s
	return nil
}

// checkTables makes of a configuration what decides, which finds out whether the tables
// can answer what they will be asked.
func (l *lookupRole) checkTables(s *lookupSettings) error {
	if err := s.prepareListeners(); err != nil {
		return err
	}
	if err := s.prepareFilters(); err != nil {
		return err
	}
	matcher, err := rules.New(s.Rules, s.tables, l.m.log)
	if err != nil {
		return err
	}
	cfg := &config.Config{Actions: s.Actions, Wrappers: s.Wrappers, SubAddrDelim: s.SubAddrDelim}
	s.expander, err = expand.New(cfg, expand.Sources{Tables: s.tables, Rules: matcher, Forward: l.forward,
		DaemonUser: s.DaemonUser, SRS: srsCodec(&s.SRS), Log: l.m.log})
	if err != nil {
		return err
	}
	return s.prepareRelays()
}

// srsCodec gives nil when there is no key.
func srsCodec(c *config.SRS) *srs.Codec {
	if c.Key == "" {
		return nil
	}
	return srs.New(c.Key, c.BackupKey, c.TTL)
}

func (l *lookupRole) activate() {
	before := l.cfg.get(0)
	l.cfg.add(l.next.Generation, l.next)
	l.web.trust(l.next.SystemCAs)
	l.openTLSReport(l.next)
	l.dns.Trust(dns.Trust{On: l.next.DANE.On, Addrs: l.next.DANE.Resolvers})
	l.next = nil
	if before != nil {
		before.tables.Retire(retireAfter)
	}
}

func (l *lookupRole) abandon() {
	if l.next != nil {
		_ = l.next.tables.Close()
	}
	l.next = nil
}

// Close ends the programs of all configurations.
func (l *lookupRole) Close() error {
	l.stop()
	l.abandon()
	for _, s := range l.cfg.all() {
		_ = s.tables.Close()
	}
	l.web.close()
	if l.reports != nil {
		l.reports.Close()
	}
	return nil
}

func (l *lookupRole) drain(context.Context) { l.stop() }

func (l *lookupRole) handle(from Role, r *ipc.Request) {
	switch {
	case r.Kind == kindRecipient && from == Dispatcher, r.Kind == kindNoticeRecipient && from == Queue:
		bounded(l.tableSlots, r, func() { l.recipient(r) })
	case r.Kind == kindPTR && from == Dispatcher:
		bounded(l.dnsSlots, r, func() { l.ptr(r) })
	case r.Kind == kindMX && from == Dispatcher:
		bounded(l.dnsSlots, r, func() { l.mx(r) })
	case r.Kind == kindHost && from == Dispatcher:
		bounded(l.dnsSlots, r, func() { l.host(r) })
	case r.Kind == kindTLSA && from == Dispatcher:
		bounded(l.dnsSlots, r, func() { l.tlsa(r) })
	case r.Kind == kindSTS && from == Dispatcher:
		bounded(l.dnsSlots, r, func() { l.sts(r) })
	case r.Kind == kindTLSResults && from == Dispatcher:
		l.tlsResults(r)
	case r.Kind == kindTLSPolicy && from == Dispatcher:
		bounded(l.tableSlots, r, func() { l.tlsPolicy(r) })
	case r.Kind == kindAuth && from == Dispatcher:
		bounded(l.authSlots, r, func() { l.auth(r) })
	case r.Kind == kindUser && from == Dispatcher:
		bounded(l.tableSlots, r, func() { l.user(r) })
	case r.Kind == kindScram && from == Dispatcher:
		bounded(l.tableSlots, r, func() { l.scram(r) })
	case r.Kind == kindSender && from == Dispatcher:
		bounded(l.tableSlots, r, func() { l.sender(r) })
	case r.Kind == kindFilterMatch && from == Dispatcher:
		bounded(l.tableSlots, r, func() { l.match(r) })
	case r.Kind == kindAddrName && from == Dispatcher:
		bounded(l.tableSlots, r, func() { l.hostname(r) })
	case r.Kind == kindRoute && from == Dispatcher:
		bounded(l.routeSlots, r, func() { l.route(r) })
	case r.Kind == kindUserinfo && (from == Parent || from == Queue):
		bounded(l.tableSlots, r, func() { l.userinfo(r) })
	case r.Kind == kindAdmin && from == Control:
		r.Go(func() { l.admin(r) })
	case r.Kind == kindStats:
		r.Reply(&statsReply{l.stats.Snapshot()})
	default:
		r.Fail(fmt.Errorf("lookup: message %d of %s", r.Kind, from))
	}
}

// recipient decides about a recipient and sends the envelopes to the queue. The answer
// goes out after them.
func (l *lookupRole) recipient(r *ipc.Request) {
	var req recipientRequest
	l.answer(r, &req, func(ctx context.Context) any {
		envs, err := l.expand(ctx, &req)
		if err == nil {
			n := newEnvelopes{Message: req.Message, Index: req.Index, Envelopes: envs}
			if l.m.peers[Queue].Send(kindEnvelopes, &n) != nil {
				err = tempError()
			}
		}
		if err != nil {
			return refusal(err)
		}
		return &recipientReply{Envelopes: len(envs)}
	})
}

// tempError is the reply when something failed that is none of the client's business.
func tempError() *gosmtp.SMTPError {
	return &gosmtp.SMTPError{Code: 451, EnhancedCode: gosmtp.EnhancedCode{4, 3, 0}, Message: "Temporary Error"}
}

func refusal(err error) *recipientReply {
	var reply *gosmtp.SMTPError
	if !errors.As(err, &reply) {
		reply = tempError()
	}
	return &recipientReply{Code: reply.Code, Enhanced: reply.EnhancedCode[:], Text: reply.Message}
}

func (l *lookupRole) expand(ctx context.Context, req *recipientRequest) ([]*envelope.Envelope, error) {
	cfg := l.cfg.get(req.Generation)
	s, postmaster, err := req.facts()
	if err != nil {
		return nil, err
	}
	if watched := req.Session.Watched; watched != 0 {
		s.Log = l.m.log.About(watched)
	}
	base := baseEnvelope(req, s, cfg.QueueTTL)
	envs, err := cfg.expander.Expand(ctx, s, base)
	if postmaster && refusal(err).Code >= 500 {
		return expandPostmaster(ctx, cfg, s, base, err)
	}
	return envs, err
}

// facts gives what rules are about, and whether the recipient is <postmaster> without a domain. Addresses
// without one are of this host.
func (req *recipientRequest) facts() (s *rules.Session, postmaster bool, err error) {
	sender, err := address.ParsePath(req.Sender)
	if err != nil {
		return nil, false, err
	}
	rcpt, err := address.ParsePath(req.Rcpt)
	if err != nil {
		return nil, false, err
	}
	postmaster = rcpt.Domain == "" && strings.EqualFold(rcpt.Local, "postmaster")
	in := &req.Session
	for _, a := range []*address.Address{&sender, &rcpt} {
		if !a.Null() && a.Domain == "" {
			a.Domain = in.SMTPName
		}
	}
	return &rules.Session{Local: in.Local, Addr: in.Addr, RDNS: in.RDNS, FCrDNS: in.FCrDNS, Helo: in.Helo, Tag: in.Tag,
		Authenticated: in.Authenticated, Username: in.Username, TLS: in.TLS, Sender: sender, Rcpt: rcpt}, postmaster, nil
}

// expandPostmaster is for <postmaster> without a domain, whom everybody may reach
// (https://www.rfc-editor.org/rfc/rfc5321#section-4.5.1): where the rules refuse, those for
// mail from this host count, as long as they deliver it here.
func expandPostmaster(ctx context.Context, cfg *lookupSettings, s *rules.Session, base *envelope.Envelope, refused error) ([]*envelope.Envelope, error) {
	local := *s
	local.Local = true
	envs, err := cfg.expander.Expand(ctx, &local, base)
	if err != nil || slices.ContainsFunc(envs, func(e *envelope.Envelope) bool { return e.Type != envelope.MDA }) {
		return nil, refused
	}
	return envs, nil
}

// baseEnvelope is what all envelopes of a recipient have in common.
func baseEnvelope(req *recipientRequest, s *rules.Session, ttl time.Duration) *envelope.Envelope {
	in := &req.Session
	e := &envelope.Envelope{Tag: in.Tag, SMTPName: in.SMTPName, Helo: in.Helo, Hostname: in.RDNS, Username: in.Username,
		Sockaddr: "local", Sender: s.Sender, Rcpt: s.Rcpt, TTL: ttl, Created: time.Unix(time.Now().Unix(), 0),
		Notify: envelope.Notify(req.Notify), Ret: req.Ret, EnvID: req.EnvID, ORcpt: req.ORcpt}
	if !in.Local {
		e.Sockaddr = addrText(in.Addr)
	}
	if e.Hostname == "" {
		e.Hostname = e.Sockaddr
	}
	if in.Authenticated || in.Local {
		e.Flags |= envelope.Authenticated
	}
	e.Flags |= envelope.Flags(req.Flags) & (envelope.SMTPUTF8 | envelope.RequireTLS)
	if in.TLS {
		e.Flags |= envelope.TLS
	}
	if req.Notice {
		e.Flags |= envelope.BounceMessage
	}
	return e
}

// addrText writes IPv6 addresses in brackets, as logs and envelopes do.
func addrText(a netip.Addr) string {
	a = a.Unmap()
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// forward asks the parent for a user's .forward.
func (l *lookupRole) forward(ctx context.Context, u table.User) ([]byte, bool, error) {
	var reply forwardReply
	req := forwardRequest{User: u.Name, UID: u.UID, GID: u.GID, Home: u.Home}
	if err := l.m.parent.Call(ctx, kindForward, &req, &reply); err != nil {
		return nil, false, err
	}
	if reply.Error != "" {
		if reply.Insecure {
			return nil, false, fmt.Errorf("%w: %s", expand.ErrInsecure, reply.Error)
		}
		return nil, false, errors.New(reply.Error)
	}
	return reply.Content, reply.Found, nil
}

// userinfo tells who a user of a table is.
func (l *lookupRole) userinfo(r *ipc.Request) {
	var req userinfoRequest
	l.answer(r, &req, func(ctx context.Context) any {
		reply := &userinfoReply{}
		value, found, err := l.cfg.get(0).tables.Lookup(ctx, req.Table, table.UserInfo, req.User)
		if err == nil && found {
			var u table.User
			if u, err = table.ParseUser(req.User, value); err == nil {
				reply.Found, reply.UID, reply.GID, reply.Home = true, u.UID, u.GID, u.Home
			}
		}
		if err != nil {
			reply.Error = err.Error()
		}
		return reply
	})
}

// systemUsers is the table of the system's users.
type systemUsers struct{}

func (systemUsers) Lookup(_ context.Context, name string) (table.User, bool, error) {
	u, err := user.Lookup(name)
	if errors.Is(err, user.ErrNotFound) {
		return table.User{}, false, nil
	}
	if err != nil {
		return table.User{}, false, err
	}
	return table.User{Name: u.Name, UID: u.UID, GID: u.GID, Home: u.Home}, true, nil
}
