package dns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/godwit-mta/godwit/core/trace"
)

// answering gives what a hostile name server says, whatever it is asked: records in the
// presentation format for each section.
func answering(answer, authority, additional []string) miekg.HandlerFunc {
	return func(w miekg.ResponseWriter, q *miekg.Msg) {
		m := new(miekg.Msg)
		m.SetReply(q)
		for section, list := range map[*[]miekg.RR][]string{&m.Answer: answer, &m.Ns: authority, &m.Extra: additional} {
			for _, text := range list {
				rr, err := miekg.NewRR(text)
				if err != nil {
					panic(err)
				}
				*section = append(*section, rr)
			}
		}
		w.WriteMsg(m)
	}
}

// lines keeps what is logged.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Log(_ trace.Level, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, "\n")
}

// TestPoisonedAnswers: what nobody asked for is neither used nor kept, in no section.
func TestPoisonedAnswers(t *testing.T) {
	z := newZone()
	z.add("bank.example 60 IN A 192.0.2.1", "mx.bank.example 60 IN A 192.0.2.2", "bank.example 60 IN MX 10 mx.bank.example.")
	poison := []string{"bank.example. 99999 IN A 6.6.6.6", "mx.bank.example. 99999 IN A 6.6.6.6", "mx.evil.example. 99999 IN A 6.6.6.7",
		"bank.example. 99999 IN MX 1 mx.evil.example.", "bank.example. 99999 IN CNAME evil.example.", "_25._tcp.mx.bank.example. 99999 IN TLSA 3 1 1 aa"}
	z.special["evil.example MX"] = answering(append([]string{"evil.example. 60 IN MX 10 mx.bank.example.", "evil.example. 60 CH MX 1 chaos.example."}, poison...), poison, poison)
	z.special["evil.example TXT"] = answering(append([]string{"evil.example. 60 IN TXT x"}, poison...), poison, poison)
	z.special["none.example"] = answering(nil, poison, poison)
	z.special["wrong.example"] = answering([]string{"other.example. 60 IN A 6.6.6.6", "wrong.example. 60 IN TXT 6.6.6.6", "wrong.example. 60 CH A 6.6.6.6",
		"wrong.example. 60 IN AAAA 2001:db8::6"}, nil, nil)
	r := testResolver(t, z)
	for range 2 {
		if got, err := r.LookupMX(t.Context(), "evil.example"); err != nil || mxString(got) != "10 mx.bank.example [192.0.2.2];" {
			t.Errorf("%s %v", mxString(got), err)
		}
		if got, err := r.LookupTXT(t.Context(), "evil.example"); err != nil || !slices.Equal(got, []string{"x"}) {
			t.Error(got, err)
		}
		for _, name := range []string{"none.example", "wrong.example"} {
			var e *Error
			if got, err := r.LookupHost(t.Context(), name, IPv4); !errors.As(err, &e) || e.Kind != Temporary || !e.NotFound {
				t.Error(name, got, err)
			}
		}
		if got, err := r.LookupMX(t.Context(), "bank.example"); err != nil || mxString(got) != "10 mx.bank.example [192.0.2.2];" {
			t.Errorf("%s %v", mxString(got), err)
		}
		if got, err := r.LookupHost(t.Context(), "bank.example", AnyFamily); err != nil || len(got) != 1 || got[0].String() != "192.0.2.1" {
			t.Error(got, err)
		}
	}
}

// TestUnusableExchangers: a name that is none is left out, and does not lead to the domain
// itself as if it had no exchangers.
func TestUnusableExchangers(t *testing.T) {
	z := newZone()
	z.add(`odd.example 60 IN MX 10 a\010b\027\032\000.example.`, "odd.example 60 IN A 192.0.2.1",
		`some.example 60 IN MX 5 \"\<script\>.example.`, "some.example 60 IN MX 10 mx.example.", "mx.example 60 IN A 192.0.2.2",
		"null.example 60 IN MX 0 .", "null.example 60 IN MX 0 localhost.", `null.example 60 IN MX 1 \255.example.`, "null.example 60 IN A 192.0.2.1",
		"mixed.example 60 IN MX 0 .", "mixed.example 60 IN MX 10 mx.example.", "mixed.example 60 IN MX 20 localhost.",
		"dash.example 60 IN MX 10 -x.example.", "dash.example 60 IN A 192.0.2.1")
	r := testResolver(t, z)
	for domain, want := range map[string]string{
		"odd.example":   "No MX of the domain has a name of a host",
		"some.example":  "10 mx.example [192.0.2.2];",
		"null.example":  "Domain does not accept mail",
		"mixed.example": "10 mx.example [192.0.2.2];",
		"dash.example":  "No MX of the domain has a name of a host",
	} {
		got, err := r.LookupMX(t.Context(), domain)
		if text := mxString(got); err == nil && text != want || err != nil && err.Error() != want {
			t.Errorf("%s: %s %v", domain, text, err)
		}
	}
}

