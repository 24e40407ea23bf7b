package torture

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/ci/e2e/testdns"
)

// zone has the four servers and the one that takes notices.
const zone = `
s0.test. MX 10 mx.s0.test.
mx.s0.test. A 127.0.0.2
s1.test. MX 10 mx.s1.test.
mx.s1.test. A 127.0.0.3
s2.test. MX 10 mx.s2.test.
mx.s2.test. A 127.0.0.8
s3.test. MX 10 mx.s3.test.
mx.s3.test. A 127.0.0.5
back.test. MX 10 mx.back.test.
mx.back.test. A 127.0.0.6
client.test. A 127.0.0.9
1.0.0.127.in-addr.arpa. PTR client.test.
`

// conf has every kind of recipient, and no waits between connections.
const conf = `
pki mx.godwit.test cert "DIR/cert.pem"
pki mx.godwit.test key "DIR/key.pem"
table users file:DIR/users
table aliases { list = "carol,list@s0.test", "any@list.test" = "x" }
table catch { "@catch.test" = "alice" }
table program test:DIR/table
smtp max-message-size 35M
queue schedule 2s, 5s, 10s
mta limit conn-delay-route 0 conn-delay-relay 0 session-keepalive 1
listen on ADDR port 25 hostname mx.godwit.test
listen on ADDR port 587 hostname mx.godwit.test tls-require pki mx.godwit.test auth-optional <users>
action "box" maildir "DIR/box/%{user.username}" alias <aliases>
action "catch" maildir "DIR/catch/%{user.username}" virtual <catch>
action "table" maildir "DIR/box/%{user.username}" virtual <program>
action "mbox" mbox
action "pipe" mda "DIR/pipe DIR/piped"
action "lmtp" lmtp "127.0.0.7:24" rcpt-to
action "dove" lmtp "127.0.0.10:24" rcpt-to
action "out" relay
match from any for domain "box.test" action "box"
match from any for domain "catch.test" action "catch"
match from any for domain "table.test" action "table"
match from any for domain "mbox.test" action "mbox"
match from any for domain "pipe.test" action "pipe"
match from any for domain "lmtp.test" action "lmtp"
match from any for domain "dove.test" action "dove"
match from any for any action "out"
`

// pipe is the command of a user: it has a message when it is synced and has its last name.
const pipe = `#!/bin/sh
f=$(mktemp "$1/XXXXXXXXXX") && cat >"$f" && sync "$f" && mv "$f" "$f.whole"
`

// world is what is around the daemons of a test.
type world struct {
	t     *testing.T
	j     *journal
	dns   *testdns.Server
	sinks map[string]*sink
	mu    sync.Mutex
	n     int // daemons that were made
	last  int // number of a message
	smtpd string
	doves string // mailboxes of Dovecot, if it runs
}

func newWorld(t *testing.T) *world {
	t.Helper()
	inside(t)
	w := &world{t: t, smtpd: program("smtpd"), sinks: make(map[string]*sink)}
	w.j = newJournal(t, "/dev/shm/journal") // memory
	w.resolve(true)
	t.Cleanup(func() { w.resolve(false) })
	for name, m := range map[string]manner{"127.0.0.2:25": kind, "127.0.0.3:25": busy, "127.0.0.8:25": strict, "127.0.0.5:25": rude,
		"127.0.0.6:25": returned, "127.0.0.7:24": local} {
		w.sinks[name] = startSink(t, w.j, "tcp", name, m)
	}
	home := filepath.Join(top(), "home", "bob")
	must(t, os.WriteFile(filepath.Join(home, ".forward"), []byte("fwd@s0.test\n"), 0o644))
	must(t, os.Chown(filepath.Join(home, ".forward"), 7012, 7012))
	must(t, os.RemoveAll("/var/mail/carol"))
	return w
}

// resolve starts or ends the name server.
func (w *world) resolve(on bool) {
	if !on {
		if w.dns != nil {
			_ = w.dns.Close()
			w.dns = nil
		}
		return
	}
	var err error
	if !within(5*time.Second, func() bool { w.dns, err = testdns.Start("127.0.0.1:53", zone); return err == nil }) {
		w.t.Errorf("name server: %v", err)
	}
}

// server prepares a daemon with an address, a spool and mailboxes of its own.
func (w *world) server(t *testing.T) *server {
	t.Helper()
	dir, err := os.MkdirTemp(filepath.Join(top(), "run"), "")
	must(t, err)
	must(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() {
		if !t.Failed() {
			_ = os.RemoveAll(dir)
		}
	})
	w.mu.Lock()
	w.n++
	n := w.n
	w.mu.Unlock()
	d := &server{t: t, smtpd: w.smtpd, doves: w.doves, dir: dir, conf: filepath.Join(dir, "smtpd.conf"), spool: filepath.Join(dir, "spool"),
		sock: filepath.Join(dir, "sock"), log: filepath.Join(dir, "log"), addr: fmt.Sprintf("127.0.1.%d", 1+n%250)}
	text := strings.NewReplacer("DIR", dir, "ADDR", d.addr).Replace(conf)
	must(t, os.WriteFile(d.conf, []byte(text), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "table"), []byte("key@table.test table@s0.test\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "pipe"), []byte(pipe), 0o755))
	hash, err := exec.Command(program("smtpctl"), "encrypt", "annpw").Output()
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "users"), []byte("ann\t"+string(hash)), 0o644))
	for _, name := range []string{"box", "catch", "piped"} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
		must(t, os.Chmod(filepath.Join(dir, name), 0o1777))
	}
	certificate(t, dir)
	return d
}

// certificate makes a key and a certificate.
func certificate(t *testing.T, dir string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mx.godwit.test"},
		DNSNames: []string{"mx.godwit.test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
		must(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
}
