package daemon

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/compat/auth"
	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/trace"
	"github.com/godwit-mta/godwit/platform"
)

// patience is how long an event is waited for before the test fails. No test passes
// because of it.
const patience = 30 * time.Second

// watch is a log in which tests wait for lines.
type watch struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{}
}

func (w *watch) Log(_ trace.Level, line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, line)
	close(w.more)
	w.more = make(chan struct{})
}

// wait gives the first line from number from on that matches.
func (w *watch) wait(t testing.TB, from int, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	timeout := time.After(patience)
	for i := from; ; {
		w.mu.Lock()
		for ; i < len(w.lines); i++ {
			if re.MatchString(w.lines[i]) {
				defer w.mu.Unlock()
				return w.lines[i]
			}
		}
		more := w.more
		w.mu.Unlock()
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("no line %q in the log:\n%s", pattern, strings.Join(w.lines, "\n"))
		}
	}
}

// has reports whether any line so far has the text.
func (w *watch) has(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.lines, func(line string) bool { return strings.Contains(line, text) })
}

// count gives the number of lines so far that have the text.
func (w *watch) count(text string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, line := range w.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (w *watch) len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.lines)
}

// lab is a daemon whose roles are goroutines.
type lab struct {
	t      testing.TB
	dir    string
	addr   string
	log    *watch
	conf   string
	reload chan struct{}
	stop   func() error

	network  *network // nil: the host's
	backends Backends

	passwords *auth.System // nil: the host's
}

