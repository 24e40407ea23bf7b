package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
)

// zone answers questions: the records of "name TYPE", or what a function does.
type zone struct {
	mu      sync.Mutex
	records map[string][]string
	special map[string]miekg.HandlerFunc
	asked   map[string]int
}

func (z *zone) ServeDNS(w miekg.ResponseWriter, q *miekg.Msg) {
	name := strings.TrimSuffix(q.Question[0].Name, ".")
	k := name + " " + miekg.TypeToString[q.Question[0].Qtype]
	z.mu.Lock()
	z.asked[k]++
	z.mu.Unlock()
	for _, n := range []string{k, name} {
		if f := z.special[n]; f != nil {
			f(w, q)
			return
		}
	}
	m := new(miekg.Msg)
	m.SetReply(q)
	m.Compress = true
	for _, text := range z.records[k] {
		rr, err := miekg.NewRR(text)
		if err != nil {
			panic(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	if len(m.Answer) == 0 {
		soa, _ := miekg.NewRR("example. 300 IN SOA ns.example. root.example. 1 2 3 4 300")
		m.Ns = append(m.Ns, soa)
		if !z.exists(name) {
			m.Rcode = miekg.RcodeNameError
		}
	}
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		m.Truncate(udpSize)
	}
	w.WriteMsg(m)
}

func (z *zone) exists(name string) bool {
	for k := range z.records {
		if strings.HasPrefix(k, name+" ") {
			return true
		}
	}
	return false
}

func (z *zone) count(k string) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.asked[k]
}

func rcode(code int) miekg.HandlerFunc {
	return func(w miekg.ResponseWriter, q *miekg.Msg) {
		m := new(miekg.Msg)
		m.SetRcode(q, code)
		w.WriteMsg(m)
	}
}

// serve starts a server for UDP and TCP on one port.
func serve(t testing.TB, h miekg.Handler) netip.AddrPort {
	t.Helper()
	var l net.Listener
	var p net.PacketConn
	for range 20 { // the port that TCP gets may be taken for UDP
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if p, err = net.ListenPacket("udp", l.Addr().String()); err == nil {
			break
		}
		l.Close()
	}
	for _, s := range []*miekg.Server{{Listener: l, Handler: h}, {PacketConn: p, Handler: h}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe()
		<-started
		t.Cleanup(func() { s.Shutdown() })
	}
	return netip.MustParseAddrPort(l.Addr().String())
}

func newZone() *zone {
	return &zone{records: map[string][]string{}, special: map[string]miekg.HandlerFunc{}, asked: map[string]int{}}
}

func testResolver(t testing.TB, z *zone) *Resolver {
	return New(Options{Servers: []netip.AddrPort{serve(t, z)}, Timeout: 2 * time.Second, Attempts: 1})
}

func (z *zone) add(records ...string) {
	for _, text := range records {
		f := strings.Fields(text)
		k := f[0] + " " + f[3]
		f[0] += "."
		z.records[k] = append(z.records[k], strings.Join(f, " "))
	}
}

func mxString(list []MX) string {
	var b strings.Builder
	for _, m := range list {
		fmt.Fprintf(&b, "%d %s %v;", m.Preference, m.Host, m.Addrs)
	}
	return b.String()
}

func TestLookupMX(t *testing.T) {
	z := newZone()
	z.add("a.example 60 IN MX 20 mx2.a.example.", "a.example 60 IN MX 10 mx1.a.example.",
		"mx1.a.example 60 IN A 192.0.2.1", "mx1.a.example 60 IN AAAA 2001:db8::1", "mx2.a.example 60 IN A 192.0.2.2",
		"null.example 60 IN MX 0 .", "local.example 60 IN MX 10 localhost.",
		"half.example 60 IN MX 0 .", "half.example 60 IN MX 10 mx1.a.example.",
		"implicit.example 60 IN A 192.0.2.3",
		"dangling.example 60 IN MX 10 nothing.example.",
		"part.example 60 IN MX 10 nothing.example.", "part.example 60 IN MX 20 mx2.a.example.",
		"literal.example 60 IN MX 10 192.0.2.77.",
		"brokenmx.example 60 IN MX 10 fail.example.",
		"nodata.example 60 IN TXT x")
	z.special["fail.example"] = rcode(miekg.RcodeServerFailure)
	for name, code := range map[string]int{"servfail.example": miekg.RcodeServerFailure,
		"refused.example": miekg.RcodeRefused, "formerr.example": miekg.RcodeFormatError, "notimp.example": miekg.RcodeNotImplemented} {
		z.special[name] = rcode(code)
	}
	r := testResolver(t, z)
	tests := []struct {
		domain, want string
		kind         Kind
		text         string
	}{
		{domain: "a.example", want: "10 mx1.a.example [192.0.2.1 2001:db8::1];20 mx2.a.example [192.0.2.2];"},
		{domain: "A.Example.", want: "10 mx1.a.example [192.0.2.1 2001:db8::1];20 mx2.a.example [192.0.2.2];"},
		{domain: "implicit.example", want: "0 implicit.example [192.0.2.3];"},
		{domain: "half.example", want: "10 mx1.a.example [192.0.2.1 2001:db8::1];"},
		{domain: "part.example", want: "10 nothing.example [];20 mx2.a.example [192.0.2.2];"},
		{domain: "gone.example", kind: Permanent, text: "Domain does not exist"},
		{domain: "bad name", kind: Permanent, text: "Domain does not exist"},
		{domain: "null.example", kind: Permanent, text: "Domain does not accept mail"},
		{domain: "local.example", kind: Permanent, text: "Domain does not accept mail"},
		{domain: "dangling.example", kind: Temporary, text: "No MX found for domain"},
		{domain: "nodata.example", kind: Temporary, text: "No MX found for domain"},
		{domain: "literal.example", want: "10 192.0.2.77 [192.0.2.77];"}, // against RFC 5321 section 5.1, but in use
		{domain: "brokenmx.example", kind: Temporary, text: "SERVFAIL"},
		{domain: "servfail.example", kind: Temporary, text: "SERVFAIL"},
		{domain: "refused.example", kind: Temporary, text: "REFUSED"},
		{domain: "formerr.example", kind: Temporary, text: "FORMERR"},
		{domain: "notimp.example", kind: Temporary, text: "NOTIMP"},
	}
	for _, tt := range tests {
		got, err := r.LookupMX(t.Context(), tt.domain)
		if tt.want != "" {
			if err != nil || mxString(got) != tt.want {
				t.Errorf("%s: %s, %v; want %s", tt.domain, mxString(got), err, tt.want)
			}
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.Kind != tt.kind || !strings.Contains(e.Text, tt.text) {
			t.Errorf("%s: %v %+v; want %v %s", tt.domain, mxString(got), err, tt.kind, tt.text)
		}
	}
}

func TestManyMX(t *testing.T) {
	z := newZone()
	for i := range 200 {
		z.add(fmt.Sprintf("many.example 60 IN MX %d mx%d.example.", 200-i, i), fmt.Sprintf("mx%d.example 60 IN A 192.0.2.%d", i, i))
	}
	for i := range 200 {
		z.add(fmt.Sprintf("host.example 60 IN A 10.0.0.%d", i))
	}
	r := testResolver(t, z)
	got, err := r.LookupMX(t.Context(), "many.example") // does not fit into a datagram
	if err != nil || len(got) != maxMX || got[0].Host != "mx199.example" || len(got[0].Addrs) != 1 {
		t.Fatalf("%d %v %v", len(got), got[:min(1, len(got))], err)
	}
	if n := z.count("many.example MX"); n != 2 {
		t.Errorf("asked %d times, want once over UDP and once over TCP", n)
	}
	addrs, err := r.LookupHost(t.Context(), "host.example", AnyFamily)
	if err != nil || len(addrs) > maxAddrs {
		t.Fatalf("%d addresses, %v", len(addrs), err)
	}
}

func TestAliases(t *testing.T) {
	z := newZone()
	z.add("one.example 60 IN CNAME two.example.", "two.example 60 IN A 192.0.2.5",
		"loop1.example 60 IN CNAME loop2.example.", "loop2.example 60 IN CNAME loop1.example.",
		"self.example 60 IN CNAME self.example.")
	for i := range 20 {
		z.add(fmt.Sprintf("c%d.example 60 IN CNAME c%d.example.", i, i+1))
	}
	z.add("c20.example 60 IN A 192.0.2.6")
	// What a recursive server gives: the alias for every type.
	for k, v := range z.records {
		if name, ok := strings.CutSuffix(k, " CNAME"); ok {
			z.records[name+" A"] = append(z.records[name+" A"], v...)
			z.records[name+" AAAA"] = append(z.records[name+" AAAA"], v...)
		}
	}
	r := testResolver(t, z)
	if got, err := r.LookupHost(t.Context(), "one.example", IPv4); err != nil || got[0].String() != "192.0.2.5" {
		t.Error(got, err)
	}
	if got, err := r.LookupHost(t.Context(), "c15.example", IPv4); err != nil || got[0].String() != "192.0.2.6" {
		t.Error(got, err)
	}
	for _, name := range []string{"loop1.example", "self.example", "c0.example"} {
		var e *Error
		if got, err := r.LookupHost(t.Context(), name, AnyFamily); !errors.As(err, &e) || e.Kind != Temporary {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
}

func TestForgedRepliesAreSkipped(t *testing.T) {
	z := newZone()
	z.special["victim.example"] = func(w miekg.ResponseWriter, q *miekg.Msg) {
		forged, _ := miekg.NewRR("victim.example. 60 IN A 6.6.6.6")
		other := new(miekg.Msg)
		other.SetReply(q)
		other.Question[0].Name = "other.example."
		other.Answer = append(other.Answer, forged)
		w.WriteMsg(other)
		id := new(miekg.Msg)
		id.SetReply(q)
		id.Id++
		id.Answer = append(id.Answer, forged)
		w.WriteMsg(id)
		w.Write([]byte("x"))
		w.Write([]byte{byte(q.Id >> 8), byte(q.Id), 0x80, 0, 0, 9, 0, 9, 0, 0, 0, 0, 1})
		good := new(miekg.Msg)
		good.SetReply(q)
		rr, _ := miekg.NewRR("victim.example. 60 IN A 192.0.2.9")
		good.Answer = append(good.Answer, rr)
		w.WriteMsg(good)
	}
	z.special["flood.example"] = func(w miekg.ResponseWriter, q *miekg.Msg) {
		m := new(miekg.Msg)
		m.SetReply(q)
		m.Id++
		for range 2 * maxStray {
			w.WriteMsg(m)
		}
	}
	r := testResolver(t, z)
	if got, err := r.LookupHost(t.Context(), "victim.example", IPv4); err != nil || got[0].String() != "192.0.2.9" {
		t.Error(got, err)
	}
	var e *Error
	if got, err := r.LookupHost(t.Context(), "flood.example", IPv4); !errors.As(err, &e) || e.Kind != Temporary {
		t.Error(got, err)
	}
}

func TestNextServer(t *testing.T) {
	bad, good := newZone(), newZone()
	bad.special["a.example"] = rcode(miekg.RcodeServerFailure)
	bad.special["b.example"] = rcode(miekg.RcodeServerFailure)
	good.add("a.example 60 IN A 192.0.2.1", "b.example 60 IN A 192.0.2.2")
	r := New(Options{Servers: []netip.AddrPort{serve(t, bad), serve(t, good)}, Timeout: 2 * time.Second, Attempts: 2})
	for _, name := range []string{"a.example", "b.example"} {
		if got, err := r.LookupHost(t.Context(), name, IPv4); err != nil {
			t.Error(name, got, err)
		}
	}
	if bad.count("b.example A") != 0 {
		t.Error("the server that failed was asked first again")
	}
}

func TestTimeout(t *testing.T) {
	z := newZone()
	var asked atomic.Int32
	z.special["silent.example"] = func(miekg.ResponseWriter, *miekg.Msg) { asked.Add(1) }
	r := New(Options{Servers: []netip.AddrPort{serve(t, z)}, Timeout: 200 * time.Millisecond, Attempts: 3})
	_, err := r.LookupMX(t.Context(), "silent.example")
	var e *Error
	if !errors.As(err, &e) || e.Kind != Temporary || !strings.Contains(e.Text, "timed out") {
		t.Errorf("%v", err)
	}
	if asked.Load() != 3 {
		t.Errorf("asked %d times", asked.Load())
	}
}

func TestCancel(t *testing.T) {
	z := newZone()
	asked := make(chan struct{}, 10)
	z.special["silent.example"] = func(miekg.ResponseWriter, *miekg.Msg) { asked <- struct{}{} }
	r := New(Options{Servers: []netip.AddrPort{serve(t, z)}, Timeout: 30 * time.Second, Attempts: 5})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := r.LookupTXT(ctx, "silent.example")
		done <- err
	}()
	<-asked
	cancel()
	select { // only to fail before the whole test run does
	case err := <-done:
		var e *Error
		if !errors.As(err, &e) || e.Kind != Temporary {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("cancel ignored")
	}
	r.cache.mu.Lock()
	defer r.cache.mu.Unlock()
	if len(r.cache.flights) != 0 {
		t.Error("nobody waits, yet the question stands")
	}
}

func TestSingleFlightAndCache(t *testing.T) {
	z := newZone()
	z.add("zero.example 0 IN A 192.0.2.1", "kept.example 60 IN A 192.0.2.1")
	release := make(chan struct{})
	z.special["slow.example"] = func(w miekg.ResponseWriter, q *miekg.Msg) {
		<-release
		m := new(miekg.Msg)
		m.SetReply(q)
		rr, _ := miekg.NewRR("slow.example. 60 IN TXT hello world")
		m.Answer = append(m.Answer, rr)
		w.WriteMsg(m)
	}
	r := testResolver(t, z)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if got, err := r.LookupTXT(t.Context(), "slow.example"); err != nil || len(got) != 1 || got[0] != "helloworld" {
				t.Error(got, err)
			}
		})
	}
	close(release)
	wg.Wait()
	if n := z.count("slow.example TXT"); n != 1 {
		t.Errorf("asked %d times for what 20 wanted", n)
	}
	for range 3 {
		r.LookupHost(t.Context(), "zero.example", IPv4)
		r.LookupHost(t.Context(), "kept.example", IPv4)
		r.LookupHost(t.Context(), "gone.example", IPv4)
	}
	for k, want := range map[string]int{"zero.example A": 3, "kept.example A": 1, "gone.example A": 1} {
		if n := z.count(k); n != want {
			t.Errorf("%s asked %d times, want %d", k, n, want)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache(10)
	for i := range 1000 {
		c.get(t.Context(), key{fmt.Sprint(i), 1}, func(context.Context) answer { return answer{ttl: time.Hour} })
	}
	if len(c.kept) != 10 {
		t.Errorf("%d answers kept", len(c.kept))
	}
}

func TestLookupPTR(t *testing.T) {
	z := newZone()
	z.add("1.2.0.192.in-addr.arpa 60 IN PTR good.example.", "good.example 60 IN A 192.0.2.1",
		"2.2.0.192.in-addr.arpa 60 IN PTR liar.example.", "liar.example 60 IN A 192.0.2.99",
		"3.2.0.192.in-addr.arpa 60 IN PTR liar.example.", "3.2.0.192.in-addr.arpa 60 IN PTR three.example.", "three.example 60 IN A 192.0.2.3",
		`4.2.0.192.in-addr.arpa 60 IN PTR a\010b\032c.example.`,
		"5.2.0.192.in-addr.arpa 60 IN PTR fail.example.",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa 60 IN PTR six.example.", "six.example 60 IN AAAA 2001:db8::1")
	z.special["fail.example"] = rcode(miekg.RcodeServerFailure)
	r := testResolver(t, z)
	tests := []struct {
		addr, name         string
		confirmed, errored bool
	}{
		{"192.0.2.1", "good.example", true, false},
		{"::ffff:192.0.2.1", "good.example", true, false},
		{"192.0.2.2", "liar.example", false, false},
		{"192.0.2.3", "three.example", true, false},
		{"192.0.2.4", "", false, true},
		{"192.0.2.5", "fail.example", false, true},
		{"192.0.2.6", "", false, true},
		{"2001:db8::1", "six.example", true, false},
	}
	for _, tt := range tests {
		got, err := r.LookupPTR(t.Context(), netip.MustParseAddr(tt.addr))
		if got != (PTR{tt.name, tt.confirmed}) || (err != nil) != tt.errored {
			t.Errorf("%s: %+v %v", tt.addr, got, err)
		}
	}
}

func TestFilesAreReadAgain(t *testing.T) {
	z := newZone()
	z.add("name.example 60 IN A 192.0.2.1")
	dir := t.TempDir()
	conf, hosts := filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "hosts")
	server := serve(t, z)
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := New(Options{ResolvConf: conf, Hosts: hosts}) // neither exists
	if s := r.conf.load(nil).servers[0].String(); s != "127.0.0.1:53" {
		t.Error(s)
	}
	write(conf, fmt.Sprintf("search x.example\nnameserver [127.0.0.1]:%d\noptions timeout:3 attempts:1\n", server.Port()))
	write(hosts, "# comment\n192.0.2.50 printer.example Printer # x\n::1 localhost\nnonsense x\n")
	r.conf.file.checked, r.hosts.file.checked = time.Time{}, time.Time{}
	if got, err := r.LookupHost(t.Context(), "name.example", AnyFamily); err != nil || got[0].String() != "192.0.2.1" {
		t.Error(got, err)
	}
	if got, err := r.LookupHost(t.Context(), "PRINTER", AnyFamily); err != nil || got[0].String() != "192.0.2.50" {
		t.Error(got, err)
	}
	if got, err := r.LookupPTR(t.Context(), netip.MustParseAddr("192.0.2.50")); err != nil || got != (PTR{"printer.example", true}) {
		t.Error(got, err)
	}
	write(hosts, "192.0.2.51 printer\n# longer than before, so that the size tells even where the time does not\n")
	if got, _ := r.LookupHost(t.Context(), "printer", AnyFamily); got[0].String() != "192.0.2.50" {
		t.Error("looked at the file within the interval", got)
	}
	r.hosts.file.checked = time.Time{}
	if got, _ := r.LookupHost(t.Context(), "printer", AnyFamily); got[0].String() != "192.0.2.51" {
		t.Error("changed file not read", got)
	}
}

func TestParseResolvConf(t *testing.T) {
	c := parseResolvConf("nameserver 192.0.2.1 # x\nnameserver ::1\nnameserver host\nnameserver [2001:db8::1]:5353\nnameserver 192.0.2.9\n" +
		"options rotate timeout:99 attempts:0 use-vc ndots:x\nfamily inet6 inet4\n; end\nnameserver")
	want := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("[::1]:53"), netip.MustParseAddrPort("[2001:db8::1]:5353")}
	if !slices.Equal(c.servers, want) || !c.rotate || !c.useTCP || !c.ipv6First || c.timeout != 30*time.Second || c.attempts != 1 {
		t.Errorf("%+v", c)
	}
}

func FuzzParseResolvConf(f *testing.F) {
	f.Add("nameserver 1.2.3.4\noptions timeout:1\n")
	f.Add("nameserver [::1]:53\n\x00options\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := parseResolvConf(text)
		if len(c.servers) == 0 || len(c.servers) > maxServers || c.attempts < 1 || c.timeout < time.Second {
			t.Errorf("%+v", c)
		}
		parseHosts(text)
	})
}

// FuzzInterpret feeds replies of a hostile server, which passed the check of the question.
func FuzzInterpret(f *testing.F) {
	m := new(miekg.Msg)
	m.SetQuestion("a.example.", miekg.TypeMX)
	for _, text := range []string{"a.example. 60 IN CNAME b.example.", "b.example. 60 IN CNAME a.example.", "b.example. 9 IN MX 10 c.example."} {
		rr, _ := miekg.NewRR(text)
		m.Answer = append(m.Answer, rr)
		wire, _ := m.Pack()
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		m := new(miekg.Msg)
		if m.Unpack(wire) != nil {
			return
		}
		for _, qtype := range []uint16{miekg.TypeMX, miekg.TypeA, miekg.TypePTR, miekg.TypeTXT} {
			a := interpret(key{"a.example", qtype}, m)
			if a.err == nil && len(a.rrs) == 0 && a.alias == "" {
				t.Error("an answer without content")
			}
			list, _ := exchangers(a.rrs)
			if len(list) > maxMX || len(ptrNames(a.rrs)) > maxPTR || a.ttl > maxPositive || a.ttl < 0 {
				t.Error("over a bound")
			}
		}
	})
}
