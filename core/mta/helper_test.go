package mta

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/trace"
)

// patience only ends a test that would hang otherwise.
const patience = 60 * time.Second

// lookupError is what a resolver says.
type lookupError struct {
	text      string
	temporary bool
}

func (e lookupError) Error() string   { return e.text }
func (e lookupError) Temporary() bool { return e.temporary }

type fakeResolver struct {
	mx    map[string][]MXHost
	hosts map[string][]netip.Addr
	errs  map[string]error
	tlsa  map[string]TLSA
	sts   map[string]STS
	words map[string]string
}

func (f *fakeResolver) MX(_ context.Context, domain string) ([]MXHost, error) {
	if err := f.errs[domain]; err != nil {
		return nil, err
	}
	return f.mx[domain], nil
}

func (f *fakeResolver) Host(_ context.Context, name string) ([]netip.Addr, error) {
	if err := f.errs[name]; err != nil {
		return nil, err
	}
	return f.hosts[name], nil
}

func (f *fakeResolver) TLSA(_ context.Context, host string, port uint16) (TLSA, error) {
	if port != 25 {
		return TLSA{Reason: "another port"}, nil
	}
	if err := f.errs["tlsa "+host]; err != nil {
		return TLSA{}, err
	}
	return f.tlsa[host], nil
}

func (f *fakeResolver) STS(_ context.Context, domain string) (STS, error) {
	return f.sts[domain], f.errs["sts "+domain]
}

func (f *fakeResolver) Policy(_ context.Context, domain string) (string, error) {
	return f.words[domain], f.errs["policy "+domain]
}

func (f *fakeResolver) PTR(context.Context, netip.Addr) string { return "ptr.example" }

// fakeNet connects made-up addresses with listeners of the test.
type fakeNet struct {
	mu    sync.Mutex
	to    map[netip.Addr]string
	ports map[uint16]string // those that have a server of their own, "" for none
	dials []netip.Addr
	port  []uint16 // of dials
}

func (n *fakeNet) Dial(ctx context.Context, _ netip.Addr, to netip.AddrPort) (net.Conn, error) {
	n.mu.Lock()
	n.dials, n.port = append(n.dials, to.Addr()), append(n.port, to.Port())
	addr, ok := n.to[to.Addr()]
	if own, special := n.ports[to.Port()]; special {
		addr, ok = own, own != ""
	}
	n.mu.Unlock()
	if !ok {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

func (n *fakeNet) count(a netip.Addr) (c int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range n.dials {
		if d == a {
			c++
		}
	}
	return c
}

// logSink keeps the lines.
type logSink struct {
	mu    sync.Mutex
	lines []string
}

func (l *logSink) Log(_ trace.Level, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

func (l *logSink) has(part string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, part) {
			return true
		}
	}
	return false
}

func (l *logSink) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// bench is an MTA with everything around it.
type bench struct {
	*MTA
	t        testing.TB
	resolver *fakeResolver
	net      *fakeNet
	log      *logSink
	results  chan envelope.Result
	next     uint32
}

func newBench(t testing.TB, change func(*Config)) *bench {
	b := &bench{t: t, log: &logSink{}, results: make(chan envelope.Result, 1<<16),
		resolver: &fakeResolver{mx: map[string][]MXHost{}, hosts: map[string][]netip.Addr{}, errs: map[string]error{}, tlsa: map[string]TLSA{}, sts: map[string]STS{}, words: map[string]string{}},
		net:      &fakeNet{to: map[netip.Addr]string{}}}
	cfg := Config{Resolver: b.resolver, Dialer: b.net, Log: trace.New(b.log), Hostname: "us.example",
		Results: func(rs []envelope.Result) {
			for _, r := range rs {
				b.results <- r
			}
		}}
	if change != nil {
		change(&cfg)
	}
	b.MTA = New(cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		b.Stop(ctx)
		if t.Failed() {
			t.Logf("log:\n%.3000s", b.log)
		}
	})
	return b
}

var (
	addr1 = netip.MustParseAddr("192.0.2.1")
	addr2 = netip.MustParseAddr("192.0.2.2")
	addr3 = netip.MustParseAddr("2001:db8::3")
)

// domain makes the servers exchangers of a domain, with preferences 10, 20, ...
func (b *bench) domain(name string, servers ...string) {
	addrs := []netip.Addr{addr1, addr2, addr3}
	for i, s := range servers {
		if s != "" {
			b.net.to[addrs[i]] = s
		}
		b.resolver.mx[name] = append(b.resolver.mx[name],
			MXHost{Name: fmt.Sprintf("mx%d.example", i+1), Preference: uint16(10 * (i + 1)), Addrs: []netip.Addr{addrs[i]}})
	}
}

func (b *bench) message(body string, to ...string) *Message {
	b.next++
	msg := &Message{ID: envelope.MessageID(b.next), Sender: address.Address{Local: "sender", Domain: "us.example"}, Body: Body{Bytes: []byte(body)}}
	for i, t := range to {
		a, err := address.Parse(t)
		if err != nil {
			b.t.Fatal(err)
		}
		msg.Recipients = append(msg.Recipients, Recipient{ID: envelope.NewID(msg.ID, uint32(i+1)), Dest: a, Rcpt: a, Created: time.Now()})
	}
	return msg
}