// TestAliasesInOneAnswer: loops and long chains within one answer end, and aliases of
// exchangers and domains are followed as far as others.
func TestAliasesInOneAnswer(t *testing.T) {
	chain := func(n int, last string) (list []string) {
		for i := range n {
			list = append(list, fmt.Sprintf("c%d.example. 60 IN CNAME c%d.example.", i, i+1))
		}
		return append(list, fmt.Sprintf("c%d.example. 60 IN %s", n, last))
	}
	z := newZone()
	z.special["c0.example A"] = answering(chain(maxCNAME-1, "A 192.0.2.1"), nil, nil)
	z.special["c0.example MX"] = answering(chain(500, "MX 1 mx.example."), nil, nil)
	for i := 1; i < 600; i++ {
		z.special[fmt.Sprintf("c%d.example MX", i)] = z.special["c0.example MX"]
	}
	loop := answering([]string{"a.example. 60 IN CNAME b.example.", "b.example. 60 IN CNAME a.example.", "b.example. 60 IN CNAME b.example."}, nil, nil)
	z.special["a.example"], z.special["b.example"] = loop, loop
	r := testResolver(t, z)
	if got, err := r.LookupHost(t.Context(), "c0.example", IPv4); err != nil || got[0].String() != "192.0.2.1" {
		t.Error(got, err)
	}
	for _, name := range []string{"c0.example", "a.example"} {
		var e *Error
		if got, err := r.LookupMX(t.Context(), name); !errors.As(err, &e) || e.Kind != Temporary {
			t.Error(name, got, err)
		}
	}
	if n := z.count("a.example MX") + z.count("b.example MX"); n > maxCNAME {
		t.Errorf("asked %d times", n)
	}
}

