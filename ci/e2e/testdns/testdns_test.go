package testdns

import (
	"testing"

	"github.com/miekg/dns"
)

const zone = `
example.test. MX 10 mx.example.test.
mx.example.test. A 127.0.0.2
alias.test. CNAME mx.example.test.
`

func TestServer(t *testing.T) {
	s, err := Start("127.0.0.1:0", zone)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	addr := s.servers[0].PacketConn.LocalAddr().String()
	for _, tt := range []struct {
		name  string
		kind  uint16
		rcode int
		want  int
	}{
		{"example.test.", dns.TypeMX, dns.RcodeSuccess, 1},
		{"EXAMPLE.test.", dns.TypeMX, dns.RcodeSuccess, 1},
		{"example.test.", dns.TypeA, dns.RcodeSuccess, 0},
		{"alias.test.", dns.TypeA, dns.RcodeSuccess, 2},
		{"other.test.", dns.TypeA, dns.RcodeNameError, 0},
	} {
		for _, network := range []string{"udp", "tcp"} {
			c := &dns.Client{Net: network}
			m, _, err := c.Exchange(new(dns.Msg).SetQuestion(tt.name, tt.kind), addr)
			if err != nil {
				t.Fatal(err)
			}
			if m.Rcode != tt.rcode || len(m.Answer) != tt.want {
				t.Errorf("%s %d over %s: code %d, %d answers", tt.name, tt.kind, network, m.Rcode, len(m.Answer))
			}
		}
	}
}

func TestZoneError(t *testing.T) {
	if _, err := Start("127.0.0.1:0", "example.test. MX ten\n"); err == nil {
		t.Error("a broken zone was taken")
	}
}
