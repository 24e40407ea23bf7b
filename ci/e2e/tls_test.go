package e2e

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// secureConf has a listener of each kind. CERT and KEY are paths.
const secureConf = `
pki mx.godwit.test cert "CERT"
pki mx.godwit.test key "KEY"
listen on 127.0.0.1 tls pki mx.godwit.test
listen on 127.0.0.1 port 465 smtps pki mx.godwit.test
listen on 127.0.0.1 port 587 tls-require pki mx.godwit.test
action "local" maildir
match from any for domain "godwit.test" action "local"
`

// startSecure starts a daemon with a certificate of the authority.
func startSecure(t *testing.T, ca *authority) *daemon {
	t.Helper()
	cert, key := ca.issue(ca.dir, "mx.godwit.test")
	return start(t, strings.NewReplacer("CERT", cert, "KEY", key).Replace(secureConf))
}

// TestSecureClients: real clients that check our certificate hand mail in over TLS.
func TestSecureClients(t *testing.T) {
	startDNS(t)
	ca := newAuthority(t)
	startSecure(t, ca)
	box := newMaildir("alice")
	const rcpt = "alice@godwit.test"
	text := "From: <" + tester + ">\r\nSubject: secure\r\n\r\nHello.\r\n"
	file := write(t, ca.dir+"/mail", text)
	for name, send := range map[string]func(t *testing.T){
		"swaks-starttls": func(t *testing.T) {
			command(t, "swaks", "--silent", "3", "--server", "127.0.0.1", "--from", tester, "--to", rcpt, "--tls",
				"--tls-verify", "--tls-ca-path", ca.cert, "--tls-sni", "mx.godwit.test")
		},
		"swaks-smtps": func(t *testing.T) {
			command(t, "swaks", "--silent", "3", "--server", "127.0.0.1:465", "--from", tester, "--to", rcpt, "--tls-on-connect")
		},
		"curl-starttls": func(t *testing.T) {
			command(t, "curl", "-sS", "--ssl-reqd", "--cacert", ca.cert, "smtp://mx.godwit.test:587", "--mail-from", tester,
				"--mail-rcpt", rcpt, "--upload-file", file)
		},
		"curl-smtps": func(t *testing.T) {
			command(t, "curl", "-sS", "--cacert", ca.cert, "smtps://mx.godwit.test", "--mail-from", tester,
				"--mail-rcpt", rcpt, "--upload-file", file)
		},
		"msmtp": func(t *testing.T) {
			feed(t, []byte("Subject: secure\n\nHello.\n"), "msmtp", "--host=mx.godwit.test", "--port=25", "--tls=on",
				"--tls-trust-file="+ca.cert, "--from="+tester, rcpt)
		},
		"postfix": func(t *testing.T) {
			startPostfix(t, "relayhost = [mx.godwit.test]:25", "smtp_tls_security_level = verify", "smtp_tls_CAfile = "+ca.cert,
				"smtp_tls_verify_cert_match = hostname")
			feed(t, []byte("Subject: secure\n\nHello.\n"), "/usr/sbin/sendmail", "-i", "-f", tester, rcpt)
		},
	} {
		t.Run(name, func(t *testing.T) {
			send(t)
			header, _ := split(box.wait(t, 1, startWait)[0])
			if got := field(header, "Received"); !strings.Contains(got, "ESMTPS") || !strings.Contains(got, "TLS") {
				t.Errorf("Received: %s", got)
			}
		})
	}
}

// TestRequiredTLS: without it no mail is taken where it is demanded.
func TestRequiredTLS(t *testing.T) {
	ca := newAuthority(t)
	startSecure(t, ca)
	c := dial(t, "127.0.0.1:587")
	c.ask("250", "EHLO client.test")
	c.ask("530", "MAIL FROM:<%s>", tester)
	c.startTLS(ca.client("mx.godwit.test"))
	c.ask("250", "EHLO client.test")
	c.ask("250", "MAIL FROM:<%s>", tester)
	c.ask("221", "QUIT")
}

// failedHandshake is a server that offers STARTTLS and cannot do it.
func failedHandshake() *tls.Config {
	return &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return nil, errors.New("no certificate here")
	}}
}

