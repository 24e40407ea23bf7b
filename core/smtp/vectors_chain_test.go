package smtp

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

// chain makes a certificate below n others, and gives the authority at its top.
func chain(t *testing.T, n int, padding string) (tls.Certificate, *x509.Certificate) {
	t.Helper()
	var parent, top *x509.Certificate
	var signer *ecdsa.PrivateKey
	var list [][]byte
	for i := range n + 1 {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: fmt.Sprintf("%d of %d%s", i, n, padding)},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: i < n, BasicConstraintsValid: true,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		if parent == nil {
			parent, signer = tmpl, key
		}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		if parent, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		if signer = key; top == nil {
			top = parent
		}
		list = append([][]byte{der}, list...)
	}
	return tls.Certificate{Certificate: list, PrivateKey: signer}, top
}

// S8: a chain of a hundred certificates, or of a megabyte, is looked at or not, but costs no more
// than a handshake: the next client is served at once.
func TestCertificateChains(t *testing.T) {
	long, top := chain(t, 100, "")
	_, stranger := chain(t, 0, "")
	short, of := chain(t, 2, "")
	heavy, _ := chain(t, 100, strings.Repeat("x", 5<<10))
	for _, v := range []struct {
		name  string
		cert  tls.Certificate
		root  *x509.Certificate
		taken bool
	}{
		{"a hundred", long, top, true},
		{"a hundred of a stranger", long, stranger, false},
		{"a megabyte", heavy, top, false},
		{"three", short, of, true},
	} {
		pool := x509.NewCertPool()
		pool.AddCert(v.root)
		cfg := testConfig()
		cfg.TLSConfig, cfg.SMTPS = testTLS(t), true
		cfg.TLSConfig.ClientAuth, cfg.TLSConfig.ClientCAs = tls.RequireAndVerifyClientCert, pool
		s := start(t, context.Background(), cfg, &sample{}, testPeer())
		tc := tls.Client(s.Conn, &tls.Config{InsecureSkipVerify: true, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &v.cert, nil }})
		line, err := bufio.NewReader(tc).ReadString('\n')
		if taken := strings.HasPrefix(line, "220 "); taken != v.taken {
			t.Errorf("%s: %q, %v\n%s", v.name, line, err, s.log)
		}
		tc.Close()
		<-s.done
		if n := len(s.log.String()); n > 2000 {
			t.Errorf("%s: %d octets of log", v.name, n)
		}
		checkLines(t, "220 x", s.log.String())
	}
}

// The lines of the log of a session under TLS from the first octet begin with the connection.
func TestLogOrder(t *testing.T) {
	_, log := converseTLS(t, &sample{}, "QUIT\r\n", "one write")
	connected, secure := strings.Index(log, " smtp connected "), strings.Index(log, " smtp tls ")
	if connected < 0 || secure < connected {
		t.Errorf("%s", log)
	}
}

// M22: only the octets that a chunk says are of the message, and whatever they are, they end
// nothing, in each way of sending.
func TestChunkVectors(t *testing.T) {
	const head, evil = "EHLO c\r\nMAIL FROM:<s@example.com>\r\nRCPT TO:<alice@example.org>\r\n", "MAIL FROM:<evil@example.com>\r\nRCPT TO:<bob@example.org>\r\n"
	for _, v := range []struct {
		name, text, want string // the codes after the head
		bodies           string
	}{
		{"M22 a dot in a chunk", "BDAT 11\r\nab\r\n.\r\ncd\r\nBDAT 0 LAST\r\n", "250 250", "ab\n.\ncd\n"},
		{"M22 an end in a chunk", "BDAT 7 LAST\r\nab\r\n.\r\nNOOP\r\n", "250 250", "ab\n.\n"},
		{"M22 an end over two", "BDAT 5\r\nab\r\n.BDAT 2 LAST\r\n\r\n", "250 250", "ab\n.\n"},
		{"M22 a chunk is too short", "BDAT 2 LAST\r\nab\r\n.\r\n" + evil, "250 500 500 250 250", "ab\n"},
		{"M22 a chunk is too long", fmt.Sprintf("BDAT %d LAST\r\nab\r\n.\r\n", 7+len(evil)) + evil, "250", "ab\n.\n" + strings.ReplaceAll(evil, "\r\n", "\n")},
		{"M22 a bare LF", "BDAT 5\r\nab\n.\nBDAT 0 LAST\r\n", "554 554", ""},
		{"M22 a bare CR", "BDAT 5\r\nab\r.\rBDAT 0 LAST\r\n", "554 554", ""},
		{"M22 a CR and its LF in two", "BDAT 3\r\nab\rBDAT 1 LAST\r\n\n", "250 250", "ab\n"},
		{"M22 nothing", "BDAT 0 LAST\r\n", "250", ""},
		{"M22 huge", "BDAT 99999999999 LAST\r\n" + evil, "552", ""},
		{"M22 no number", "BDAT x\r\n" + evil, "501", ""},
		{"M22 DATA within", "BDAT 2\r\nabDATA\r\nBDAT 2 LAST\r\ncd", "250 503 250", "abcd\n"},
		{"M22 without MAIL", "RSET\r\nBDAT 8 LAST\r\nQUIT\r\n\r\n", "250 503", ""},
		{"B11", "DATA\r\n.\r\n", "354 250", ""},
	} {
		for _, way := range sendWays {
			t.Run(v.name+"/"+way, func(t *testing.T) {
				cfg := testConfig()
				got, replies := converse(t, cfg, head+v.text+"QUIT\r\n", way)
				said := strings.TrimSuffix(strings.TrimPrefix(codes(replies), "250 250 250 "), " 221")
				if said != v.want {
					t.Errorf("%s, want %s", said, v.want)
				}
				var bodies string
				for _, m := range got {
					bodies += m.body
				}
				if bodies != v.bodies {
					t.Errorf("took %q", bodies)
				}
			})
		}
	}
}
