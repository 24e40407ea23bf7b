package filterkit

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
)

// zone is a name server that knows some records, and does not answer for names under "slow".
func zone(t *testing.T, records ...string) netip.AddrPort {
	t.Helper()
	known := make(map[string][]miekg.RR)
	for _, r := range records {
		rr, err := miekg.NewRR(r)
		if err != nil {
			t.Fatal(err)
		}
		name := rr.Header().Name
		known[name] = append(known[name], rr)
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	server := &miekg.Server{PacketConn: conn, NotifyStartedFunc: func() { close(started) },
		Handler: miekg.HandlerFunc(func(w miekg.ResponseWriter, q *miekg.Msg) {
			name := strings.ToLower(q.Question[0].Name)
			if strings.Contains(name, "slow") {
				return
			}
			m := new(miekg.Msg)
			m.SetReply(q)
			for _, rr := range known[name] {
				if rr.Header().Rrtype == q.Question[0].Qtype {
					m.Answer = append(m.Answer, rr)
				}
			}
			if known[name] == nil {
				m.Rcode = miekg.RcodeNameError
			}
			w.WriteMsg(m)
		})}
	go server.ActivateAndServe()
	<-started
	t.Cleanup(func() { server.Shutdown() })
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func TestDNS(t *testing.T) {
	d := NewDNS(time.Minute, zone(t, `example.org. 60 IN TXT "a" "b"`, `example.org. 60 IN MX 10 mx.example.org.`,
		`mx.example.org. 60 IN A 192.0.2.1`, `mx.example.org. 60 IN AAAA 2001:db8::1`,
		`1.2.0.192.in-addr.arpa. 60 IN PTR mx.example.org.`))
	ctx := t.Context()
	if txt, err := d.TXT(ctx, "example.org"); err != nil || len(txt) != 1 || txt[0] != "ab" {
		t.Error(txt, err)
	}
	if mx, err := d.MX(ctx, "example.org"); err != nil || len(mx) != 1 || mx[0].Host != "mx.example.org" {
		t.Error(mx, err)
	}
	if addrs, err := d.Host(ctx, "mx.example.org"); err != nil || len(addrs) != 2 {
		t.Error(addrs, err)
	}
	if ptr, err := d.PTR(ctx, netip.MustParseAddr("192.0.2.1")); err != nil || ptr.Name != "mx.example.org" || !ptr.Confirmed {
		t.Error(ptr, err)
	}
	if _, err := d.TXT(ctx, "missing.example.org"); err == nil {
		t.Error("a missing name has texts")
	}
}

func TestListed(t *testing.T) {
	d := NewDNS(time.Minute, zone(t,
		`2.0.0.127.bl.example. 60 IN A 127.0.0.2`, `2.0.0.127.bl.example. 60 IN A 127.0.0.9`,
		`2.0.0.127.bl.example. 60 IN TXT "because"`,
		`3.0.0.127.bl.example. 60 IN A 192.0.2.1`,
		`4.0.0.127.bl.example. 60 IN A 127.255.255.254`,
		`bad.example.bl.example. 60 IN A 127.0.1.2`,
		`1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example. 60 IN A 127.0.0.3`))
	for _, c := range []struct {
		addr   string
		codes  int
		reason string
		err    error
	}{
		{"127.0.0.2", 2, "because", nil},
		{"::ffff:127.0.0.2", 2, "because", nil},
		{"127.0.0.1", 0, "", nil},
		{"127.0.0.3", 0, "", nil},
		{"127.0.0.4", 0, "", errList},
		{"2001:db8::1", 1, "", nil},
		{"2001:db8::2", 0, "", nil},
		{"", 0, "", nil},
	} {
		addr, _ := netip.ParseAddr(c.addr)
		l, err := d.ListedAddr(t.Context(), ".bl.example.", addr)
		if len(l.Codes) != c.codes || l.Listed() != (c.codes > 0) || l.Reason != c.reason || !errors.Is(err, c.err) {
			t.Errorf("%q: %v, %v", c.addr, l, err)
		}
	}
	for name, want := range map[string]bool{"bad.example": true, "bad.example.": true, "good.example": false, "": false} {
		if l, err := d.ListedName(t.Context(), "bl.example", name); l.Listed() != want || err != nil {
			t.Errorf("%q: %v, %v", name, l, err)
		}
	}
}

// TestSlowName: a look-up ends with its time or with its context.
func TestSlowName(t *testing.T) {
	server := zone(t)
	if _, err := NewDNS(time.Millisecond, server).TXT(t.Context(), "slow.example"); err == nil {
		t.Error("an answer")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewDNS(time.Hour, server).ListedName(ctx, "slow.example", "a"); err == nil {
		t.Error("an answer")
	}
}
