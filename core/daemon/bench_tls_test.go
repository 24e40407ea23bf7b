package daemon

import (
	"bufio"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/compat/reexec"
	"github.com/godwit-mta/godwit/core/ipc"
)

// BenchmarkStartTLS is a session that does nothing but STARTTLS and QUIT, the client's half
// included. The key is in the crypto role, over a socket.
func BenchmarkStartTLS(b *testing.B) {
	ca, dir := newIssuer(b), b.TempDir()
	ca.files(dir, "mx", ca.sign(&x509.Certificate{DNSNames: []string{"mx.example.org"}}))
	l := start(b, `pki mx.example.org cert "`+dir+`/mx.pem" key "`+dir+`/mx.key"
listen on 127.0.0.1 port PORT tls pki mx.example.org
action "local" maildir userbase <people>
match from any for domain "example.org" action "local"
`)
	for name, config := range map[string]*tls.Config{
		"full":    {InsecureSkipVerify: true},
		"resumed": {InsecureSkipVerify: true, ServerName: "mx.example.org", ClientSessionCache: tls.NewLRUClientSessionCache(4)},
		"x25519":  {InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}},
		"plain":   nil,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := startTLSAndQuit(l.addr, config); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func startTLSAndQuit(addr string, config *tls.Config) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	ask := func(line string) error {
		if _, err := io.WriteString(conn, line); err != nil {
			return err
		}
		for {
			if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line[3:], "-") {
				return err
			}
		}
	}
	if err = ask(""); err == nil {
		err = ask("EHLO client.test\r\n")
	}
	if config != nil && err == nil {
		if err = ask("STARTTLS\r\n"); err != nil {
			return err
		}
		conn = tls.Client(conn, config)
		r = bufio.NewReader(conn)
		err = ask("EHLO client.test\r\n")
	}
	if err == nil {
		err = ask("QUIT\r\n")
	}
	return err
}

// BenchmarkSign is what a handshake asks of a key, here and in the crypto role.
func BenchmarkSign(b *testing.B) {
	pair := newIssuer(b).sign(&x509.Certificate{DNSNames: []string{"mx.example.org"}})
	one, other, err := reexec.Socketpair()
	if err != nil {
		b.Fatal(err)
	}
	c := newCrypto(&member{})
	c.keys.add(1, keyring{"mx": pair.PrivateKey.(crypto.Signer)})
	conn, err := ipc.FromFile(one)
	if err != nil {
		b.Fatal(err)
	}
	peer, err := ipc.FromFile(other)
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = peer.Serve(func(r *ipc.Request) { c.handle(Dispatcher, r) }) }()
	go func() { _ = conn.Serve(func(*ipc.Request) {}) }()
	digest := sha256.Sum256([]byte("x"))
	for name, key := range map[string]crypto.Signer{"here": pair.PrivateKey.(crypto.Signer), "crypto": &remoteKey{1, "mx", pair.Leaf.PublicKey, conn}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := key.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