// TestTruncated: a reply that was cut is asked for again over TCP, and counts for nothing
// when that gives no better one.
func TestTruncated(t *testing.T) {
	cut := func(tcp miekg.HandlerFunc) miekg.HandlerFunc {
		return func(w miekg.ResponseWriter, q *miekg.Msg) {
			if _, udp := w.RemoteAddr().(*net.UDPAddr); !udp {
				tcp(w, q)
				return
			}
			m := new(miekg.Msg)
			m.SetReply(q)
			rr, _ := miekg.NewRR(q.Question[0].Name + " 60 IN A 6.6.6.6")
			m.Answer, m.Truncated = append(m.Answer, rr), true
			w.WriteMsg(m)
		}
	}
	reply := func(change func(*miekg.Msg)) miekg.HandlerFunc {
		return func(w miekg.ResponseWriter, q *miekg.Msg) {
			m := new(miekg.Msg)
			m.SetReply(q)
			rr, _ := miekg.NewRR(q.Question[0].Name + " 60 IN A 192.0.2.1")
			m.Answer = append(m.Answer, rr)
			change(m)
			w.WriteMsg(m)
		}
	}
	tests := map[string]struct {
		tcp  miekg.HandlerFunc
		good bool
	}{
		"good":     {reply(func(*miekg.Msg) {}), true},
		"id":       {reply(func(m *miekg.Msg) { m.Id++ }), false},
		"question": {reply(func(m *miekg.Msg) { m.Question[0].Name = "bank.example." }), false},
		"type":     {reply(func(m *miekg.Msg) { m.Question[0].Qtype = miekg.TypeTXT }), false},
		"none":     {reply(func(m *miekg.Msg) { m.Question = nil }), false},
		"two":      {reply(func(m *miekg.Msg) { m.Question = append(m.Question, m.Question[0]) }), false},
		"query":    {reply(func(m *miekg.Msg) { m.Response = false }), false},
		"opcode":   {reply(func(m *miekg.Msg) { m.Opcode = miekg.OpcodeUpdate }), false},
		"cut":      {reply(func(m *miekg.Msg) { m.Truncated = true }), false},
		"closed":   {func(w miekg.ResponseWriter, _ *miekg.Msg) { w.Close() }, false},
		"junk":     {func(w miekg.ResponseWriter, _ *miekg.Msg) { w.Write([]byte("junk")); w.Close() }, false},
		"huge": {func(w miekg.ResponseWriter, q *miekg.Msg) {
			w.Write(append([]byte{byte(q.Id >> 8), byte(q.Id), 0x80, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, make([]byte, 65000)...))
		}, false},
		"servfail": {rcode(miekg.RcodeServerFailure), false},
	}
	z := newZone()
	for name, tt := range tests {
		z.special[name+".example"] = cut(tt.tcp)
	}
	r := testResolver(t, z)
	for name, tt := range tests {
		got, err := r.LookupHost(t.Context(), name+".example", IPv4)
		var e *Error
		switch {
		case tt.good:
			if err != nil || got[0].String() != "192.0.2.1" {
				t.Error(name, got, err)
			}
		case !errors.As(err, &e) || e.Kind != Temporary || e.NotFound:
			t.Error(name, got, err)
		}
	}
}

// TestTimesToLive: none, the largest, and those with the highest bit set.
func TestTimesToLive(t *testing.T) {
	for ttl, want := range map[uint32]time.Duration{0: 0, 1: time.Second, 3600: time.Hour, 1<<31 - 1: maxPositive, 1 << 31: 0, 1<<32 - 1: 0} {
		m := new(miekg.Msg)
		m.SetQuestion("a.example.", miekg.TypeA)
		rr, _ := miekg.NewRR(fmt.Sprintf("a.example. %d IN A 192.0.2.1", ttl))
		m.Answer = []miekg.RR{rr}
		if a := interpret(key{"a.example", miekg.TypeA}, m); a.ttl != want || a.err != nil {
			t.Errorf("%d: kept for %s, %v", ttl, a.ttl, a.err)
		}
		m.Answer = nil
		soa, _ := miekg.NewRR(fmt.Sprintf("example. %d IN SOA ns.example. root.example. 1 2 3 4 %d", ttl, ttl))
		m.Ns, m.Rcode = []miekg.RR{soa}, miekg.RcodeNameError
		if a := interpret(key{"a.example", miekg.TypeA}, m); a.ttl != min(want, maxNegative) || a.err == nil {
			t.Errorf("%d: its absence kept for %s, %v", ttl, a.ttl, a.err)
		}
	}
}

// TestLargeAnswers: what does not have to be kept is not, and what is given is bounded.
func TestLargeAnswers(t *testing.T) {
	z := newZone()
	for i := range 900 {
		z.add(fmt.Sprintf("large.example 3600 IN TXT %s%d", strings.Repeat("x", 50), i), fmt.Sprintf("4.3.2.10.in-addr.arpa 3600 IN PTR p%d.example.", i),
			fmt.Sprintf("hosts.example 3600 IN A 10.0.%d.%d", i/256, i%256), fmt.Sprintf("hosts.example 3600 IN AAAA 2001:db8::%x", i),
			fmt.Sprintf("many.example 3600 IN MX %d mx.example.", i))
	}
	z.add("mx.example 60 IN A 192.0.2.1")
	r := testResolver(t, z)
	if got, err := r.LookupTXT(t.Context(), "large.example"); err != nil || len(got) != maxTXT {
		t.Error(len(got), err)
	}
	if got, err := r.LookupHost(t.Context(), "hosts.example", AnyFamily); err != nil || len(got) != maxAddrs {
		t.Error(len(got), err)
	}
	if got, err := r.LookupMX(t.Context(), "many.example"); err != nil || len(got) != maxMX {
		t.Error(len(got), err)
	}
	if _, err := r.LookupPTR(t.Context(), netip.MustParseAddr("10.2.3.4")); err == nil {
		asked := 0
		for i := range 900 {
			asked += z.count(fmt.Sprintf("p%d.example A", i))
		}
		if asked > maxPTR {
			t.Errorf("%d names of an address were asked for", asked)
		}
	}
	r.cache.mu.Lock()
	defer r.cache.mu.Unlock()
	for k, e := range r.cache.kept {
		if len(e.rrs) > 300 {
			t.Errorf("%d records of %v are kept", len(e.rrs), k)
		}
	}
}

// TestOddNamesInTheLog: names from the DNS are not said as they are.
func TestOddNamesInTheLog(t *testing.T) {
	log := &lines{}
	z := newZone()
	z.add(`alias.example 60 IN CNAME a\010mta\032delivery\027.example.`)
	z.special["alias.example A"] = answering([]string{`alias.example. 60 IN CNAME a\010mta\032delivery\027.example.`}, nil, nil)
	z.special["fails.example"] = rcode(miekg.RcodeServerFailure)
	r := New(Options{Servers: []netip.AddrPort{serve(t, z)}, Timeout: 2 * time.Second, Attempts: 1, Log: trace.New(log)})
	r.log.SetVerbose(true)
	for _, name := range []string{"alias.example", "fails.example", "a\nb.example", "x\x00.example", strings.Repeat("a.", 500) + "example"} {
		_, err := r.LookupHost(t.Context(), name, IPv4)
		if err == nil || strings.ContainsFunc(err.Error(), func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if text := log.text(); !strings.Contains(text, "fails.example A from") || strings.Contains(text, "delivery") {
		t.Error(text)
	}
}
