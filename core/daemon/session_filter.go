package daemon

import (
	"crypto/tls"
	"errors"
	"strconv"
	"strings"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/filter"
	"github.com/godwit-mta/godwit/core/smtp"
)

// filteredBackend stands behind the sessions of a listener that has filters.
type filteredBackend struct {
	backend
	chain *filter.Chain
}

// filteredSession is a session that filters see and decide about. It is a type of its own so that
// other sessions do nothing for it.
type filteredSession struct {
	*mailSession
	*filter.Link
	known  filter.Session
	junk   bool               // what this client sends is marked
	asked  string             // what filters were asked about last, as the client said it
	tx     envelope.MessageID // what was reported as begun
	later  []reported         // follows the reply
	banner bool               // it was sent
}

// reported is an event that is reported after the reply.
type reported struct {
	event  filter.Event
	params []string
}

// sessionHooks are what filters have to hear of from inside a session.
type sessionHooks struct {
	authenticated func(user, result string)
	kept          func(id envelope.MessageID, size int64, envelopes []envelope.ID)
}

// NewSession waits for the name of the client, tells filters of it and lets them decide.
func (b *filteredBackend) NewSession(c *smtp.Conn) (gosmtp.Session, error) {
	under, err := b.backend.NewSession(c)
	if err != nil {
		return under, err
	}
	s := &filteredSession{mailSession: under.(*mailSession)}
	s.hooks = &sessionHooks{s.authTold, s.keptTold}
	s.learn()
	s.Link = b.chain.Open(&s.known, c.Trace())
	host, ip := s.known.Host, strings.Trim(c.AddrText(), "[]")
	if host == "" {
		host = "<unknown>"
	}
	src, dest := s.ends()
	s.Report(filter.LinkConnect, host, string(s.known.FCrDNS), src, dest)
	if s.known.Source.Addr().Is6() {
		ip = "[" + ip + "]"
	}
	if _, err := s.decide(filter.Connect, host, ip); err != nil {
		return s, err
	}
	if state := c.TLS(); state != nil {
		s.known.TLS = true
		s.Report(filter.LinkTLS, smtp.TLSText(state))
	}
	return s, nil
}

// learn takes what is known of a client that has just connected.
func (s *filteredSession) learn() {
	k := &s.known
	k.ID, k.Local = s.c.Trace().ID, s.c.Local()
	if k.Local {
		k.Host, k.FCrDNS, k.Auth = s.c.Hostname(), filter.Pass, true
		return
	}
	host := s.named()
	k.Host, k.FCrDNS = host.Name, filter.Fail
	if host.Confirmed {
		k.FCrDNS = filter.Pass
	} else if host.Failed {
		k.FCrDNS = filter.Failing
	}
	k.Source = unmapped(s.c.RemoteAddr())
}

// ends gives both ends of the connection as filters are told of them.
func (s *filteredSession) ends() (src, dest string) {
	if s.known.Local {
		path := "unix:" + s.s.ControlSocket
		return path, path
	}
	return s.known.Source.String(), unmapped(s.c.LocalAddr()).String()
}

// decide asks the filters and gives what the command is to be about. The error is their reply.
func (s *filteredSession) decide(p filter.Phase, arg string, more ...string) (string, error) {
	out := s.Ask(s.c.Context(), p, arg, more...)
	switch {
	case out.Junk && p == filter.Commit:
		s.c.Trace().Warnf("%s smtp: message %s: filters cannot mark it any more", s.c.ID(), s.id)
	case out.Junk && p >= filter.MailFrom && p <= filter.Data:
		s.spam = true
	case out.Junk:
		s.junk = true
	}
	if out.Reply == nil {
		return out.Arg, nil
	}
	if out.Close {
		s.c.Hang("filter")
	}
	return "", out.Reply
}

// Filter is asked before the methods of a command.
func (s *filteredSession) Filter(verb, arg string) (string, error) {
	s.asked = arg
	switch verb {
	case "HELO":
		return s.decide(filter.Helo, arg)
	case "EHLO":
		return s.decide(filter.Ehlo, arg)
	case "AUTH":
		return s.decide(filter.Auth, arg)
	case "MAIL":
		s.spam = false
		s.known.Sender, s.known.Mail = arg, true
		to, err := s.decide(filter.MailFrom, arg)
		s.known.Mail = err == nil
		return to, err
	case "RCPT":
		return s.decide(filter.RcptTo, arg)
	}
	return arg, nil
}

