package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/smtp"
	"github.com/godwit-mta/godwit/core/stats"
)

// backend stands behind the sessions of a listener.
type backend struct {
	d *dispatcherRole
	s *dispatcherSettings
	l *listener
}

// NewSession begins to look for the name of the client; only who needs it waits for it.
func (b *backend) NewSession(c *smtp.Conn) (gosmtp.Session, error) {
	s := &mailSession{backend: b, c: c, ptr: make(chan struct{})}
	if c.Local() {
		s.d.stats.Counter("smtp.session.local").Add(1)
		s.host = ptrReply{Name: "localhost"}
		close(s.ptr)
		return s, nil
	}
	if s.l.SMTPS {
		s.countTLS(1)
	}
	go s.resolve()
	s.nameListener()
	return s, nil
}

// mailSession is an SMTP session as the daemon sees it.
type mailSession struct {
	*backend
	c    *smtp.Conn
	ptr  chan struct{} // closed when host is known
	host ptrReply
	user string // who the client proved to be; "" without AUTH

	hooks *sessionHooks // nil without filters

	id        envelope.MessageID // of the message under way, 0 without one
	sender    string
	options   gosmtp.MailOptions
	rcpts     []string             // those that were accepted
	marked    bool                 // one of them had parameters of DSN
	spam      bool                 // filters say so
	envelopes int                  // that lookup made of them
	relayed   []*envelope.Envelope // of the first of them: lookup was not asked
	file      *os.File             // the body, when it is large
}

// ptrWait is how long a transaction waits for the name of its client.
const ptrWait = 10 * time.Second

func (s *mailSession) resolve() {
	defer close(s.ptr)
	ctx, cancel := context.WithTimeout(s.c.Context(), lookupWait)
	defer cancel()
	req := addrRequest{s.c.RemoteAddr().Addr().Unmap()}
	if s.d.m.peers[Lookup].Call(ctx, kindPTR, &req, &s.host) != nil {
		s.host = ptrReply{Failed: true}
	}
	s.c.Named(s.host.Name)
	s.c.Trace().Debugf("smtp: name of the client: %q confirmed=%t failed=%t", s.host.Name, s.host.Confirmed, s.host.Failed)
}

// named gives what is known about the name of the client, after waiting for it.
func (s *mailSession) named() ptrReply {
	select {
	case <-s.ptr:
		return s.host
	default:
	}
	timer := time.NewTimer(ptrWait)
	defer timer.Stop()
	select {
	case <-s.ptr:
		return s.host
	case <-timer.C:
		return ptrReply{Failed: true}
	}
}

// Host gives the name of the client if it is known by now.
func (s *mailSession) Host() (string, bool) {
	select {
	case <-s.ptr:
		return s.host.Name, true
	default:
		return "", false
	}
}

// TLSStarted forgets what was said in clear; the engine calls Reset as well.
func (s *mailSession) TLSStarted(tls.ConnectionState) error {
	s.countTLS(1)
	return nil
}

// countTLS counts the encrypted sessions that there are.
func (s *mailSession) countTLS(n int64) {
	name := stats.SMTPTLS
	if s.l.SMTPS {
		name = stats.SMTPS
	}
	s.d.stats.Counter(name).Add(n)
}

func (s *mailSession) Mail(from string, opts *gosmtp.MailOptions) error {
	if err := s.checkSender(from); err != nil {
		return err
	}
	err := s.d.ids.room(s.c.Context(), opts.Size)
	if err != nil {
		return s.noStorage(err)
	}
	id, err := s.d.ids.take(s.c.Context())
	if err != nil {
		return s.noStorage(err)
	}
	s.id, s.sender, s.options = id, from, *opts
	return nil
}

