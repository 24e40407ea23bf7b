package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/message"
	"github.com/godwit-mta/godwit/core/smtp"
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
	go s.resolve()
	return s, nil
}

// mailSession is an SMTP session as the daemon sees it.
type mailSession struct {
	*backend
	c    *smtp.Conn
	ptr  chan struct{} // closed when host is known
	host ptrReply

	id        envelope.MessageID // of the message under way, 0 without one
	sender    string
	options   gosmtp.MailOptions
	rcpts     []string // those that were accepted
	envelopes int      // that lookup made of them
	file      *os.File // the body, when it is large
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
}

// named gives what is known about the name of the client, after waiting for it.
func (s *mailSession) named() ptrReply {
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
	s.d.stats.Counter("smtp.tls").Add(1)
	return nil
}

func (s *mailSession) Mail(from string, opts *gosmtp.MailOptions) error {
	id, err := s.d.ids.take(s.c.Context())
	if err != nil {
		return storageError(err.Error(), strings.Contains(err.Error(), noSpaceText))
	}
	s.id, s.sender, s.options = id, from, *opts
	return nil
}

// Rcpt asks lookup. The envelopes go from there to the queue; here only their number counts.
func (s *mailSession) Rcpt(to string, opts *gosmtp.RcptOptions) error {
	req := recipientRequest{Generation: s.s.Generation, Message: s.id, Session: s.facts(), Sender: s.sender, Rcpt: to, Index: len(s.rcpts),
		Notify: notifyBits(opts.Notify), Ret: string(s.options.Return), EnvID: smtp.EncodeXtext(s.options.EnvelopeID)}
	if opts.OriginalRecipient != "" {
		req.ORcpt = string(opts.OriginalRecipientType) + ";" + smtp.EncodeXtext(opts.OriginalRecipient)
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupWait)
	defer cancel()
	var reply recipientReply
	if err := s.d.m.peers[Lookup].Call(ctx, kindRecipient, &req, &reply); err != nil {
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
	s.rcpts = append(s.rcpts, to)
	return nil
}

func (s *mailSession) facts() session {
	host := s.named()
	f := session{Local: s.c.Local(), RDNS: host.Name, FCrDNS: host.Confirmed, Helo: s.c.Helo(), Tag: s.l.Tag,
		SMTPName: s.c.Hostname(), TLS: s.c.TLS() != nil}
	if a := s.c.RemoteAddr().Addr(); a.IsValid() {
		f.Addr = a.Unmap()
	}
	if f.Local {
		f.Username, _ = s.c.PeerUser()
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
	s.id, s.sender, s.rcpts, s.envelopes, s.file = 0, "", nil, 0, nil
	s.options = gosmtp.MailOptions{}
}

// Logout ends the session.
func (s *mailSession) Logout() error {
	s.Reset()
	return nil
}

// headBuffer is room for the first part of a message.
type headBuffer struct{ b [smallMessage]byte }

// smallMessage is the largest message that is kept in memory, in octets.
const smallMessage = 64 << 10

// Message takes the message in: a small one in memory, a larger one into a file of the
// queue. The reply is given when it is durable.
func (s *mailSession) Message(body *smtp.Body) error {
	head := s.d.heads.Get().(*headBuffer)
	defer s.d.heads.Put(head)
	n, err := io.ReadFull(body, head.b[:])
	whole := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if err != nil && !whole {
		return err
	}
	text, err := s.prefix(head.b[:n], whole)
	if err != nil {
		return err
	}
	req := commitRequest{Message: s.id, Envelopes: s.envelopes}
	if whole && len(text) <= smallMessage+maxAdded {
		req.Body, req.Size = text, int64(len(text))
	} else if req.Size, err = s.stream(text, body); err != nil {
		return err
	}
	return s.commit(&req)
}

// maxAdded is more than the header fields take that are added to a message.
const maxAdded = 8 << 10

// prefix gives the beginning of the message with the header fields that are added here.
func (s *mailSession) prefix(head []byte, whole bool) ([]byte, error) {
	h, err := message.Scan(head, whole)
	if err != nil {
		return nil, smtp.HeaderRefusal(err)
	}
	text := s.received(make([]byte, 0, len(head)+512))
	if !s.submitted() {
		return append(text, head...), nil
	}
	if !h.Complete { // it cannot be completed, and no mail program writes so much
		return nil, smtp.HeaderRefusal(message.ErrTooLarge)
	}
	text = message.Complete(text, head, h, s.c.Hostname(), time.Now(), s.c.Trace().ID^uint64(s.id)<<32)
	return append(text, head[h.Len:]...), nil
}

// submitted reports whether the message begins its way here (RFC 6409), so that what a
// mail program left out may be added.
func (s *mailSession) submitted() bool { return s.l.submit }

func (s *mailSession) received(b []byte) []byte {
	host := s.named()
	name := host.Name
	if name == "" {
		name = "<unknown>"
	}
	r := message.Received{Helo: s.c.Helo(), Host: name, Addr: s.c.AddrText(), MaskSource: s.l.MaskSrc, By: s.c.Hostname(),
		Ident: "Godwit", ESMTP: s.c.ESMTP(), ID: s.id.String(), Date: time.Now()}
	if state := s.c.TLS(); state != nil {
		r.TLS, r.Verified = smtp.TLSText(state), len(state.VerifiedChains) > 0
	}
	if len(s.rcpts) == 1 {
		if a, err := address.ParsePath(s.rcpts[0]); err == nil {
			if a.Domain == "" {
				a.Domain = s.c.Hostname()
			}
			r.For = a.String()
		}
	}
	return r.Append(b)
}

// stream writes a large message to a file of the queue and gives its size.
func (s *mailSession) stream(text []byte, body *smtp.Body) (int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupWait)
	defer cancel()
	files, err := s.d.m.peers[Queue].CallFiles(ctx, kindBodyFile, &messageRef{Message: s.id}, nil)
	if err != nil || len(files) != 1 {
		s.c.Trace().Warnf("%s smtp: no file for message %s: %v", s.c.ID(), s.id, err)
		return 0, storageError("", err != nil && strings.Contains(err.Error(), noSpaceText))
	}
	s.file = files[0]
	if _, err := s.file.Write(text); err != nil {
		return 0, s.writeFailed(err)
	}
	w := &errorWriter{w: s.file}
	n, err := body.WriteTo(w)
	if w.err != nil {
		return 0, s.writeFailed(w.err)
	}
	if err != nil {
		return 0, err
	}
	return int64(len(text)) + n, nil
}

// errorWriter remembers that it was the writer that failed.
type errorWriter struct {
	w   io.Writer
	err error
}

func (w *errorWriter) Write(b []byte) (int, error) {
	n, err := w.w.Write(b)
	if err != nil {
		w.err = err
	}
	return n, err
}

func (s *mailSession) writeFailed(err error) error {
	s.c.Trace().Warnf("%s smtp: message %s: %v", s.c.ID(), s.id, err)
	return storageError("", true)
}

func (s *mailSession) commit(req *commitRequest) error {
	var reply commitReply
	ctx, cancel := context.WithTimeout(context.Background(), 10*lookupWait)
	defer cancel()
	if err := s.d.m.peers[Queue].Call(ctx, kindCommit, req, &reply); err != nil {
		s.clear() // whether it is kept is not known; the client has to try again
		s.c.Trace().Warnf("%s smtp: queue: %v", s.c.ID(), err)
		return &gosmtp.SMTPError{Code: 421, EnhancedCode: gosmtp.EnhancedCode{4, 3, 0}, Message: "Temporary Error"}
	}
	id, sender, rcpts := s.id, s.sender, s.rcpts
	s.clear()
	if reply.Error != "" {
		return storageError("", reply.NoSpace)
	}
	proto := "SMTP"
	if s.c.ESMTP() {
		proto = "ESMTP"
	}
	t := s.c.Trace()
	t.Infof("smtp message msgid=%s size=%d nrcpt=%d proto=%s", id, req.Size, len(rcpts), proto)
	for i, evp := range reply.IDs {
		if i < len(rcpts) {
			t.Infof("smtp envelope evpid=%s from=<%s> to=<%s>", evp, sender, rcpts[i])
		}
	}
	return &gosmtp.SMTPError{Code: 250, EnhancedCode: gosmtp.EnhancedCode{2, 0, 0}, Message: id.String() + " Message accepted for delivery"}
}

// noSpaceText is in the error of the queue when its file system is full.
const noSpaceText = "free space"

func storageError(_ string, noSpace bool) error {
	if noSpace {
		return &gosmtp.SMTPError{Code: 452, EnhancedCode: gosmtp.EnhancedCode{4, 3, 1}, Message: "Insufficient system storage"}
	}
	return tempError("")
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

// messageIDs holds ids that the queue reserved for us, so that a transaction does not have
// to ask for its own.
type messageIDs struct {
	m    *member
	mu   sync.Mutex
	ids  []envelope.MessageID
	fill chan struct{} // closed when the request that is under way is answered; nil without one
	err  error
}

const (
	idBlock = 128 // asked for at a time
	idLow   = 32  // asked for when so few are left
)

// take gives an id, and asks for more before the last one is gone.
func (m *messageIDs) take(ctx context.Context) (envelope.MessageID, error) {
	for tries := 0; ; tries++ {
		m.mu.Lock()
		if len(m.ids) <= idLow && m.fill == nil {
			m.fill = make(chan struct{})
			go m.ask()
		}
		if n := len(m.ids); n > 0 {
			id := m.ids[n-1]
			m.ids = m.ids[:n-1]
			m.mu.Unlock()
			return id, nil
		}
		fill, err := m.fill, m.err
		m.mu.Unlock()
		if err != nil && tries > 0 {
			return 0, err
		}
		select {
		case <-fill:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (m *messageIDs) ask() {
	ctx, cancel := context.WithTimeout(context.Background(), lookupWait)
	defer cancel()
	var reply reserveReply
	err := m.m.peers[Queue].Call(ctx, kindReserve, &reserveRequest{idBlock}, &reply)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ids, m.err = append(m.ids, reply.IDs...), err
	close(m.fill)
	m.fill = nil
}
