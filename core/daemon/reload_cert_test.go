package daemon

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestReloadCertificates: sessions go on over a reload, handshakes after it show the new
// certificate, and one that is of no use changes nothing.
func TestReloadCertificates(t *testing.T) {
	ca, dir := newIssuer(t), t.TempDir()
	issue := func() {
		ca.files(dir, "mx", ca.sign(&x509.Certificate{DNSNames: []string{"mx.example.org"}}))
	}
	issue()
	l := start(t, `pki mx.example.org cert "`+dir+`/mx.pem" key "`+dir+`/mx.key"
listen on 127.0.0.1 port PORT smtps pki mx.example.org
action "local" maildir userbase <people>
match from any for domain "example.org" action "local"
`)
	cache := tls.NewLRUClientSessionCache(4)
	dial := func() (*tls.Conn, *bufio.Reader) {
		t.Helper()
		conn, err := tls.Dial("tcp", l.addr, &tls.Config{ServerName: "mx.example.org", RootCAs: ca.pool(), ClientSessionCache: cache})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(patience))
		r := bufio.NewReader(conn)
		if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "220") {
			t.Fatalf("banner %q, %v", line, err)
		}
		return conn, r
	}
	serial := func() string {
		t.Helper()
		conn, _ := dial()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	reload := func(want string) {
		t.Helper()
		from := l.log.len()
		l.reload <- struct{}{}
		l.log.wait(t, from, want)
	}
	running, answers := dial()
	first := serial()
	issue()
	if serial() != first {
		t.Error("a file that changed is used before the reload")
	}
	reload("info: configuration reloaded")
	second := serial()
	if second == first {
		t.Error("the old certificate is shown after the reload, or a session of before is resumed")
	}

	good, err := os.ReadFile(filepath.Join(dir, "mx.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"no certificate": "rubbish\n", "the key does not belong": string(must(os.ReadFile(ca.file))), "no such file": ""} {
		path := filepath.Join(dir, "mx.pem")
		if text == "" {
			err = os.Remove(path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		reload("warn: configuration not reloaded: pki mx.example.org: .*" + name)
		if serial() != second {
			t.Errorf("%s: another certificate is shown", name)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "mx.pem"), good, 0o600); err != nil {
		t.Fatal(err)
	}
	reload("info: configuration reloaded")
	if _, err := io.WriteString(running, "EHLO client.test\r\nQUIT\r\n"); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(answers); err != nil || !strings.Contains(string(said), "221 2.0.0 Bye") {
		t.Errorf("the session of before the reloads: %q, %v", said, err)
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}