// wait gives the results of n recipients by envelope.
func (b *bench) wait(n int) map[envelope.ID]envelope.Result {
	b.t.Helper()
	out := make(map[envelope.ID]envelope.Result)
	limit := time.After(patience)
	for len(out) < n {
		select {
		case r := <-b.results:
			if _, twice := out[r.ID]; twice {
				b.t.Fatalf("two results for %s", r.ID)
			}
			out[r.ID] = r
		case <-limit:
			b.t.Fatalf("%d of %d results\n%s", len(out), n, b.log)
		}
	}
	return out
}

// one sends a message to one recipient and gives its result.
func (b *bench) one(opts *Relay, body, to string) envelope.Result {
	b.t.Helper()
	b.Submit(b.message(body, to), opts)
	for _, r := range b.wait(1) {
		return r
	}
	return envelope.Result{}
}

// sink is a server that keeps what it is given.
type sink struct {
	mu       sync.Mutex
	sessions int
	mails    []mail
	refuse   map[string]*gosmtp.SMTPError // by recipient
	dataErr  *gosmtp.SMTPError
	lmtpErr  map[string]*gosmtp.SMTPError
	password string
}

type mail struct {
	from string
	opts gosmtp.MailOptions
	to   []string
	body []byte
}

type sinkSession struct {
	s *sink
	m mail
}

func (s *sink) NewSession(*gosmtp.Conn) (gosmtp.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions++
	return &sinkSession{s: s}, nil
}

func (ss *sinkSession) Reset()        { ss.m = mail{} }
func (ss *sinkSession) Logout() error { return nil }
func (ss *sinkSession) Mail(from string, opts *gosmtp.MailOptions) error {
	ss.m = mail{from: from, opts: *opts}
	return nil
}

func (ss *sinkSession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	if err := ss.s.refuse[to]; err != nil {
		return err
	}
	ss.m.to = append(ss.m.to, to)
	return nil
}

func (ss *sinkSession) Data(r io.Reader) error {
	body, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	ss.s.mu.Lock()
	defer ss.s.mu.Unlock()
	if ss.s.dataErr != nil {
		return ss.s.dataErr
	}
	ss.m.body = body
	ss.s.mails = append(ss.s.mails, ss.m)
	return nil
}

func (ss *sinkSession) LMTPData(r io.Reader, status gosmtp.StatusCollector) error {
	to := ss.m.to
	if err := ss.Data(r); err != nil {
		return err
	}
	for _, a := range to {
		if err := ss.s.lmtpErr[a]; err != nil {
			status.SetStatus(a, err)
		} else {
			status.SetStatus(a, nil)
		}
	}
	return nil
}

func (s *sink) taken() []mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]mail(nil), s.mails...)
}

// start runs the sink under go-smtp's server and gives its address.
func (s *sink) start(t testing.TB, change func(*gosmtp.Server)) string {
	srv := gosmtp.NewServer(s)
	srv.Domain = "sink.example"
	srv.MaxLineLength = 1 << 20
	srv.EnableDSN = true
	if change != nil {
		change(srv)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return l.Addr().String()
}

// script is one connection of a scripted server.
type script struct {
	net.Conn
	r *bufio.Reader
}

// scripted runs f for each connection, with its number counted from 1.
func scripted(t testing.TB, f func(c *script, n int)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for n := 1; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				f(&script{conn, bufio.NewReader(conn)}, n)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

func (c *script) say(lines ...string) {
	for _, l := range lines {
		io.WriteString(c, l+"\r\n")
	}
}

// line reads a command; "" when the connection ended.
func (c *script) line() string {
	s, _ := c.r.ReadString('\n')
	return strings.TrimSuffix(s, "\r\n")
}

// body reads up to the final dot and gives the bytes as they came.
func (c *script) body() []byte {
	var b bytes.Buffer
	for {
		s, err := c.r.ReadBytes('\n')
		b.Write(s)
		if err != nil || string(s) == ".\r\n" {
			return b.Bytes()
		}
	}
}

// serve is a server that accepts everything; reply may answer otherwise. An answer of ""
// takes the usual one, "-" closes the connection.
func (c *script) serve(ehlo []string, reply func(cmd string) string) {
	c.say("220 script.example")
	for {
		cmd := c.line()
		if cmd == "" {
			return
		}
		answer := ""
		if reply != nil {
			answer = reply(cmd)
		}
		verb, _, _ := strings.Cut(cmd, " ")
		switch {
		case answer == "-":
			return
		case answer != "":
			c.say(answer)
		case verb == "EHLO":
			c.say("250-script.example")
			for _, e := range ehlo {
				c.say("250-" + e)
			}
			c.say("250 HELP")
		case verb == "DATA":
			c.say("354 go")
		case verb == "QUIT":
			c.say("221 bye")
			return
		default:
			c.say("250 2.0.0 ok")
		}
		if verb == "DATA" && (answer == "" || strings.HasPrefix(answer, "354")) {
			if b := c.body(); !bytes.HasSuffix(b, []byte(".\r\n")) {
				return // a body that is cut off is no message
			}
			answer := "250 2.0.0 queued"
			if reply != nil {
				if a := reply("."); a != "" {
					answer = a
				}
			}
			if answer == "-" {
				return
			}
			c.say(answer)
		}
	}
}

var defaultRelay = &Relay{Name: "out"}

func secondsOf(n int64) time.Duration { return time.Duration(n) * time.Second }