func freePort(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// start runs a daemon. In conf, DIR is its directory and PORT the port to listen on. The user
// "joe" is in the table people.
func start(t testing.TB, conf string) *lab {
	t.Helper()
	return startOn(t, nil, conf)
}

// startOn is start on a host with other interfaces and names.
func startOn(t testing.TB, n *network, conf string) *lab {
	t.Helper()
	l := newLab(t, n, conf)
	l.begin()
	return l
}

// newLab prepares a daemon.
func newLab(t testing.TB, n *network, conf string) *lab {
	t.Helper()
	l := &lab{t: t, dir: t.TempDir(), log: &watch{more: make(chan struct{})}, reload: make(chan struct{}), network: n}
	port := freePort(t)
	l.addr = fmt.Sprintf("127.0.0.1:%d", port)
	l.conf = filepath.Join(l.dir, "smtpd.conf")
	l.write(strings.ReplaceAll(conf, "PORT", fmt.Sprint(port)))
	return l
}

// begin launches the daemon, and stops it when the test ends.
func (l *lab) begin() {
	l.t.Helper()
	l.launch()
	l.t.Cleanup(func() {
		if err := l.stop(); err != nil {
			l.t.Error(err)
		}
	})
}

func (l *lab) write(conf string) {
	head := "table people { \"joe\" = \"65534:65534:" + l.dir + "/joe\", \"ann\" = \"65534:65534:" + l.dir + "/ann\" }\n"
	err := os.WriteFile(l.conf, []byte(head+strings.ReplaceAll(conf, "DIR", l.dir)), 0o600)
	if err != nil {
		l.t.Fatal(err)
	}
}

// launch starts the daemon and returns when it accepts mail.
func (l *lab) launch() {
	l.t.Helper()
	facts := platform.Current()
	facts.Libexec = filepath.Join(l.dir, "libexec")
	facts.MailnameFile = filepath.Join(l.dir, "mailname")
	if err := os.WriteFile(facts.MailnameFile, []byte("mx.example.org\n"), 0o600); err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	logger := trace.New(l.log)
	opts := Options{Version: "test", ConfigFile: l.conf, Spool: filepath.Join(l.dir, "spool"),
		Socket: filepath.Join(l.dir, "sock"), Facts: facts, Log: logger, Sink: l.log, InProcess: true,
		Spawn: Goroutines("test"), Reload: l.reload, Ready: func() { close(ready) }, network: l.network, Backends: l.backends, passwords: l.passwords}
	go func() { ended <- Run(ctx, opts) }()
	l.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	select {
	case <-ready:
	case err := <-ended:
		cancel()
		l.stop = func() error { return nil }
		l.t.Fatalf("daemon did not start: %v", err)
	}
}

// send submits a message and gives the error of the last step that was tried.
func (l *lab) send(from string, to []string, body string) error {
	c, err := gosmtp.Dial(l.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SendMail(from, to, strings.NewReader(body)); err != nil {
		return err
	}
	return c.Quit()
}

func (l *lab) mustSend(from string, to []string, body string) {
	l.t.Helper()
	if err := l.send(from, to, body); err != nil {
		l.t.Fatal(err)
	}
}

// maildir gives the messages of a user.
func (l *lab) maildir(user string) []string {
	l.t.Helper()
	dir := filepath.Join(l.dir, user, "Maildir", "new")
	entries, err := os.ReadDir(dir)
	if err != nil {
		l.t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			l.t.Fatal(err)
		}
		all = append(all, string(b))
	}
	return all
}

// ask sends a request to the control socket.
func (l *lab) ask(req control.Request, reply any) error {
	nc, err := net.Dial("unix", filepath.Join(l.dir, "sock"))
	if err != nil {
		return err
	}
	conn := ipc.New(nc.(*net.UnixConn))
	served := make(chan struct{})
	go func() { _ = conn.Serve(func(*ipc.Request) {}); close(served) }()
	defer func() { conn.Close(); <-served }()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if req.Last == 0 {
		req.Last = ^envelope.ID(0)
	}
	return conn.Call(ctx, 1, &req, reply)
}

const localConf = `
listen on 127.0.0.1 port PORT
action "local" maildir userbase <people>
match from any for domain "example.org" action "local"
`

func TestLocalDelivery(t *testing.T) {
	l := start(t, localConf)
	l.mustSend("ann@example.net", []string{"joe@example.org"}, "Subject: hello\r\n\r\n.dot\r\nbody\r\n")
	l.log.wait(t, 0, `^[0-9a-f]{16} mda delivery evpid=[0-9a-f]{16} from=<ann@example.net> to=<joe@example.org> rcpt=<joe@example.org> user=joe delay=\d+s result=Ok stat=Delivered$`)
	got := l.maildir("joe")
	if len(got) != 1 {
		t.Fatalf("%d messages", len(got))
	}
	for _, want := range []string{
		"Return-Path: <ann@example.net>\nDelivered-To: joe@example.org\nReceived: from localhost (",
		"\n\tby mx.example.org (Godwit) with ESMTP id ", "\n\tfor <joe@example.org>;\n\t", "\nSubject: hello\n", "\nMessage-ID: <", "\n\n.dot\nbody\n"} {
		if !strings.Contains(got[0], want) {
			t.Errorf("no %q in:\n%s", want, got[0])
		}
	}
	for _, line := range []string{`^[0-9a-f]{16} smtp connected address=127.0.0.1 host=`,
		`^[0-9a-f]{16} smtp message msgid=[0-9a-f]{8} size=\d+ nrcpt=1 proto=ESMTP$`,
		`^[0-9a-f]{16} smtp envelope evpid=[0-9a-f]{16} from=<ann@example.net> to=<joe@example.org>$`,
		`^[0-9a-f]{16} smtp disconnected reason=quit$`} {
		l.log.wait(t, 0, line)
	}
}

func TestRecipientsAreRefused(t *testing.T) {
	l := start(t, localConf)
	for rcpt, code := range map[string]int{"nobody@example.org": 550, "joe@example.com": 550} {
		err := l.send("ann@example.net", []string{rcpt}, "x\r\n")
		var reply *gosmtp.SMTPError
		if !errors.As(err, &reply) || reply.Code != code {
			t.Errorf("%s: %v, want %d", rcpt, err, code)
		}
	}
}

// A large message goes through a file of the queue instead of memory.
func TestLargeMessage(t *testing.T) {
	l := start(t, localConf)
	line := strings.Repeat("0123456789abcdef", 60) + "\r\n"
	body := "Subject: large\r\n\r\n" + strings.Repeat(line, 3000)
	l.mustSend("ann@example.net", []string{"joe@example.org", "ann@example.org"}, body)
	l.log.wait(t, 0, `mda delivery .* to=<joe@example.org> .* result=Ok`)
	l.log.wait(t, 0, `mda delivery .* to=<ann@example.org> .* result=Ok`)
	_, want, _ := strings.Cut(strings.ReplaceAll(body, "\r\n", "\n"), "\n\n")
	for _, user := range []string{"joe", "ann"} {
		got := l.maildir(user)
		if len(got) != 1 || !strings.HasSuffix(got[0], "\n\n"+want) {
			t.Errorf("%s: %d messages, body differs", user, len(got))
		}
	}
}

// sink is a server of the next hop.
type sink struct {
	mu     sync.Mutex
	refuse func(rcpt string) error
	got    []received
}

type received struct {
	from string
	to   []string
	body string
}

func (s *sink) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return &sinkSession{s: s}, nil }

