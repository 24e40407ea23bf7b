package daemon

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/compat/diskfree"
	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/message"
	"github.com/godwit-mta/godwit/core/smtp"
)

// headBuffer is room for the first part of a message.
type headBuffer struct{ b [smallMessage]byte }

// smallMessage is the largest message that is kept in memory, in octets.
const smallMessage = 64 << 10

// Message takes the message in: a small one in memory, a larger one into a file of the
// queue. The reply is given when it is durable.
func (s *mailSession) Message(body *smtp.Body) error {
	req, err := s.take(body)
	if err != nil {
		return err
	}
	return s.commit(req)
}

// take reads the message. The buffer that it needs for that is free for others while this message waits for
// the disk.
func (s *mailSession) take(body *smtp.Body) (*commitRequest, error) {
	head := s.d.heads.Get().(*headBuffer)
	defer s.d.heads.Put(head)
	start, h, whole, err := begin(body, head.b[:])
	if err != nil {
		return nil, err
	}
	text := s.prefix(start, h)
	req := &commitRequest{Message: s.id, Envelopes: s.envelopes, Relayed: s.relayed, TLSOptional: h.TLSOptional && !s.options.RequireTLS}
	if whole && len(text) <= smallMessage+maxAdded {
		req.Body, req.Size = text, int64(len(text))
	} else if req.Size, err = s.stream(text, body); err != nil {
		return nil, err
	}
	return req, nil
}

// maxAdded is more than the header fields take that are added to a message.
const maxAdded = 8 << 10

// maxHeader is the largest header section that is taken, in octets.
const maxHeader = 512 << 10

// begin reads the message at least to the end of its header section, which is looked at
// as a whole: a message in a loop collects fields. room is for messages of usual size.
func begin(body io.Reader, room []byte) (text []byte, h message.Header, whole bool, err error) {
	for have := 0; ; {
		n, err := io.ReadFull(body, room[have:])
		whole = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !whole {
			return nil, h, false, err
		}
		text = room[:have+n]
		h, err = message.Scan(text, whole)
		if err == nil && !h.Complete && len(text) >= maxHeader {
			err = message.ErrTooLarge
		}
		if err != nil {
			return nil, h, false, smtp.HeaderRefusal(err)
		}
		if h.Complete || whole {
			return text, h, whole, nil
		}
		have = len(text)
		room = append(make([]byte, 0, 2*have), text...)[:2*have]
	}
}

// prefix gives the beginning of the message with the header fields that are added here.
func (s *mailSession) prefix(start []byte, h message.Header) []byte {
	text := make([]byte, 0, len(start)+512)
	if s.spam {
		text = append(text, "X-Spam: Yes\n"...)
	}
	text = s.received(text)
	head, rest := start[:h.Len], start[h.Len:]
	if s.l.Masquerade && s.user != "" && s.sender != "" && h.HasFrom {
		head = message.Masquerade(nil, head, s.complete(s.sender))
		h.Len = len(head)
	}
	if s.submitted() {
		text = message.Complete(text, head, h, s.c.Hostname(), time.Now(), s.c.Trace().ID^uint64(s.id)<<32)
	} else {
		text = append(text, head...)
	}
	return append(text, rest...)
}

// submitted reports whether the message begins its way here (RFC 6409), so that what a
// mail program left out may be added: its sender is authenticated, or a program on this
// host. A listener with a tag is where content filters hand back mail that may be of others, and so is one behind a proxy.
func (s *mailSession) submitted() bool {
	if s.c.Local() || s.user != "" {
		return true
	}
	return s.l.Tag == "" && !s.l.ProxyV2 && s.c.RemoteAddr().Addr().Unmap().IsLoopback()
}

