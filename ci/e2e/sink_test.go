package e2e

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"

	gosmtp "github.com/emersion/go-smtp"
)

// sinkAddr is where a sink listens.
const sinkAddr = "127.0.0.3:25"

// sink is a server that keeps what it gets. It is not of our making: it runs go-smtp.
type sink struct {
	mu     sync.Mutex
	got    []received
	next   int                          // of got, not taken yet
	refuse map[string]*gosmtp.SMTPError // recipients
	fail   *gosmtp.SMTPError            // the reply to every message, nil to take it
	server *gosmtp.Server

	sessions int
}

// received is a transaction.
type received struct {
	from string
	to   []string
	text []byte // with LF line ends
	tls  bool
}

// startSink starts one; the config is nil for no STARTTLS.
func startSink(t *testing.T, addr string, config *tls.Config) *sink {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return serveSink(t, l, config)
}

func serveSink(t *testing.T, l net.Listener, config *tls.Config) *sink {
	s := &sink{refuse: make(map[string]*gosmtp.SMTPError)}
	s.server = gosmtp.NewServer(s)
	s.server.Domain = "mx.sink.test"
	s.server.TLSConfig = config
	s.server.MaxRecipients = 1000
	s.server.EnableSMTPUTF8 = true
	s.server.ErrorLog = quiet{}
	go func() { _ = s.server.Serve(l) }()
	t.Cleanup(func() { s.server.Close() })
	return s
}

// quiet is the log of the sink: connections that are killed are no news.
type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// NewSession is of go-smtp.
func (s *sink) NewSession(c *gosmtp.Conn) (gosmtp.Session, error) {
	s.mu.Lock()
	s.sessions++
	s.mu.Unlock()
	return &sinkSession{sink: s, conn: c}, nil
}

type sinkSession struct {
	sink *sink
	conn *gosmtp.Conn
	now  received
}

func (s *sinkSession) Mail(from string, _ *gosmtp.MailOptions) error {
	s.now = received{from: from}
	return nil
}

func (s *sinkSession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	if e := s.sink.refuse[to]; e != nil {
		return e
	}
	s.now.to = append(s.now.to, to)
	return nil
}

func (s *sinkSession) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if s.sink.fail != nil {
		return s.sink.fail
	}
	s.now.text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	_, s.now.tls = s.conn.TLSConnectionState()
	s.sink.mu.Lock()
	s.sink.got = append(s.sink.got, s.now)
	s.sink.mu.Unlock()
	return nil
}

func (s *sinkSession) Reset()        { s.now = received{} }
func (s *sinkSession) Logout() error { return nil }

// take gives what has come since the last call.
func (s *sink) take() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.got[s.next:]
	s.next = len(s.got)
	return list
}

// wait takes n messages.
func (s *sink) wait(t *testing.T, n int) []received {
	t.Helper()
	var list []received
	if !within(startWait, func() bool { list = append(list, s.take()...); return len(list) >= n }) || len(list) > n {
		t.Fatalf("the sink has %d messages, want %d", len(list), n)
	}
	return list
}