type sinkSession struct {
	s *sink
	m received
}

func (s *sinkSession) Reset()        { s.m = received{} }
func (s *sinkSession) Logout() error { return nil }
func (s *sinkSession) Mail(from string, _ *gosmtp.MailOptions) error {
	s.m.from = from
	return nil
}
func (s *sinkSession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	if s.s.refuse != nil {
		if err := s.s.refuse(to); err != nil {
			return err
		}
	}
	s.m.to = append(s.m.to, to)
	return nil
}
func (s *sinkSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.m.body = string(b)
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	s.s.got = append(s.s.got, s.m)
	return nil
}

// messages gives what came so far.
func (s *sink) messages() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]received(nil), s.got...)
}

// startSink runs a sink and gives its port.
func startSink(t *testing.T, refuse func(string) error) (*sink, int) {
	s := &sink{refuse: refuse}
	server := gosmtp.NewServer(s)
	server.Domain = "sink.example.net"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	return s, l.Addr().(*net.TCPAddr).Port
}

func relayConf(port int) string {
	return localConf + fmt.Sprintf(`
action "out" relay host "smtp://127.0.0.1:%d"
match from any for any action "out"
`, port)
}

// Recipients in several domains who go through one relay share a transaction. Those that
// it refuses are named in one notice.
func TestRelayAndNotice(t *testing.T) {
	s, port := startSink(t, func(rcpt string) error {
		if strings.HasPrefix(rcpt, "no") {
			return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "no such user " + rcpt}
		}
		return nil
	})
	l := start(t, relayConf(port))
	to := []string{"yes1@a.example", "no1@b.example", "no2@c.example", "yes2@d.example", "no3@b.example"}
	l.mustSend("joe@example.org", to, "Subject: five\r\n\r\nbody\r\n")
	l.log.wait(t, 0, `mda delivery .* from=<> to=<joe@example.org> .* result=Ok`)
	relayed := s.messages()
	if len(relayed) == 1 {
		slices.Sort(relayed[0].to)
	}
	if len(relayed) != 1 || strings.Join(relayed[0].to, " ") != "yes1@a.example yes2@d.example" {
		t.Errorf("the sink got %+v", s.messages())
	}
	got := l.maildir("joe")
	if len(got) != 1 {
		t.Fatalf("%d notices", len(got))
	}
	for _, want := range []string{"Content-Type: multipart/report; report-type=delivery-status", "Auto-Submitted: auto-replied",
		"rfc822; no1@b.example", "rfc822; no2@c.example", "rfc822; no3@b.example", "Status: 5.1.1", "Subject: five"} {
		if !strings.Contains(got[0], want) {
			t.Errorf("no %q in the notice:\n%s", want, got[0])
		}
	}
	if strings.Contains(got[0], "yes1@") {
		t.Error("the notice names a recipient who got the message")
	}
	var status control.Stats
	if err := l.ask(control.Request{Op: control.ShowStats}, &status); err != nil {
		t.Fatal(err)
	}
}

func TestNoticeOfANoticeIsDropped(t *testing.T) {
	_, port := startSink(t, func(rcpt string) error {
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "nobody"}
	})
	l := start(t, relayConf(port))
	l.mustSend("gone@elsewhere.example", []string{"no@b.example"}, "Subject: x\r\n\r\n")
	l.log.wait(t, 0, `warn: queue: double bounce! .* to=<gone@elsewhere.example>`)
	l.queue(0)
}

