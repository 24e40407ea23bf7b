package daemon

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/dns"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/smtp"
	"github.com/godwit-mta/godwit/core/tlsrpt"
	"github.com/godwit-mta/godwit/core/twofile"
)

// Reports about TLS. The dispatcher knows what became of its sessions and tells lookup, which
// counts, keeps what it counted in files that the parent opened, asks the DNS who wants to know,
// and posts. Reports by mail it gives back to the dispatcher, where they begin as other mail
// from this host does.

// tlsResults are results on their way to lookup.
type tlsResults struct{ Results []tlsrpt.Result }

// reportMail is a message from this host, with LF line ends.
type reportMail struct {
	From, To string
	Text     []byte
}

const (
	gatherResults = time.Second // for which results wait, to travel together
	mostResults   = 200         // that do
	reportWait    = 2 * time.Minute
	maxReport     = 8 << 20 // octets of a report by mail
)

// tlsTeller gathers results of sessions in the dispatcher.
type tlsTeller struct {
	mu      sync.Mutex
	results []tlsrpt.Result
	timer   *time.Timer
}

// tellTLS takes a result when reports are made.
func (r *relayer) tellTLS(res tlsrpt.Result) {
	if !r.cfg.Load().tlsReport {
		return
	}
	t := &r.tls
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.results) < 10*mostResults {
		t.results = tlsrpt.Merge(t.results, res)
	}
	if t.timer == nil {
		t.timer = time.AfterFunc(gatherResults, r.flushTLS)
	}
}

// flushTLS sends what was gathered.
func (r *relayer) flushTLS() {
	t := &r.tls
	t.mu.Lock()
	list := t.results
	t.results, t.timer = nil, nil
	t.mu.Unlock()
	for len(list) > 0 {
		n := min(len(list), mostResults)
		if err := r.d.m.peers[Lookup].Send(kindTLSResults, &tlsResults{list[:n]}); err != nil {
			r.d.m.log.Warnf("tls-report: results are lost: %v", err)
			return
		}
		list = list[n:]
	}
}

// reportMail sends a report that lookup made, in a session like those behind the control socket.
func (d *dispatcherRole) reportMail(r *ipc.Request) {
	var req reportMail
	if err := r.Decode(&req); err != nil {
		r.Fail(err)
		return
	}
	s := d.cfg.Load()
	if s == nil || d.ctx.Err() != nil || len(req.Text) > maxReport {
		r.Fail(errors.New("dispatcher: a report cannot be sent now"))
		return
	}
	ours, theirs := net.Pipe()
	peer := smtp.Peer{Socket: true, UID: os.Getuid(), User: "tls-report"}
	d.sessions.Go(func() { d.session(s, s.local, theirs, peer, d.m.log.NewTrace()) })
	if err := submitReport(ours, &req); err != nil {
		r.Fail(err)
		return
	}
	r.Reply(nil)
}

func submitReport(conn net.Conn, m *reportMail) error {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(reportWait)); err != nil {
		return err
	}
	c := gosmtp.NewClient(conn)
	if err := c.Hello("localhost"); err != nil {
		return err
	}
	if err := c.Mail(m.From, nil); err != nil {
		return err
	}
	if err := c.Rcpt(m.To, nil); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, strings.ReplaceAll(string(m.Text), "\n", "\r\n")); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_ = c.Quit() // it was taken
	return nil
}

// openTLSReport begins to count, once, and says who makes reports from now on.
func (l *lookupRole) openTLSReport(s *lookupSettings) {
	c := &s.TLSReport
	if l.reports == nil && c.Organization == "" {
		return
	}
	if l.reports == nil {
		o := tlsrpt.Options{TXT: l.dns.LookupTXT, Log: l.m.log, Roots: func() *x509.CertPool { return l.web.roots.Load() },
			Host: func(ctx context.Context, name string) ([]netip.Addr, error) {
				return l.dns.LookupHost(ctx, name, dns.AnyFamily)
			},
			Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", to.String())
			},
			Mail: func(ctx context.Context, from, to string, text []byte) error {
				return l.m.peers[Dispatcher].Call(ctx, kindReportMail, &reportMail{from, to, text}, nil)
			}}
		ctx, cancel := context.WithTimeout(l.ctx, setupWait)
		defer cancel()
		files, err := l.m.parent.CallFiles(ctx, kindReportFiles, nil, nil)
		if err == nil && len(files) == 2 {
			o.Store = twofile.New("tls-report-1", files[0], files[1])
		} else {
			closeFiles(files)
			l.m.log.Warnf("tls-report: results cannot be kept across restarts: %v", err)
		}
		l.reports = tlsrpt.New(o)
	}
	l.reports.Configure(tlsrpt.Sender{Organization: c.Organization, Contact: c.Contact, Mail: c.Sender, Host: s.Hostname}, c.Spread)
}

func (l *lookupRole) tlsResults(r *ipc.Request) {
	var m tlsResults
	if err := r.Decode(&m); err != nil {
		l.m.log.Warnf("tls-report: results of the dispatcher: %v", err)
		r.Fail(err)
		return
	}
	if l.reports != nil {
		l.reports.Add(m.Results)
	}
}