// Rcpt asks lookup. The envelopes go from there to the queue; here only their number counts.
func (s *mailSession) Rcpt(to string, opts *gosmtp.RcptOptions) error {
	req := recipientRequest{Generation: s.s.Generation, Message: s.id, Session: s.facts(), Sender: s.sender, Rcpt: to, Index: len(s.rcpts),
		Flags: uint8(extensionFlags(&s.options)), Notify: notifyBits(opts.Notify), Ret: string(s.options.Return), EnvID: smtp.EncodeXtext(s.options.EnvelopeID)}
	plain := len(opts.Notify) == 0 && opts.OriginalRecipient == ""
	if plain && !s.marked && slices.Contains(s.rcpts, to) {
		return nil // it gets the message once
	}
	if opts.OriginalRecipient != "" {
		req.ORcpt = strings.ToLower(string(opts.OriginalRecipientType)) + ";" + smtp.EncodeXtext(opts.OriginalRecipient)
	}
	if err := s.decide(&req); !errors.Is(err, errUndecided) {
		if err == nil {
			s.rcpts, s.marked = append(s.rcpts, to), s.marked || !plain
		}
		return err
	}
	var reply recipientReply
	if err := s.d.m.peers[Lookup].CallWithin(lookupWait, kindRecipient, &req, &reply); err != nil {
		// It is not known whether envelopes were sent: the message cannot go on.
		s.c.Trace().Warnf("%s smtp: lookup: %v", s.c.ID(), err)
		return &gosmtp.SMTPError{Code: 421, EnhancedCode: gosmtp.EnhancedCode{4, 3, 0}, Message: "Temporary Error"}
	}
	if reply.Code != 0 {
		e := &gosmtp.SMTPError{Code: reply.Code, Message: reply.Text}
		copy(e.EnhancedCode[:], reply.Enhanced)
		return e
	}
	s.envelopes += reply.Envelopes
	s.marked = s.marked || !plain
	s.rcpts = append(s.rcpts, to)
	return nil
}

// mostRelayed is how many envelopes of a message are made here: they come with the message.
const mostRelayed = 100

// decide decides about a recipient if that can be done here. Once lookup was asked it is asked about all
// others of the message as well, so that their order is known; and for sessions of an earlier configuration, whose
// decider is not told of addresses that change.
func (s *mailSession) decide(req *recipientRequest) error {
	if s.s != s.d.cfg.Load() || len(s.relayed) != len(s.rcpts) || len(s.relayed) >= mostRelayed {
		return errUndecided
	}
	e, err := s.s.decider.decide(s.c.Context(), req, s.d.m.log)
	if err == nil {
		s.relayed = append(s.relayed, e)
	}
	return err
}

func (s *mailSession) facts() session {
	host := s.named()
	f := session{Local: s.c.Local(), RDNS: host.Name, FCrDNS: host.Confirmed, Helo: s.c.Helo(), Tag: s.l.Tag,
		SMTPName: s.c.Hostname(), TLS: s.c.TLS() != nil, Authenticated: s.user != "", Username: s.user}
	if a := s.c.RemoteAddr().Addr(); a.IsValid() {
		f.Addr = a.Unmap()
	}
	if f.Local {
		f.Username, _ = s.c.PeerUser()
	}
	if t := s.c.Trace(); t.Watched() {
		f.Watched = t.ID
	}
	return f
}

// Data is not used: the engine calls Message.
func (s *mailSession) Data(io.Reader) error { return errors.New("no native session") }

// Reset ends a transaction that was not committed. The queue forgets it when all its
// envelopes have come.
func (s *mailSession) Reset() {
	if s.id != 0 {
		_ = s.d.m.peers[Queue].Send(kindAbort, &messageRef{s.id, s.envelopes})
	}
	s.clear()
}

func (s *mailSession) clear() {
	if s.file != nil {
		s.file.Close()
	}
	s.id, s.sender, s.rcpts, s.marked, s.envelopes, s.relayed, s.file = 0, "", nil, false, 0, nil, nil
	s.options = gosmtp.MailOptions{}
}

// Logout ends the session.
func (s *mailSession) Logout() error {
	s.Reset()
	if s.c.TLS() != nil {
		s.countTLS(-1)
	}
	return nil
}

// extensionFlags are what an envelope keeps of MAIL.
func extensionFlags(o *gosmtp.MailOptions) (f envelope.Flags) {
	if o.UTF8 {
		f |= envelope.SMTPUTF8
	}
	if o.RequireTLS {
		f |= envelope.RequireTLS
	}
	return f
}

func notifyBits(words []gosmtp.DSNNotify) (bits uint8) {
	for _, w := range words {
		switch w {
		case gosmtp.DSNNotifySuccess:
			bits |= uint8(envelope.NotifySuccess)
		case gosmtp.DSNNotifyFailure:
			bits |= uint8(envelope.NotifyFailure)
		case gosmtp.DSNNotifyDelayed:
			bits |= uint8(envelope.NotifyDelay)
		case gosmtp.DSNNotifyNever:
			bits |= uint8(envelope.NotifyNever)
		}
	}
	return bits
}