// What the next hop does not take yet stays, can be looked at, and is tried again at once
// when that is asked for.
func TestQueueCommands(t *testing.T) {
	var mu sync.Mutex
	busy := true
	s, port := startSink(t, func(string) error {
		mu.Lock()
		defer mu.Unlock()
		if busy {
			return &gosmtp.SMTPError{Code: 451, EnhancedCode: gosmtp.EnhancedCode{4, 7, 1}, Message: "come back"}
		}
		return nil
	})
	l := start(t, relayConf(port))
	l.mustSend("joe@example.org", []string{"a@b.example", "c@b.example"}, "Subject: later\r\n\r\nkept\r\n")
	l.log.wait(t, 0, `mta delivery .* to=<c@b.example> .* result="TempFail"`)

	e := l.queue(2)[0]
	if e.State != "pending" || e.Retry != 1 || e.Type != "mta" || !strings.Contains(e.ErrorLine, "451 4.7.1 come back") || e.LastTry == 0 {
		t.Errorf("entry %+v", e)
	}
	var text control.Text
	one := control.Request{Op: control.ShowEnvelope, First: e.ID, Last: e.ID}
	if err := l.ask(one, &text); err != nil || !strings.Contains(text.Text, "errorline: 451 4.7.1 come back\n") {
		t.Errorf("show envelope: %v\n%s", err, text.Text)
	}
	one.Op = control.ShowMessage
	if err := l.ask(one, &text); err != nil || !strings.HasSuffix(text.Text, "\n\nkept\n") {
		t.Errorf("show message: %v\n%s", err, text.Text)
	}
	var n control.Count
	one.Op = control.Remove
	if err := l.ask(one, &n); err != nil || n.N != 1 {
		t.Errorf("remove: %v, %d", err, n.N)
	}
	left := l.queue(1)[0]
	mu.Lock()
	busy = false
	mu.Unlock()
	if err := l.ask(control.Request{Op: control.Schedule, First: left.ID, Last: left.ID}, &n); err != nil || n.N != 1 {
		t.Errorf("schedule: %v, %d", err, n.N)
	}
	l.log.wait(t, 0, `mta delivery .* to=<`+regexp.QuoteMeta(left.Dest)+`> .* result="Ok"`)
	if got := s.messages(); len(got) != 1 || len(got[0].to) != 1 {
		t.Errorf("the sink got %+v", s.messages())
	}
}

// queueLine is a line of show queue.
type queueLine struct {
	ID                                                        envelope.ID
	Family, Type, Flags, Sender, Rcpt, Dest, State, ErrorLine string
	Created, Expires, LastTry, Retry, Seconds                 int64
}

// queue waits until that many envelopes are listed as waiting, and gives them.
func (l *lab) queue(n int) []queueLine {
	l.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		entries := l.listed()
		waiting := 0
		for i := range entries {
			if entries[i].State == "pending" {
				waiting++
			}
		}
		if waiting == n && len(entries) == n {
			return entries
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("%d entries, want %d", len(entries), n)
		}
	}
}

// listed gives what show queue prints, taken apart.
func (l *lab) listed() (entries []queueLine) {
	l.t.Helper()
	req := control.Request{Op: control.ShowQueue, Last: ^envelope.ID(0)}
	for {
		page := new(control.QueuePage)
		if err := l.ask(req, page); err != nil {
			l.t.Fatal(err)
		}
		for line := range strings.Lines(string(page.Lines)) {
			f := strings.SplitN(strings.TrimSuffix(line, "\n"), "|", 14)
			if len(f) != 14 {
				l.t.Fatalf("show queue printed %q", line)
			}
			id, err := envelope.ParseID(f[0])
			if err != nil {
				l.t.Fatal(err)
			}
			var n [5]int64
			for i, text := range [...]string{f[7], f[8], f[9], f[10], f[12]} {
				if n[i], err = strconv.ParseInt(text, 10, 64); err != nil {
					l.t.Fatal(err)
				}
			}
			entries = append(entries, queueLine{ID: id, Family: f[1], Type: f[2], Flags: f[3], Sender: f[4], Rcpt: f[5], Dest: f[6],
				Created: n[0], Expires: n[1], LastTry: n[2], Retry: n[3], State: f[11], Seconds: n[4], ErrorLine: f[13]})
		}
		if req.First = page.Next; req.First == 0 {
			return entries
		}
	}
}