// TestRelayTLS: how mail goes out, by what the server has and what the action demands.
func TestRelayTLS(t *testing.T) {
	startDNS(t)
	ca, stranger := newAuthority(t), newAuthority(t)
	good, wrong, foreign := ca.server("mx.sink.test"), ca.server("mx.other.test"), stranger.server("mx.sink.test")
	for _, tt := range []struct {
		name   string
		server *tls.Config
		smtps  bool
		relay  string
		want   string // "tls", "plain" or "TempFail"
	}{
		{"verified by URL", good, false, `host "smtp+tls://mx.sink.test" ca "test"`, "tls"},
		{"verified by MX", good, false, `tls ca "test"`, "tls"},
		{"stranger refused", foreign, false, `host "smtp+tls://mx.sink.test" ca "test"`, "TempFail"},
		{"stranger refused by MX", foreign, false, `tls ca "test"`, "TempFail"},
		{"wrong name refused", wrong, false, `host "smtp+tls://mx.sink.test" ca "test"`, "TempFail"},
		{"not in the system's authorities", good, false, `host "smtp+tls://mx.sink.test"`, "TempFail"},
		{"demanded and not offered", nil, false, `host "smtp+tls://mx.sink.test" ca "test"`, "TempFail"},
		{"demanded and failing", failedHandshake(), false, `tls no-verify`, "TempFail"},
		{"no-verify takes a stranger", foreign, false, `tls no-verify`, "tls"},
		{"no-verify with URL", wrong, false, `host "smtp+tls://mx.sink.test" tls no-verify`, "tls"},
		{"opportunistic", good, false, `host "smtp://mx.sink.test"`, "tls"},
		{"opportunistic takes a stranger", foreign, false, ``, "tls"},
		{"opportunistic without TLS", nil, false, ``, "plain"},
		{"opportunistic after a failure", failedHandshake(), false, ``, "plain"},
		{"notls", good, false, `host "smtp+notls://mx.sink.test"`, "plain"},
		{"smtps", good, true, `host "smtps://mx.sink.test" ca "test"`, "tls"},
		{"smtps of a stranger", foreign, true, `host "smtps://mx.sink.test" ca "test"`, "TempFail"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s *sink
			if tt.smtps {
				l, err := tls.Listen("tcp", "127.0.0.3:465", tt.server)
				if err != nil {
					t.Fatal(err)
				}
				s = serveSink(t, l, nil)
			} else {
				s = startSink(t, sinkAddr, tt.server)
			}
			d := start(t, fmt.Sprintf("ca test cert %q\nlisten on 127.0.0.1\naction \"out\" relay %s\nmatch for any action \"out\"\n",
				ca.cert, tt.relay))
			submit(t, tester, "rcpt@sink.test", "Subject: relay\n\nHello.\n")
			if tt.want == "TempFail" {
				d.waitLog("mta delivery", `result="TempFail"`)
				if n := len(d.queued()); n != 1 {
					t.Errorf("%d messages in the queue", n)
				}
				if got := s.take(); len(got) > 0 {
					t.Errorf("the sink has %d messages", len(got))
				}
				return
			}
			if got := s.wait(t, 1)[0]; got.tls != (tt.want == "tls") {
				t.Errorf("over TLS: %v", got.tls)
			}
			d.drained(startWait)
		})
	}
}

// TestRelayTLSPostfix: the same with a server that many run.
func TestRelayTLSPostfix(t *testing.T) {
	startDNS(t)
	ca := newAuthority(t)
	cert, key := ca.issue(ca.dir, "mx.postfix.test")
	p := startPostfix(t, "smtpd_tls_security_level = encrypt", "smtpd_tls_cert_file = "+cert, "smtpd_tls_key_file = "+key,
		"smtpd_tls_received_header = yes")
	d := start(t, fmt.Sprintf("ca test cert %q\nlisten on 127.0.0.1\naction \"out\" relay tls ca \"test\"\nmatch for any action \"out\"\n",
		ca.cert))
	submit(t, tester, "box@postfix.test", "Subject: relay\n\nHello.\n")
	text := p.box.wait(t, 1, startWait)[0]
	if !bytes.Contains(text, []byte("using TLSv1.3")) {
		t.Errorf("not over TLS:\n%s", text)
	}
	d.drained(startWait)
}

// TestTLSGarbage: what is no handshake ends the session and nothing else.
func TestTLSGarbage(t *testing.T) {
	ca := newAuthority(t)
	startSecure(t, ca)
	garbage := strings.Repeat("\x16\x03\x01\xff\xffgarbage\x00", 1000)
	direct, err := net.Dial("tcp", "127.0.0.1:465")
	if err != nil {
		t.Fatal(err)
	}
	upgraded := dial(t, listen)
	upgraded.ask("250", "EHLO client.test")
	upgraded.ask("220", "STARTTLS")
	for _, conn := range []net.Conn{newClient(t, direct).conn, upgraded.conn} {
		_ = conn.SetDeadline(time.Now().Add(talkWait))
		_, _ = conn.Write([]byte(garbage)) // may be cut off
		if _, err := conn.Read(make([]byte, 1<<16)); err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Error("the session goes on")
			}
		}
	}
	c := dial(t, listen)
	c.ask("250", "EHLO client.test")
	c.startTLS(ca.client("mx.godwit.test"))
	c.ask("250", "EHLO client.test")
}
