package daemon

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/trace"
	"github.com/godwit-mta/godwit/platform"
)

// hop is a server that mail is relayed to. With a password it wants AUTH.
type hop struct {
	port     int
	password string
	refuse   error

	mu    sync.Mutex
	got   []received
	names []string // in EHLO, one for each message
	// secured tells the version, the suite and the name of the client's certificate of each
	// session that began with TLS.
	secured []string
}

type hopSession struct {
	h    *hop
	conn *gosmtp.Conn
	ok   bool
	m    received
}

func (h *hop) NewSession(c *gosmtp.Conn) (gosmtp.Session, error) {
	if s, ok := c.TLSConnectionState(); ok {
		name := "nobody"
		if len(s.PeerCertificates) > 0 {
			name = s.PeerCertificates[0].Subject.CommonName
		}
		h.mu.Lock()
		h.secured = append(h.secured, tls.VersionName(s.Version)+" "+tls.CipherSuiteName(s.CipherSuite)+" "+name)
		h.mu.Unlock()
	}
	return &hopSession{h: h, conn: c}, nil
}

func (s *hopSession) Reset()        { s.m = received{} }
func (s *hopSession) Logout() error { return nil }
func (s *hopSession) Mail(from string, _ *gosmtp.MailOptions) error {
	if s.h.password != "" && !s.ok {
		return gosmtp.ErrAuthRequired
	}
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.m.from = from
	return s.h.refuse
}
func (s *hopSession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	s.m.to = append(s.m.to, to)
	return nil
}
func (s *hopSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.m.body = string(b)
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.h.got, s.h.names = append(s.h.got, s.m), append(s.h.names, s.conn.Hostname())
	return nil
}
func (s *hopSession) AuthMechanisms() []string {
	if s.h.password == "" {
		return nil
	}
	return []string{sasl.Plain}
}
func (s *hopSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if s.ok = user == "joe" && password == s.h.password; !s.ok {
			return gosmtp.ErrAuthFailed
		}
		return nil
	}), nil
}

// take gives the recipients of each message so far, and forgets them.
func (h *hop) take() (out []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.got {
		slices.Sort(m.to)
		out = append(out, strings.Join(m.to, " "))
	}
	h.got = nil
	return out
}

// sessions gives the sessions that began with TLS.
func (h *hop) sessions() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.secured)
}

// said gives the names in EHLO.
func (h *hop) said() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.names)
}