// Command asks about those that have no method of their own.
func (s *filteredSession) Command(verb, _ string) error {
	var err error
	switch verb {
	case "STARTTLS":
		_, err = s.decide(filter.StartTLS, "")
	case "RSET":
		_, err = s.decide(filter.Rset, "")
	case "NOOP":
		_, err = s.decide(filter.Noop, "")
	case "QUIT":
		_, err = s.decide(filter.Quit, "")
	case "HELP":
		_, err = s.decide(filter.Help, "")
	}
	return err
}

// Helo reports who the client says it is.
func (s *filteredSession) Helo(name string, esmtp bool) error {
	method := "HELO"
	if esmtp {
		method = "EHLO"
	}
	s.known.Helo = name
	s.Report(filter.LinkIdentify, method, name)
	return nil
}

// TLSStarted reports the encryption.
func (s *filteredSession) TLSStarted(state tls.ConnectionState) error {
	s.known.TLS, s.known.Helo = true, ""
	s.Report(filter.LinkTLS, smtp.TLSText(&state))
	return s.mailSession.TLSStarted(state)
}

func (s *filteredSession) authTold(user, result string) {
	words := map[string]string{"ok": "pass", "permfail": "fail", "tempfail": "error"}
	if result == "ok" {
		s.known.User, s.known.Auth = user, true
	}
	s.Report(filter.LinkAuth, words[result], user)
}

// Mail reports the message that begins.
func (s *filteredSession) Mail(from string, opts *gosmtp.MailOptions) error {
	err := s.mailSession.Mail(from, opts)
	if err != nil {
		s.known.Mail = false
		return err
	}
	s.known.Sender, s.tx = from, s.id
	s.after(filter.TxBegin, s.tx.String())
	s.after(filter.TxMail, s.tx.String(), "ok", s.asked)
	return nil
}

// Rcpt reports what became of the recipient.
func (s *filteredSession) Rcpt(to string, opts *gosmtp.RcptOptions) error {
	err := s.mailSession.Rcpt(to, opts)
	s.after(filter.TxRcpt, s.tx.String(), result(err), s.asked)
	return err
}

// DataStart asks before the message is taken.
func (s *filteredSession) DataStart() error {
	_, err := s.decide(filter.Data, "")
	s.after(filter.TxData, s.tx.String(), result(err))
	return err
}

// result is the word for the outcome of a command.
func result(err error) string {
	var said *gosmtp.SMTPError
	switch {
	case err == nil, errors.As(err, &said) && said.Code < 300:
		return "ok"
	case said != nil && said.Code >= 500:
		return "permfail"
	}
	return "tempfail"
}

func (s *filteredSession) keptTold(id envelope.MessageID, size int64, envelopes []envelope.ID) {
	for _, e := range envelopes {
		s.Report(filter.TxEnvelope, id.String(), e.String())
	}
	s.after(filter.TxCommit, id.String(), strconv.FormatInt(size, 10))
	s.after(filter.TxReset, id.String())
	s.tx = 0
}

// Reset reports that a message did not come to be.
func (s *filteredSession) Reset() {
	if s.tx != 0 {
		s.after(filter.TxRollback, s.tx.String())
		s.after(filter.TxReset, s.tx.String())
	}
	s.tx, s.spam = 0, false
	s.known.Sender, s.known.Mail = "", false
	s.mailSession.Reset()
}

// after reports something when the reply to the command was made.
func (s *filteredSession) after(e filter.Event, params ...string) {
	s.later = append(s.later, reported{e, params})
}

// reportLater reports what was kept for after the reply. Where there was none, nobody was told that the
// message is refused.
func (s *filteredSession) reportLater(replied bool) {
	for _, r := range s.later {
		if replied || r.event != filter.TxData {
			s.Report(r.event, r.params...)
		}
	}
	s.later = s.later[:0]
}

// maskText stands for what is hidden in lines that filters see.
const maskText = "********"

// ClientLine reports a command.
func (s *filteredSession) ClientLine(line string) {
	if strings.HasSuffix(line, "(...)") {
		line = strings.TrimSuffix(line, "(...)") + maskText
	}
	s.Report(filter.ProtocolClient, line)
}

// ServerLine reports a reply, and then what came of the command.
func (s *filteredSession) ServerLine(line string) {
	s.Report(filter.ProtocolServer, line)
	if !s.banner && strings.HasPrefix(line, "220 ") {
		s.banner = true
		s.Report(filter.LinkGreeting, s.c.Hostname())
	}
	if len(line) < 4 || line[3] == ' ' {
		s.reportLater(true)
	}
}

// End reports a client that was silent for too long.
func (s *filteredSession) End(reason string) {
	if reason == "timeout" {
		s.Report(filter.Timeout)
	}
}

// Logout reports the end.
func (s *filteredSession) Logout() error {
	s.Reset()
	s.reportLater(false)
	s.Link.Close()
	return s.mailSession.Logout()
}
