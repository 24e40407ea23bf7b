// Package testdns is a name server for tests. It knows one zone, the root, and answers for
// all names: what is not in it does not exist.
package testdns

import (
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Server answers over UDP and TCP until it is closed.
type Server struct {
	records map[key][]dns.RR
	names   map[string]bool
	servers [2]*dns.Server
}

type key struct {
	name string // in lower case, with the last dot
	kind uint16
}

// Start serves a zone, a master file (RFC 1035 section 5) with absolute names, on an
// address with port.
func Start(addr, zone string) (*Server, error) {
	s := &Server{records: make(map[key][]dns.RR), names: make(map[string]bool)}
	p := dns.NewZoneParser(strings.NewReader(zone), ".", "")
	p.SetDefaultTTL(1)
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		h := rr.Header()
		k := key{strings.ToLower(h.Name), h.Rrtype}
		s.records[k] = append(s.records[k], rr)
		s.names[k.name] = true
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	packet, err := net.ListenPacket("udp", addr)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", packet.LocalAddr().String())
	if err != nil {
		packet.Close()
		return nil, err
	}
	s.servers = [2]*dns.Server{{PacketConn: packet, Handler: s}, {Listener: listener, Handler: s}}
	for _, server := range s.servers {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		failed := make(chan error, 1)
		go func() { failed <- server.ActivateAndServe() }()
		select {
		case <-started:
		case err := <-failed:
			return nil, err
		case <-time.After(10 * time.Second):
			return nil, fmt.Errorf("name server on %s does not start", addr)
		}
	}
	return s, nil
}

// ServeDNS answers one question.
func (s *Server) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	m.Authoritative = true
	if len(q.Question) != 1 {
		m.Rcode = dns.RcodeFormatError
		_ = w.WriteMsg(m)
		return
	}
	name := strings.ToLower(q.Question[0].Name)
	for range 8 { // aliases
		m.Answer = append(m.Answer, s.records[key{name, q.Question[0].Qtype}]...)
		alias := s.records[key{name, dns.TypeCNAME}]
		if len(alias) == 0 || q.Question[0].Qtype == dns.TypeCNAME {
			break
		}
		m.Answer = append(m.Answer, alias[0])
		name = strings.ToLower(alias[0].(*dns.CNAME).Target)
	}
	if len(m.Answer) == 0 && !s.names[name] {
		m.Rcode = dns.RcodeNameError
	}
	_ = w.WriteMsg(m)
}

// Close ends the server.
func (s *Server) Close() error {
	first := s.servers[0].Shutdown()
	if err := s.servers[1].Shutdown(); err != nil {
		return err
	}
	return first
}