// startHop runs a server: cert is for STARTTLS, or with smtps for TLS from the first byte.
func startHop(t *testing.T, h *hop, cert *tls.Config, smtps bool) *hop {
	t.Helper()
	server := gosmtp.NewServer(h)
	server.Domain = "hop.example.net"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.port = l.Addr().(*net.TCPAddr).Port
	if smtps {
		l = tls.NewListener(l, cert)
	} else {
		server.TLSConfig = cert
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	return h
}

// loopbackCert makes a certificate for 127.0.0.1 and files of it and its key.
func loopbackCert(t *testing.T, dir string) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"hop.pem": {Type: "CERTIFICATE", Bytes: der}, "hop.key": {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// table writes a file of the lab's directory.
func (l *lab) table(name, content string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), []byte(content), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// update has a table read again.
func (l *lab) update(name string) {
	l.t.Helper()
	if err := l.ask(control.Request{Op: control.UpdateTable, Name: name}, nil); err != nil {
		l.t.Fatal(err)
	}
}

// startWith is start with files that are there before.
func startWith(t *testing.T, files map[string]string, conf string) *lab {
	t.Helper()
	l := newLab(t, nil, conf)
	for name, content := range files {
		l.table(name, content)
	}
	l.begin()
	return l
}

const domainConf = localConf + `
table rmap "DIR/rmap"
table secrets "DIR/secrets"
action "out" relay domain <rmap> auth <secrets>
match from any for any action "out"
`

// Recipients of a message that the table sends to one server share a transaction. A change
// of the table counts for the next message; a domain that it does not have waits.
func TestRelayDomainTable(t *testing.T) {
	one, two, three := startHop(t, &hop{}, nil, false), startHop(t, &hop{}, nil, false), startHop(t, &hop{}, nil, false)
	table := fmt.Sprintf("a.example smtp://127.0.0.1:%[1]d\n*.wild.example smtp://127.0.0.1:%[2]d\nb.wild.example smtp://127.0.0.1:%[1]d\n",
		one.port, two.port)
	l := startWith(t, map[string]string{"rmap": table + fmt.Sprintf("* smtp://127.0.0.1:%d\n", three.port), "secrets": ""}, domainConf)
	l.mustSend("joe@example.net", []string{"1@a.example", "2@x.wild.example", "3@b.wild.example", "4@c.example", "5@deep.x.wild.example",
		"6@wild.example", "7@d.example", "8@A.example", "9@[192.0.2.1]"}, "Subject: x\r\n\r\n")
	for _, rcpt := range []string{"1@a.example", "2@x.wild.example", "4@c.example"} {
		l.log.wait(t, 0, `mta delivery .* to=<`+rcpt+`> .* result="Ok"`)
	}
	for i, want := range []string{"1@a.example 3@b.wild.example 8@a.example", "2@x.wild.example 5@deep.x.wild.example",
		"4@c.example 6@wild.example 7@d.example 9@[192.0.2.1]"} {
		if got := []*hop{one, two, three}[i].take(); len(got) != 1 || got[0] != want {
			t.Errorf("server %d got %q, want %q", i+1, got, want)
		}
	}

	l.table("rmap", table)
	l.update("rmap")
	from := l.log.len()
	l.mustSend("joe@example.net", []string{"1@c.example", "2@a.example"}, "Subject: y\r\n\r\n")
	l.log.wait(t, from, `mta delivery .* to=<2@a.example> .* result="Ok"`)
	l.log.wait(t, from, `warn: relay: action "out": message [0-9a-f]{8}: Cannot retrieve smarthost: table <rmap>: it has nothing for c.example`)
	l.log.wait(t, from, `mta delivery .* to=<1@c.example> .* result="TempFail" stat="Cannot retrieve smarthost`)
	e := l.queue(1)[0]
	if !strings.HasPrefix(e.ErrorLine, "Cannot retrieve smarthost: ") || e.Retry != 1 {
		t.Errorf("entry %+v", e)
	}

	l.table("rmap", table+"c.example not a url\n")
	if err := l.ask(control.Request{Op: control.UpdateTable, Name: "rmap"}, nil); err == nil || !strings.Contains(err.Error(), "rmap:4: invalid relay URL") {
		t.Errorf("a bad URL was taken: %v", err)
	}
	l.table("rmap", table+fmt.Sprintf("@ smtp://127.0.0.1:%d\n", two.port))
	l.update("rmap")
	l.retry(e.ID)
	l.log.wait(t, from, `mta delivery .* to=<1@c.example> .* result="Ok"`)
	if got := two.take(); len(got) != 1 || got[0] != "1@c.example" {
		t.Errorf("server 2 got %q", got)
	}
}

// retry tries an envelope at once.
func (l *lab) retry(id envelope.ID) {
	l.t.Helper()
	var n control.Count
	if err := l.ask(control.Request{Op: control.Schedule, First: id, Last: id}, &n); err != nil || n.N != 1 {
		l.t.Fatalf("schedule: %v, %d", err, n.N)
	}
}

// A relay map of 2012: three servers, three ways to talk to them. The password changes while
// the server runs and is never seen in the log.
func TestRelayMapOf2012(t *testing.T) {
	dir := t.TempDir()
	cert := loopbackCert(t, dir)
	one, two := startHop(t, &hop{}, cert, true), startHop(t, &hop{}, cert, false)
	three := startHop(t, &hop{password: "open sesame"}, cert, true)
	four := startHop(t, &hop{password: "open sesame"}, cert, false)
	l := startWith(t, map[string]string{"secrets": "127.0.0.1 joe:wrong guess\nlab joe:open sesame\n",
		"rmap": fmt.Sprintf("a.example smtps://127.0.0.1:%d\nb.example tls://127.0.0.1:%d\nc.example smtps+auth://127.0.0.1:%d\nd.example secure+auth://lab@127.0.0.1:%d\n",
			one.port, two.port, three.port, four.port)},
		"ca corp cert \""+dir+"/hop.pem\"\n"+strings.Replace(domainConf, "relay domain", "relay ca corp domain", 1))
	l.mustSend("joe@example.net", []string{"1@a.example", "2@b.example", "4@d.example"}, "Subject: x\r\n\r\n")
	for _, rcpt := range []string{"1@a.example", "2@b.example", "4@d.example"} {
		l.log.wait(t, 0, `mta delivery .* to=<`+rcpt+`> .* result="Ok"`)
	}
	l.log.wait(t, 0, `mta cert-check result="valid"`)
	l.mustSend("joe@example.net", []string{"3@c.example"}, "Subject: x\r\n\r\n")
	l.log.wait(t, 0, `mta delivery .* to=<3@c.example> .* result="TempFail" stat="535 `)
	e := l.queue(1)[0]

	l.table("secrets", "127.0.0.1 joe:open sesame\n")
	l.update("secrets")
	l.retry(e.ID)
	l.log.wait(t, 0, `mta delivery .* to=<3@c.example> .* result="Ok"`)

	from := l.log.len()
	l.mustSend("joe@example.net", []string{"5@d.example"}, "Subject: y\r\n\r\n")
	l.log.wait(t, from, `stat="Could not retrieve credentials: table <secrets> has nothing for lab`)
	l.table("secrets", "127.0.0.1 joe:open sesame\nlab noseparator\n")
	l.update("secrets")
	l.retry(l.queue(1)[0].ID)
	l.log.wait(t, from, `stat="Could not retrieve credentials: .* is not USER:PASSWORD`)
	var text control.Text
	if err := l.ask(control.Request{Op: control.ShowRelays}, &text); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"sesame", "guess", "noseparator", "am9l"} {
		if l.log.has(secret) || strings.Contains(text.Text, secret) {
			t.Errorf("%q is in the log or in %q", secret, text.Text)
		}
	}
}

// Several servers take turns, and what one refuses for now goes to another one next.
func TestRelayHostTable(t *testing.T) {
	busy := &gosmtp.SMTPError{Code: 451, EnhancedCode: gosmtp.EnhancedCode{4, 7, 1}, Message: "come back"}
	one, two := startHop(t, &hop{}, nil, false), startHop(t, &hop{refuse: busy}, nil, false)
	l := startWith(t, map[string]string{"hosts": fmt.Sprintf("smtp://127.0.0.1:%d\nsmtp://127.0.0.1:%d\n", one.port, two.port)}, localConf+`
table hosts "DIR/hosts"
action "out" relay host <hosts>
match from any for any action "out"
`)
	for i := range 4 {
		from := l.log.len()
		l.mustSend("joe@example.net", []string{fmt.Sprintf("%d@a.example", i), fmt.Sprintf("%d@b.example", i)}, "Subject: x\r\n\r\n")
		l.log.wait(t, from, fmt.Sprintf(`mta delivery .* to=<%d@b.example>`, i))
	}
	if got := one.take(); len(got) != 2 || got[0] != "0@a.example 0@b.example" || got[1] != "2@a.example 2@b.example" {
		t.Errorf("server 1 got %q", got)
	}
	for _, e := range l.queue(4) {
		if !strings.Contains(e.ErrorLine, "451 4.7.1 come back") {
			t.Errorf("entry %+v", e)
		}
		l.retry(e.ID)
	}
	for _, rcpt := range []string{"1@a", "1@b", "3@a", "3@b"} {
		l.log.wait(t, 0, `mta delivery .* to=<`+rcpt+`.example> .* result="Ok"`)
	}
	if got := two.take(); len(got) != 0 {
		t.Errorf("server 2 got %q", got)
	}
}

// A server of a list that is dead is passed over: its mail does not wait for another attempt.
func TestRelayDeadHost(t *testing.T) {
	alive := startHop(t, &hop{}, nil, false)
	dead := fmt.Sprintf("smtp://127.0.0.2:%d", alive.port) // where it does not listen
	l := startWith(t, map[string]string{"hosts": fmt.Sprintf("%s\nsmtp://127.0.0.1:%d\n", dead, alive.port)}, localConf+`
table hosts "DIR/hosts"
action "out" relay host <hosts>
match from any for any action "out"
`)
	for i := range 6 {
		l.mustSend("joe@example.net", []string{fmt.Sprintf("%d@a.example", i)}, "Subject: x\r\n\r\n")
	}
	for i := range 6 {
		l.log.wait(t, 0, fmt.Sprintf(`mta delivery .* to=<%d@a.example> .* result="Ok"`, i))
	}
	l.log.wait(t, 0, fmt.Sprintf(`smtp-out: Passing over smtp://\[127.0.0.2\]:%d for 15s`, alive.port))
	if got := alive.take(); len(got) != 6 {
		t.Errorf("%q", got)
	}
}

// A pause of a destination stays through a restart, and until somebody resumes it.
func TestRelayPauseSurvives(t *testing.T) {
	h := startHop(t, &hop{}, nil, false)
	l := startWith(t, nil, localConf+fmt.Sprintf(`
action "out" relay host smtp://127.0.0.1:%d
match from any for any action "out"
`, h.port))
	block := control.Request{Op: control.BlockMTA, Domain: "127.0.0.1"}
	if err := l.ask(block, nil); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []control.Request{block, {Op: control.BlockMTA}, {Op: control.BlockMTA, Domain: "a b"},
		{Op: control.BlockMTA, Source: "nowhere"}, {Op: control.UnblockMTA, Domain: "a.example"}} {
		if err := l.ask(bad, nil); err == nil {
			t.Errorf("%+v was done", bad)
		}
	}
	l.relaunch()
	var shown control.Text
	if err := l.ask(control.Request{Op: control.ShowBlocks}, &shown); err != nil || shown.Text != "* -> 127.0.0.1\n" {
		t.Errorf("%q %v", shown.Text, err)
	}
	l.mustSend("joe@example.net", []string{"u@a.example"}, "Subject: x\r\n\r\n")
	l.log.wait(t, 0, `mta delivery .* result="TempFail"`)
	block.Op = control.UnblockMTA
	if err := l.ask(block, nil); err != nil {
		t.Fatal(err)
	}
	l.log.wait(t, 0, `mta delivery .* result="Ok"`)
	l.relaunch()
	if err := l.ask(control.Request{Op: control.ShowBlocks}, &shown); err != nil || shown.Text != "" {
		t.Errorf("%q %v", shown.Text, err)
	}
}

func TestPartBlock(t *testing.T) {
	for part, good := range map[string]bool{"mta/*/example.com": true, "mta/192.0.2.1/*": true, "mta/2001:db8::1/example.com": true,
		"mta/*/*": false, "mta": false, "mta//": false, "mta/x/example.com": false, "mda/*/example.com": false, "mta/*/a/b": false} {
		b, ok := partBlock(part)
		if ok != good || ok && blockPart(b) != part {
			t.Errorf("%s: %v %t", part, b, ok)
		}
	}
}

func TestHostsToAvoid(t *testing.T) {
	req := &routeRequest{Avoid: []string{"smtp://b.example"}, Probe: "smtp://c.example"}
	for url, want := range map[string]int{"C.example": 4, "smtp://a.example": 3, "smtp://last.example": 2, "b.example": 1} {
		if got := valueOf(url, "smtp://last.example", req); got != want {
			t.Errorf("%s: %d, want %d", url, got, want)
		}
	}
}

// relayProgram is a table program in the language of sh. It answers for every domain but slow.example.
const relayProgram = `#!/bin/sh
while IFS='|' read -r verb version time name request service id key; do
	case "$verb $version $request" in
	"config ready "*) echo 'register|relayhost'; echo 'register|ready' ;;
	"table 0.1 lookup") [ "$key" = slow.example ] || echo "lookup-result|$id|found|smtp://127.0.0.1:RELAY" ;;
	"table 0.1 update") echo "update-result|$service|ok" ;;
	esac
done
`

// A program that does not answer holds up the mail that it was asked about, and no other:
// neither that of other actions nor what it answers for itself.
func TestSlowRelayProgram(t *testing.T) {
	h := startHop(t, &hop{}, nil, false)
	l := newLab(t, nil, localConf+fmt.Sprintf(`
table turtle "turtle:/nothing"
action "slow" relay domain <turtle>
action "out" relay host "smtp://127.0.0.1:%d"
match from any for domain { "slow.example", "fast.example" } action "slow"
match from any for any action "out"
`, h.port))
	if err := os.Mkdir(filepath.Join(l.dir, "libexec"), 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(l.dir, "libexec", "table-turtle")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(relayProgram, "RELAY", fmt.Sprint(h.port))), 0o700); err != nil {
		t.Fatal(err)
	}
	l.begin()
	l.mustSend("joe@example.net", []string{"1@slow.example"}, "Subject: x\r\n\r\n")
	l.mustSend("joe@example.net", []string{"2@fast.example"}, "Subject: x\r\n\r\n")
	l.mustSend("joe@example.net", []string{"3@other.example"}, "Subject: x\r\n\r\n")
	l.log.wait(t, 0, `mta delivery .* to=<2@fast.example> .* result="Ok"`)
	l.log.wait(t, 0, `mta delivery .* to=<3@other.example> .* result="Ok"`)
	if l.log.has("to=<1@slow.example> rcpt=<-> source") {
		t.Error("the slow table was not slow")
	}
}