func (s *mailSession) received(b []byte) []byte {
	host := s.named()
	name := host.Name
	if name == "" {
		name = "<unknown>"
	}
	r := message.Received{Helo: s.c.Helo(), Host: name, Addr: s.c.AddrText(), MaskSource: s.l.MaskSrc, By: s.c.Hostname(),
		Ident: "Godwit", ESMTP: s.c.ESMTP(), ID: s.id.String(), Date: time.Now(),
		Auth: s.user != "" || s.c.Local(), ShowAuth: s.l.ReceivedAuth, User: s.user}
	if state := s.c.TLS(); state != nil {
		r.TLS = smtp.TLSText(state)
		if cert := smtp.VerifiedCert(state); cert != nil {
			r.Verified, r.Cert = true, smtp.CertText(cert)
		}
	}
	r.UTF8 = s.options.UTF8
	// An address in UTF-8 would make a header that only SMTPUTF8 can carry on.
	if len(s.rcpts) == 1 && address.ASCII(s.rcpts[0]) {
		r.For = s.complete(s.rcpts[0])
	}
	return r.Append(b)
}

// stream writes a large message to a file of the queue and gives its size.
func (s *mailSession) stream(text []byte, body io.WriterTo) (int64, error) {
	defer s.d.bodies.Add(-1)
	if s.d.bodies.Add(1) > s.d.mostBodies {
		return 0, &gosmtp.SMTPError{Code: 452, EnhancedCode: gosmtp.EnhancedCode{4, 3, 1}, Message: "Too many large messages at a time"}
	}
	defer s.d.m.procs.wide()()
	ctx, cancel := context.WithTimeout(context.Background(), lookupWait)
	defer cancel()
	files, err := s.d.m.peers[Queue].CallFiles(ctx, kindBodyFile, &messageRef{Message: s.id}, nil)
	if err != nil || len(files) != 1 {
		s.c.Trace().Warnf("%s smtp: no file for message %s: %v", s.c.ID(), s.id, err)
		return 0, s.noStorage(err)
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
	err = s.file.Close() // the queue waits for the end before it commits
	s.file = nil
	if err != nil {
		return 0, s.writeFailed(err)
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
	return s.storageError(diskfree.Full(err))
}

func (s *mailSession) commit(req *commitRequest) error {
	var reply commitReply
	if err := s.d.m.peers[Queue].CallWithin(10*lookupWait, kindCommit, req, &reply); err != nil {
		s.clear() // whether it is kept is not known; the client has to try again
		s.c.Trace().Warnf("%s smtp: queue: %v", s.c.ID(), err)
		return &gosmtp.SMTPError{Code: 421, EnhancedCode: gosmtp.EnhancedCode{4, 3, 0}, Message: "Temporary Error"}
	}
	id, sender, rcpts := s.id, s.sender, s.rcpts
	s.clear()
	if reply.Error != "" {
		return s.storageError(reply.NoSpace)
	}
	proto := "SMTP"
	if s.c.ESMTP() {
		proto = "ESMTP"
	}
	t := s.c.Trace()
	t.Infof("smtp message msgid=%s size=%d nrcpt=%d proto=%s", id, req.Size, len(rcpts), proto)
	if s.hooks != nil {
		s.hooks.kept(id, req.Size, reply.IDs)
	}
	for i, evp := range reply.IDs {
		if i < len(rcpts) {
			t.Infof("smtp envelope evpid=%s from=<%s> to=<%s>", evp, sender, rcpts[i])
		}
	}
	return &gosmtp.SMTPError{Code: 250, EnhancedCode: gosmtp.EnhancedCode{2, 0, 0}, Message: id.String() + " Message accepted for delivery"}
}

// noSpaceText is in the error of the queue when its file system is full.
const noSpaceText = "free space"

// noStorage is the reply for an error of the queue.
func (s *mailSession) noStorage(err error) error {
	return s.storageError(err != nil && strings.Contains(err.Error(), noSpaceText))
}

func (s *mailSession) storageError(noSpace bool) error {
	if noSpace {
		s.d.ids.full.Store(true)
		return &gosmtp.SMTPError{Code: 452, EnhancedCode: gosmtp.EnhancedCode{4, 3, 1}, Message: "Insufficient system storage"}
	}
	return tempError()
}
