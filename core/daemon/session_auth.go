package daemon

import (
	"context"
	"crypto/x509"
	"fmt"
	"strings"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/smtp"
)

// AuthMechanisms is what the listener offers.
func (s *mailSession) AuthMechanisms() []string {
	if !s.l.Auth && !s.l.AuthOptional {
		return nil
	}
	list := smtp.Mechanisms()
	if s.l.Scram {
		list = append(list, smtp.Scram)
	}
	if s.clientCert() != nil {
		list = append(list, smtp.External)
	}
	return list
}

// clientCert gives the certificate that EXTERNAL goes by, or nil. Authorities of the system
// vouch for anybody under names of all kinds, and without a table nobody says who is a user
// here; so both have to be the listener's own.
func (s *mailSession) clientCert() *x509.Certificate {
	if !s.l.TLSVerify || s.l.CA == "" || s.l.AuthTable == "" {
		return nil
	}
	return s.c.ClientCert()
}

// Auth begins an exchange.
func (s *mailSession) Auth(mechanism string) (sasl.Server, error) {
	switch mechanism {
	case smtp.Scram:
		return smtp.NewScram(&scramSession{s: s}), nil
	case smtp.External:
		return smtp.NewExternal(s.clientCert(), s.authorize), nil
	}
	return smtp.NewMechanism(mechanism, s.authenticate), nil
}

// authenticate asks lookup, which alone sees credentials, or the parent when the users are
// those of the system. The name of the user is kept only when the password was right.
func (s *mailSession) authenticate(user, password string) error {
	var reply foundReply
	kind, peer := kindAuth, s.d.m.peers[Lookup]
	if s.l.AuthTable == "" {
		kind, peer = kindPassword, s.d.m.parent
	}
	err := s.askPeer(peer, kind, &authRequest{Generation: s.s.Generation, Table: s.l.AuthTable, User: user, Password: password,
		Source: s.c.RemoteAddr().Addr().Unmap()}, &reply)
	return s.authenticated(user, reply.Found, err)
}

// authorize lets the holder of a certificate in who is one of the table's users.
func (s *mailSession) authorize(user string) error {
	var reply foundReply
	err := s.ask(kindUser, &authRequest{Generation: s.s.Generation, Table: s.l.AuthTable, User: user}, &reply)
	return s.authenticated(user, reply.Found, err)
}

// authenticated makes the reply of what is known of a user, and keeps who he is.
func (s *mailSession) authenticated(user string, found bool, err error) error {
	result := "ok"
	switch {
	case err != nil:
		result, err = "tempfail", &gosmtp.SMTPError{Code: 454, EnhancedCode: gosmtp.EnhancedCode{4, 7, 0}, Message: "Temporary authentication failure"}
	case found:
		s.user = user
	default:
		result, err = "permfail", smtp.RefusedAuth()
	}
	if s.hooks != nil {
		s.hooks.authenticated(user, result)
	}
	s.c.Trace().Infof("smtp authentication user=%s result=%s", visible(user), result)
	return err
}

// ask puts a question about a table to lookup. Lookup tells what is wrong with a table.
func (s *mailSession) ask(kind ipc.Kind, req any, reply *foundReply) error {
	return s.askPeer(s.d.m.peers[Lookup], kind, req, reply)
}

func (s *mailSession) askPeer(peer *ipc.Conn, kind ipc.Kind, req any, reply *foundReply) error {
	ctx, cancel := context.WithTimeout(context.Background(), lookupWait)
	defer cancel()
	err := peer.Call(ctx, kind, req, reply)
	if err != nil {
		s.c.Trace().Warnf("%s smtp: %v", s.c.ID(), err)
	} else if reply.Failed {
		err = tempError()
	}
	return err
}

// checkSender refuses an address that the user may not send as.
func (s *mailSession) checkSender(from string) error {
	if s.l.Senders == "" || s.user == "" {
		return nil
	}
	var reply foundReply
	err := s.ask(kindSender, &senderRequest{Generation: s.s.Generation, Table: s.l.Senders, User: s.user, Sender: s.complete(from)}, &reply)
	switch {
	case err != nil:
		return tempError()
	case !reply.Found:
		return &gosmtp.SMTPError{Code: 530, EnhancedCode: gosmtp.EnhancedCode{5, 7, 1}, Message: "Sender rejected"}
	}
	return nil
}

// complete gives an address with our name where it has no domain.
func (s *mailSession) complete(path string) string {
	a, err := address.ParsePath(path)
	if err != nil || a.Null() || a.Domain != "" {
		return path
	}
	a.Domain = s.c.Hostname()
	return a.String()
}

// nameListener takes the name that a table has for the address at which the client came.
// Where there is none, the listener's own stays.
func (s *mailSession) nameListener() {
	local := s.c.LocalAddr().Addr()
	if s.l.Hostnames == "" || !local.IsValid() {
		return
	}
	var reply foundReply
	err := s.ask(kindAddrName, &addrNameRequest{Generation: s.s.Generation, Table: s.l.Hostnames, Addr: local.Unmap()}, &reply)
	if err == nil && reply.Found && validName(reply.Value) {
		s.c.SetHostname(reply.Value)
	}
}

// validName keeps what tables say out of the protocol when it is no name.
func validName(name string) bool {
	_, literal := address.Literal(name)
	return literal || address.ValidHost(name)
}

// visible writes the name of a user for the log as strnvis(3) with VIS_WHITE does: it
// stays one word.
func visible(user string) string {
	var b strings.Builder
	for i := 0; i < len(user); i++ {
		if c := user[i]; c <= ' ' || c == '\\' || c >= 0x7f {
			fmt.Fprintf(&b, "\\%03o", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