func TestRelaySources(t *testing.T) {
	h := startHop(t, &hop{}, nil, false)
	l := startWith(t, map[string]string{"sources": "127.0.0.1\n", "names": "127.0.0.1 out.example.org\n"}, localConf+fmt.Sprintf(`
table sources "DIR/sources"
table names "DIR/names"
action "out" relay host "smtp://127.0.0.1:%[1]d" src <sources> helo-src <names>
action "any" relay host "smtp://127.0.0.1:%[1]d" helo "usual.example.org" helo-src <names>
match from any for domain "any.example" action "any"
match from any for any action "out"
`, h.port))
	send := func(rcpt string) {
		from := l.log.len()
		l.mustSend("joe@example.net", []string{rcpt}, "Subject: x\r\n\r\n")
		l.log.wait(t, from, `mta delivery .* to=<`+rcpt+`>`)
	}
	send("1@a.example")
	send("2@any.example")
	l.table("names", "127.0.0.1 new.example.org\n")
	l.update("names")
	send("3@a.example")
	l.table("names", "192.0.2.1 other.example.org\n")
	l.update("names")
	send("4@a.example")
	send("5@any.example")
	if want := []string{"out.example.org", "out.example.org", "new.example.org", "mx.example.org", "usual.example.org"}; !slices.Equal(h.said(), want) {
		t.Errorf("names %q, want %q", h.said(), want)
	}
	l.table("sources", "# none any more\n")
	l.update("sources")
	from := l.log.len()
	send("6@a.example")
	l.log.wait(t, from, `stat="Could not retrieve source address: table <sources>: there is none"`)
	l.table("sources", "localhost\n")
	if err := l.ask(control.Request{Op: control.UpdateTable, Name: "sources"}, nil); err == nil || !strings.Contains(err.Error(), `sources:1: invalid source address "localhost"`) {
		t.Errorf("a name was taken for an address: %v", err)
	}
}