func TestPause(t *testing.T) {
	l := start(t, localConf)
	for _, op := range []control.Op{control.PauseMDA, control.PauseMTA} {
		if err := l.ask(control.Request{Op: op}, nil); err != nil {
			t.Fatal(err)
		}
		if err := l.ask(control.Request{Op: op}, nil); err == nil {
			t.Error("paused twice")
		}
	}
	l.mustSend("ann@example.net", []string{"joe@example.org"}, "Subject: wait\r\n\r\n")
	var s control.Status
	if err := l.ask(control.Request{Op: control.ShowStatus}, &s); err != nil || !s.MDA || !s.MTA || s.SMTP {
		t.Errorf("status %+v, %v", s, err)
	}
	if err := l.ask(control.Request{Op: control.ResumeMDA}, nil); err != nil {
		t.Fatal(err)
	}
	l.log.wait(t, 0, `mda delivery .* result=Ok`)
	if err := l.ask(control.Request{Op: control.PauseSMTP}, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.send("ann@example.net", []string{"joe@example.org"}, "x\r\n"); err == nil {
		t.Error("accepted while paused")
	}
}

func TestReload(t *testing.T) {
	l := start(t, localConf)
	port := strings.TrimPrefix(l.addr, "127.0.0.1:")
	if err := l.send("a@example.net", []string{"joe@other.example"}, "x\r\n"); err == nil {
		t.Fatal("accepted for a domain that is not configured")
	}
	session, err := gosmtp.Dial(l.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if err := session.Hello("client.example"); err != nil {
		t.Fatal(err)
	}

	from := l.log.len()
	l.write(strings.ReplaceAll(localConf, "PORT", port) + "acton \"x\" relay\n")
	l.reload <- struct{}{}
	l.log.wait(t, from, `warn: configuration not reloaded: `)
	l.mustSend("a@example.net", []string{"joe@example.org"}, "x: y\r\n\r\n")

	from = l.log.len()
	l.write(strings.ReplaceAll(localConf, "PORT", port) + "match from any for domain \"other.example\" action \"local\"\n")
	l.reload <- struct{}{}
	l.log.wait(t, from, `info: configuration reloaded`)
	l.mustSend("a@example.net", []string{"joe@other.example"}, "x: y\r\n\r\n")
	l.log.wait(t, from, `mda delivery .* to=<joe@other.example> .* result=Ok`)
	if err := session.Mail("a@example.net", nil); err != nil {
		t.Errorf("a session from before the reload was cut: %v", err)
	}
}

func TestRestartKeepsTheQueue(t *testing.T) {
	l := start(t, localConf)
	if err := l.ask(control.Request{Op: control.PauseMDA}, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		l.mustSend("ann@example.net", []string{"joe@example.org"}, fmt.Sprintf("Subject: %d\r\n\r\n", i))
	}
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}
	segments, err := os.ReadDir(filepath.Join(l.dir, "spool", "journal"))
	if err != nil || len(segments) != 0 {
		t.Errorf("after a clean stop the journal holds %d files, %v", len(segments), err)
	}
	from := l.log.len()
	l.launch()
	stop := l.stop
	t.Cleanup(func() { _ = stop() })
	l.queue(20)
	if err := l.ask(control.Request{Op: control.ResumeMDA}, nil); err != nil { // a restart does not end a pause
		t.Fatal(err)
	}
	for range 20 {
		l.log.wait(t, from, `mda delivery .* result=Ok`)
	}
	for deadline := time.Now().Add(patience); len(l.maildir("joe")) < 20; {
		if time.Now().After(deadline) {
			t.Fatalf("%d of 20 messages", len(l.maildir("joe")))
		}
	}
}

func TestStartTLS(t *testing.T) {
	dir := t.TempDir()
	pool := makeCert(t, dir)
	l := start(t, `
pki mx.example.org cert "`+dir+`/cert.pem"
pki mx.example.org key "`+dir+`/key.pem"
listen on 127.0.0.1 port PORT tls-require pki mx.example.org
action "local" maildir userbase <people>
match from any tls for domain "example.org" action "local"
`)
	if err := l.send("a@example.net", []string{"joe@example.org"}, "x: y\r\n\r\n"); err == nil {
		t.Error("accepted without TLS")
	}
	c, err := gosmtp.DialStartTLS(l.addr, &tls.Config{ServerName: "mx.example.org", RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SendMail("a@example.net", []string{"joe@example.org"}, strings.NewReader("x: y\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	l.log.wait(t, 0, `smtp tls ciphers=TLSv1.3:`)
	l.log.wait(t, 0, `mda delivery .* result=Ok`)
	if got := l.maildir("joe"); !strings.Contains(got[0], "with ESMTPS id") {
		t.Errorf("no ESMTPS in:\n%s", got[0])
	}
}

func makeCert(t *testing.T, dir string) *x509.CertPool {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mx.example.org"},
		DNSNames: []string{"mx.example.org"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		var b bytes.Buffer
		if err := pem.Encode(&b, block); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool
}

// What cannot start says why in one line, and nothing is left behind.
func TestStartIsRefused(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for name, c := range map[string]struct{ conf, want string }{
		"port in use":   {fmt.Sprintf("listen on 127.0.0.1 port %d\naction \"a\" relay\nmatch for any action \"a\"\n", busy.Addr().(*net.TCPAddr).Port), "address already in use"},
		"missing table": {"table t file:/nonexistent/table\naction \"a\" relay\nmatch for domain <t> action \"a\"\n", "/nonexistent/table"},
		"unsupported":   {"filter f proc-exec x\naction \"a\" relay host lmtp://x:24 filter f\nmatch for any action \"a\"\n", "not supported yet"},
		"missing key":   {"pki x.example cert \"/nonexistent/cert\"\npki x.example key \"/nonexistent/key\"\naction \"a\" relay\nmatch for any action \"a\"\n", "/nonexistent/cert"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			conf := filepath.Join(dir, "smtpd.conf")
			if err := os.WriteFile(conf, []byte(c.conf), 0o600); err != nil {
				t.Fatal(err)
			}
			log := &watch{more: make(chan struct{})}
			logger := trace.New(log)
			err := Run(t.Context(), Options{Version: "test", ConfigFile: conf, Spool: filepath.Join(dir, "spool"), Socket: filepath.Join(dir, "sock"),
				Facts: platform.Current(), Log: logger, Sink: log, InProcess: true, Spawn: Goroutines("test")})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if _, err := os.Stat(filepath.Join(dir, "sock")); err == nil {
				t.Error("the control socket was left behind")
			}
		})
	}
}

// A message whose client goes away before its end is nobody's: the client sends it again.
func TestCutMessageIsNotKept(t *testing.T) {
	l := start(t, localConf)
	for _, part := range []string{"", "S", "Subject: x\r\n", "Subject: x\r\n\r\nhalf of the te", "Subject: x\r\n\r\ntext\r\n.", "Subject: x\r\n\r\ntext\r\n.\r"} {
		from := l.log.len()
		nc, err := net.Dial("tcp", l.addr)
		if err != nil {
			t.Fatal(err)
		}
		await := func(code string) {
			t.Helper()
			for got := ""; !strings.Contains(got, code); {
				b := make([]byte, 4096)
				n, err := nc.Read(b)
				if err != nil {
					t.Fatalf("no %s: %v (%q)", code, err, got)
				}
				got += string(b[:n])
			}
		}
		await("220 ") // who talks before is refused
		fmt.Fprintf(nc, "EHLO client.example\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<joe@example.org>\r\nDATA\r\n%s", part)
		await("354 ") // the text is on its way then
		nc.Close()
		l.log.wait(t, from, `smtp disconnected reason=(disconnect|"io-error)`)
	}
	l.mustSend("a@example.net", []string{"joe@example.org"}, "Subject: whole\r\n\r\n")
	l.log.wait(t, 0, `mda delivery .* result=Ok`)
	l.queue(0)
	if got := l.maildir("joe"); len(got) != 1 || !strings.Contains(got[0], "Subject: whole") {
		t.Errorf("kept: %q", got)
	}
}

// A message in a loop collects fields; those beyond the first buffer count as well.
func TestLoopInALongHeader(t *testing.T) {
	l := start(t, localConf)
	hop := "Received: from x by y; " + strings.Repeat("z", 900) + "\r\nX-Seal: " + strings.Repeat("s", 900) + "\r\n"
	err := l.send("a@example.net", []string{"joe@example.org"}, strings.Repeat(hop, 100)+"\r\ntext\r\n")
	var reply *gosmtp.SMTPError
	if !errors.As(err, &reply) || reply.Code != 554 || reply.EnhancedCode != (gosmtp.EnhancedCode{5, 4, 6}) {
		t.Errorf("a loop of 100 hops: %v", err)
	}
	l.mustSend("a@example.net", []string{"joe@example.org"}, strings.Repeat(hop, 99)+"Subject: far\r\n\r\ntext\r\n")
	l.log.wait(t, 0, `mda delivery .* result=Ok`)
	err = l.send("a@example.net", []string{"joe@example.org"}, strings.Repeat("X: "+strings.Repeat("y", 500)+"\r\n", 1200)+"\r\n")
	if !errors.As(err, &reply) || reply.Code != 552 {
		t.Errorf("an endless header: %v", err)
	}
}
