package dns

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
)

// recursive is a validating name server: it follows aliases, and says that an answer was
// validated when all names in it are below .signed. Names below .bogus fail.
type recursive struct {
	*zone
	old   atomic.Bool // does not validate
	asked chan *miekg.Msg
}

func (r *recursive) ServeDNS(w miekg.ResponseWriter, q *miekg.Msg) {
	if r.asked != nil {
		r.asked <- q
	}
	m := new(miekg.Msg)
	m.SetReply(q)
	m.AuthenticatedData = q.AuthenticatedData && !r.old.Load()
	name := strings.ToLower(strings.TrimSuffix(q.Question[0].Name, "."))
	for range 9 {
		if strings.HasSuffix(name, ".bogus") && !q.CheckingDisabled {
			m.Answer, m.Rcode, m.AuthenticatedData = nil, miekg.RcodeServerFailure, false
			break
		}
		m.AuthenticatedData = m.AuthenticatedData && strings.HasSuffix(name, ".signed")
		list := r.records[name+" "+miekg.TypeToString[q.Question[0].Qtype]]
		alias := r.records[name+" CNAME"]
		if len(list) == 0 {
			list = alias
		}
		for _, text := range list {
			rr, err := miekg.NewRR(text)
			if err != nil {
				panic(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		if len(list) == 0 && !r.exists(name) {
			m.Rcode = miekg.RcodeNameError
		}
		if len(alias) == 0 || q.Question[0].Qtype == miekg.TypeCNAME {
			break
		}
		f := strings.Fields(alias[0])
		name = strings.TrimSuffix(f[len(f)-1], ".")
	}
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		m.Truncate(udpSize)
	}
	w.WriteMsg(m)
}

func trusting(t *testing.T, r *recursive) *Resolver {
	res := New(Options{Servers: []netip.AddrPort{serve(t, r)}, Timeout: 2 * time.Second, Attempts: 1})
	res.Trust(Trust{On: true})
	return res
}

const ee = " 60 IN TLSA 3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

func TestLookupTLSA(t *testing.T) {
	r := &recursive{zone: newZone()}
	r.add("mx.signed 60 IN A 192.0.2.1", "_25._tcp.mx.signed"+ee,
		"two.signed 60 IN A 192.0.2.1", "_25._tcp.two.signed"+ee, "_25._tcp.two.signed 60 IN TLSA 2 0 2 ff",
		"six.signed 60 IN AAAA 2001:db8::1", "_25._tcp.six.signed"+ee,
		"none.signed 60 IN A 192.0.2.1", "none.signed 60 IN MX 0 none.signed.",
		"mx.unsigned 60 IN A 192.0.2.1", "_25._tcp.mx.unsigned"+ee,
		"bogustlsa.signed 60 IN A 192.0.2.1", "_25._tcp.bogustlsa.signed 60 IN CNAME x.bogus.",
		"mx.bogus 60 IN A 192.0.2.1",
		// Aliases.
		"to.signed 60 IN CNAME mx.signed.", "_25._tcp.to.signed 60 IN TLSA 3 1 1 aa",
		"back.signed 60 IN CNAME none.signed.", "_25._tcp.back.signed"+ee,
		"out.signed 60 IN CNAME mx.unsigned.", "_25._tcp.out.signed"+ee,
		"bare.signed 60 IN CNAME mx.unsigned.",
		"in.unsigned 60 IN CNAME mx.signed.", "_25._tcp.in.unsigned"+ee,
		// An alias of the records themselves.
		"shared.signed 60 IN A 192.0.2.1", "_25._tcp.shared.signed 60 IN CNAME _25._tcp.mx.signed.",
		"leaves.signed 60 IN A 192.0.2.1", "_25._tcp.leaves.signed 60 IN CNAME _25._tcp.mx.unsigned.",
		"loop.signed 60 IN A 192.0.2.1", "_25._tcp.loop.signed 60 IN CNAME _25._tcp.loop.signed.",
		"odd.signed 60 IN A 192.0.2.1", "_587._tcp.odd.signed"+ee)
	for i := range 200 {
		r.add(fmt.Sprintf("_25._tcp.many.signed 60 IN TLSA 3 1 1 %02x%0126x", i, 1))
	}
	r.add("many.signed 60 IN A 192.0.2.1")
	res := trusting(t, r)
	tests := []struct {
		host    string
		records int
		base    string
		owner   string
		reason  string
		fails   string
	}{
		{host: "mx.signed", records: 1, base: "mx.signed", owner: "mx.signed"},
		{host: "MX.signed.", records: 1, base: "mx.signed", owner: "mx.signed"},
		{host: "two.signed", records: 2, base: "two.signed", owner: "two.signed"},
		{host: "six.signed", records: 1, base: "six.signed", owner: "six.signed"},
		{host: "localhost", reason: "localhost has no TLSA records"},
		{host: "none.signed", owner: "none.signed", reason: "no TLSA records"},
		{host: "gone.signed", reason: "address of gone.signed is not validated"},
		{host: "mx.unsigned", reason: "address of mx.unsigned is not validated"},
		{host: "bogustlsa.signed", fails: "SERVFAIL"},
		{host: "mx.bogus", fails: "SERVFAIL"},
		{host: "to.signed", records: 1, base: "mx.signed", owner: "mx.signed"},
		{host: "back.signed", records: 1, base: "back.signed", owner: "none.signed"},
		{host: "out.signed", records: 1, base: "out.signed"},
		{host: "bare.signed", reason: "no TLSA records"},
		{host: "in.unsigned", reason: "address of in.unsigned is not validated"},
		{host: "shared.signed", records: 1, base: "shared.signed", owner: "shared.signed"},
		{host: "leaves.signed", owner: "leaves.signed", reason: "TLSA records of leaves.signed are not validated"},
		{host: "loop.signed", owner: "loop.signed", reason: "no TLSA records"},
		{host: "odd.signed", owner: "odd.signed", reason: "no TLSA records"},
		{host: "many.signed", records: maxTLSA, base: "many.signed", owner: "many.signed"},
	}
	for _, tt := range tests {
		got, err := res.LookupTLSA(t.Context(), tt.host, 25)
		if tt.fails != "" {
			if err == nil || !err.(*Error).Temporary() || !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("%s: %+v, %v; want %s", tt.host, got, err, tt.fails)
			}
			continue
		}
		if err != nil || len(got.Records) != tt.records || got.Base != tt.base || got.Owner != tt.owner ||
			!strings.Contains(got.Reason, tt.reason) || (got.Reason == "") != (tt.records > 0) {
			t.Errorf("%s: %d records, base %q, owner %q, %q, %v", tt.host, len(got.Records), got.Base, got.Owner, got.Reason, err)
		}
	}
}

// TestTrust: without it nothing is validated, whatever the servers say.
func TestTrust(t *testing.T) {
	r := &recursive{zone: newZone()}
	r.add("mx.signed 60 IN A 192.0.2.1", "_25._tcp.mx.signed"+ee, "signed.signed 60 IN MX 10 mx.signed.", "bare.signed 60 IN A 192.0.2.1",
		"un.example 60 IN MX 10 mx.signed.")
	res := trusting(t, r)
	for _, step := range []struct {
		trust Trust
		old   bool
		want  bool
	}{
		{Trust{On: true}, false, true},
		{Trust{}, false, false},
		{Trust{On: true, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.53")}}, false, false},
		{Trust{On: true, Addrs: []netip.Addr{netip.MustParseAddr("::ffff:127.0.0.1")}}, false, true},
		{Trust{On: true}, true, false},
		{Trust{On: false, Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}, false, false},
		{Trust{On: true}, false, true},
	} {
		r.old.Store(step.old)
		res.Trust(step.trust)
		tlsa, err := res.LookupTLSA(t.Context(), "mx.signed", 25)
		if err != nil || (len(tlsa.Records) > 0) != step.want {
			t.Errorf("%+v: %+v, %v", step, tlsa, err)
		}
		for domain, secure := range map[string]bool{"signed.signed": step.want, "bare.signed": step.want, "un.example": false} {
			mx, err := res.LookupMX(t.Context(), domain)
			if err != nil || len(mx) != 1 || mx[0].Secure != secure {
				t.Errorf("%+v: %s: %+v, %v", step, domain, mx, err)
			}
		}
	}
}

// TestOnlyTrustedServers: while there is one that is trusted, no other is asked, even if the
// trusted one fails.
func TestOnlyTrustedServers(t *testing.T) {
	r := &recursive{zone: newZone(), asked: make(chan *miekg.Msg, 100)}
	r.add("x.bogus 60 IN A 192.0.2.1")
	addr := serve(t, r)
	res := New(Options{Servers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53"), addr}, Timeout: 2 * time.Second, Attempts: 1})
	res.Trust(Trust{On: true})
	if _, err := res.LookupHost(t.Context(), "x.bogus", IPv4); err == nil || !strings.Contains(err.Error(), "SERVFAIL") {
		t.Error(err)
	}
	q := <-r.asked
	if !q.AuthenticatedData || len(r.asked) != 0 || q.IsEdns0() == nil || q.IsEdns0().Do() {
		t.Errorf("%v, and %d more", q, len(r.asked))
	}
	res.Trust(Trust{})
	servers, trusted := res.servers(res.conf.load(nil))
	if len(servers) != 2 || trusted {
		t.Error(servers, trusted)
	}
}

// FuzzTLSA feeds records of a hostile server.
func FuzzTLSA(f *testing.F) {
	m := new(miekg.Msg)
	m.SetQuestion("_25._tcp.mx.example.", miekg.TypeTLSA)
	rr, _ := miekg.NewRR("_25._tcp.mx.example." + ee)
	m.Answer = append(m.Answer, rr)
	wire, _ := m.Pack()
	f.Add(wire)
	f.Fuzz(func(t *testing.T, wire []byte) {
		m := new(miekg.Msg)
		if m.Unpack(wire) != nil {
			return
		}
		list := tlsaRecords(interpret(key{"_25._tcp.mx.example", miekg.TypeTLSA}, m).rrs)
		if len(list) > maxTLSA {
			t.Error("over a bound")
		}
		for _, r := range list {
			if len(r.Data) > maxTLSAData {
				t.Error("over a bound")
			}
		}
	})
}