// The certificate of an action is shown by the key in the crypto process; versions and
// suites are those of the action.
func TestRelayTLSOptions(t *testing.T) {
	dir := t.TempDir()
	makeCert(t, dir)
	cert := loopbackCert(t, dir)
	cert.ClientAuth = tls.RequestClientCert
	one, two := startHop(t, &hop{password: "x"}, cert, true), startHop(t, &hop{}, cert, true)
	l := start(t, fmt.Sprintf(`
pki mx.example.org cert "%[1]s/cert.pem" key "%[1]s/key.pem"
listen on 127.0.0.1 port PORT
action "shown" relay host "smtps+auth://l@127.0.0.1:%[2]d" auth { l = "joe:x" } pki mx.example.org
action "old" relay host "smtps://127.0.0.1:%[3]d" tls no-verify protocols "tlsv1.2" ciphers "AES128-SHA:ECDHE-ECDSA-AES256-SHA"
action "none" relay host "smtps://127.0.0.1:%[3]d" tls no-verify ciphers "AES256-SHA" protocols "!tlsv1.3"
match from any for domain "shown.example" action "shown"
match from any for domain "old.example" action "old"
match from any for domain "none.example" action "none"
`, dir, one.port, two.port))
	send := func(rcpt, result string) {
		from := l.log.len()
		l.mustSend("joe@example.net", []string{rcpt}, "Subject: x\r\n\r\n")
		l.log.wait(t, from, `mta delivery .* to=<`+rcpt+`> .* result="`+result)
	}
	send("1@shown.example", "Ok")
	send("2@old.example", "Ok")
	send("3@none.example", "TempFail")
	for i, want := range []string{"TLS 1.3 TLS_AES_128_GCM_SHA256 mx.example.org", "TLS 1.2 TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA nobody"} {
		if got := []*hop{one, two}[i].sessions(); len(got) != 1 || got[0] != want {
			t.Errorf("sessions %q, want %q", got, want)
		}
	}
}

func TestRelayKeys(t *testing.T) {
	for in, want := range map[string]string{
		"A.b.Example": "a.b.example *.b.example *.example * @",
		"example":     "example * @",
		"[192.0.2.1]": "[192.0.2.1] * @",
		"":            " * @",
	} {
		if got := strings.Join(relayKeys(in), " "); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestHostTurns(t *testing.T) {
	var turns hostTurns
	for i := range 3 * mostTurns {
		turns.note(turn{envelope.MessageID(i), i % 3}, fmt.Sprint(i))
		if n := len(turns.now) + len(turns.old); n > 2*mostTurns {
			t.Fatalf("%d remembered", n)
		}
	}
	if got := turns.get(turn{3*mostTurns - 1, 2}); got != fmt.Sprint(3*mostTurns-1) {
		t.Errorf("the last message was tried with %q", got)
	}
	if got := turns.get(turn{}); got != "" {
		t.Errorf("the first message is remembered: %q", got)
	}
}

// startError gives why a configuration is refused at start.
func startError(t *testing.T, conf string) error {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "smtpd.conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	log := &watch{more: make(chan struct{})}
	return Run(t.Context(), Options{Version: "test", ConfigFile: path, Spool: filepath.Join(dir, "spool"), Socket: filepath.Join(dir, "sock"),
		Facts: platform.Current(), Log: trace.New(log), Sink: log, InProcess: true, Spawn: Goroutines("test")})
}

// Files that cannot work are refused with their place.
func TestBadRelayTables(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ content, option, want string }{
		"scheme": {"a.example smtp://b\nc.example http://d\n", "domain <t>", `t:2: invalid relay URL "http://d"`},
		"list":   {"smtps://b:465\nlmtp://d\n", "host <t>", `t:2: invalid relay URL "lmtp://d"`},
		"source": {"192.0.2.1\nhost.example\n", "src <t>", `t:2: invalid source address "host.example"`},
		"auth":   {"a\nb\n", "host \"smtps://a@x.example\" auth <t>", "credentials needs a mapping"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(dir, "t"), []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			err := startError(t, "table t \""+dir+"/t\"\naction \"a\" relay "+c.option+"\nmatch for any action \"a\"\n")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}
