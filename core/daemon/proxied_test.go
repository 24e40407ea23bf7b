package daemon

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// proxyHeader2 makes a header of version 2 for a client at 203.0.113.9.
func proxyHeader2(command, family byte, more string) string {
	body := ""
	if family == 0x11 {
		body = "\xcb\x00\x71\x09\x7f\x00\x00\x01\x10\x00\x00\x19"
	}
	body += more
	return "\r\n\r\n\x00\r\nQUIT\n" + string([]byte{0x20 | command, family, 0, byte(len(body))}) + body
}

// talk sends a header and then, step by step, what stands before each reply code.
func talk(t *testing.T, addr, header string, secure *tls.Config, steps ...string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, header); err != nil {
		t.Fatal(err)
	}
	if secure != nil {
		conn = tls.Client(conn, secure)
	}
	r := bufio.NewReader(conn)
	said := ""
	for _, step := range append([]string{""}, steps...) {
		if step != "" {
			if _, err := io.WriteString(conn, step+"\r\n"); err != nil {
				return said
			}
		}
		for {
			line, err := r.ReadString('\n')
			said += line
			if err != nil {
				return said
			}
			if len(line) < 4 || line[3] != '-' {
				break
			}
		}
	}
	return said
}

const proxyConf = `
listen on 127.0.0.1 port PORT proxy-v2
action "local" maildir userbase <people>
match from local for domain "local.test" action "local"
match from src "203.0.113.0/24" for domain "example.org" action "local"
match from any for domain "any.test" action "local"
`

// TestProxied: rules, log and Received header go by the address that the proxy tells. A
// client whose address the proxy does not tell is nobody here.
func TestProxied(t *testing.T) {
	l := start(t, proxyConf)
	rcpts := []string{"EHLO client.test", "MAIL FROM:<a@example.net>", "RCPT TO:<joe@local.test>", "RCPT TO:<joe@example.org>", "RCPT TO:<joe@any.test>", "QUIT"}
	for _, tt := range []struct{ name, header, address, local, remote string }{
		{"v1", "PROXY TCP4 203.0.113.9 127.0.0.1 4096 25\r\n", "203.0.113.9", "550", "250"},
		{"v1 over IPv6", "PROXY TCP6 2001:db8::9 ::1 4096 25\r\n", "[2001:db8::9]", "550", "550"},
		{"v1 unknown", "PROXY UNKNOWN\r\n", "0.0.0.0", "550", "550"},
		{"v2", proxyHeader2(1, 0x11, ""), "203.0.113.9", "550", "250"},
		{"v2 with more", proxyHeader2(1, 0x11, "\x04\x00\x01x"), "203.0.113.9", "550", "250"},
		{"v2 unknown", proxyHeader2(1, 0, ""), "0.0.0.0", "550", "550"},
		{"v2 local", proxyHeader2(0, 0x11, ""), "127.0.0.1", "250", "550"},
	} {
		from := l.log.len()
		said := talk(t, l.addr, tt.header, nil, rcpts...)
		var codes []string
		for line := range strings.SplitSeq(said, "\n") {
			if len(line) > 3 && line[3] == ' ' {
				codes = append(codes, line[:3])
			}
		}
		if got, want := strings.Join(codes, " "), fmt.Sprintf("220 250 250 %s %s 250 221", tt.local, tt.remote); got != want {
			t.Errorf("%s: replies %s, want %s", tt.name, got, want)
		}
		l.log.wait(t, from, `smtp event=proxy address=127.0.0.1 version=`+map[bool]string{true: "1", false: "2"}[tt.header[0] == 'P'])
		connected := l.log.wait(t, from, `smtp connected address=`)
		if !strings.Contains(connected, "address="+tt.address+" ") {
			t.Errorf("%s: %s", tt.name, connected)
		}
	}
	talk(t, l.addr, proxyHeader2(1, 0x11, ""), nil, "EHLO client.test", "MAIL FROM:<a@example.net>", "RCPT TO:<joe@any.test>", "DATA", "Subject: x\r\n\r\nx\r\n.", "QUIT")
	l.log.wait(t, 0, `mda delivery .* result=Ok`)
	if got := l.maildir("joe")[0]; !strings.Contains(got, "[203.0.113.9])") || strings.Contains(got, "Message-ID") {
		t.Errorf("not the client, or taken for a submission:\n%s", got)
	}
}

// TestNotProxied: without a good header there is one line in the log and not an octet for
// the client.
func TestNotProxied(t *testing.T) {
	l := start(t, proxyConf)
	for header, reason := range map[string]string{
		"EHLO client.test\r\nQUIT\r\n":                       "no header of the PROXY protocol",
		"PROXY TCP4 203.0.113.9 127.0.0.1 4096 25 x\r\n":     "PROXY line is not of the form",
		"PROXY TCP4 203.0.113.9\x00\n 127.0.0.1 4096 25\r\n": "PROXY line without its end",
		proxyHeader2(1, 0x12, strings.Repeat("x", 12)):       "PROXY header of a family",
		proxyHeader2(7, 0x11, ""):                            "PROXY header with unknown command 7",
	} {
		from := l.log.len()
		if said := talk(t, l.addr, header, nil); said != "" {
			t.Errorf("%q: %q", header, said)
		}
		l.log.wait(t, from, `^[0-9a-f]{16} smtp event=closed address=127.0.0.1 reason="`+reason)
		if l.log.has("smtp connected") {
			t.Errorf("%q: the log has a session", header)
		}
	}
	gone, err := net.Dial("tcp", l.addr)
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	l.log.wait(t, 0, `smtp event=closed address=127.0.0.1 reason="disconnect"`)
	waiting, err := net.Dial("tcp", l.addr) // keeps nobody from stopping
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { waiting.Close() })
}

// TestProxiedEarly: what comes behind the header belongs to the session, which may refuse
// clients that do not wait, and is not lost.
func TestProxiedEarly(t *testing.T) {
	l := start(t, proxyConf)
	said := talk(t, l.addr, "PROXY TCP4 203.0.113.9 127.0.0.1 4096 25\r\nEHLO client.test\r\n", nil, "QUIT")
	if !strings.HasPrefix(said, "554 5.5.1") && !strings.Contains(said, "Hello client.test [203.0.113.9]") {
		t.Errorf("an early talker: %q", said)
	}
}

// TestProxiedTLS: the header comes before TLS, and may come together with its beginning.
func TestProxiedTLS(t *testing.T) {
	ca, dir := newIssuer(t), t.TempDir()
	ca.files(dir, "mx", ca.sign(&x509.Certificate{DNSNames: []string{"mx.example.org"}}))
	l := start(t, `pki mx.example.org cert "`+dir+`/mx.pem" key "`+dir+`/mx.key"`+
		strings.Replace(proxyConf, "proxy-v2", "smtps proxy-v2 pki mx.example.org", 1))
	for _, header := range []string{proxyHeader2(1, 0x11, ""), "PROXY TCP4 203.0.113.9 127.0.0.1 4096 25\r\n"} {
		from := l.log.len()
		said := talk(t, l.addr, header, &tls.Config{ServerName: "mx.example.org", RootCAs: ca.pool()}, "EHLO client.test", "QUIT")
		if !strings.Contains(said, "Hello client.test [203.0.113.9]") || !strings.Contains(said, "221 ") {
			t.Errorf("%q: %q", header, said)
		}
		l.log.wait(t, from, `smtp connected address=203.0.113.9 `)
	}
}

// TestProxyNotExpected: where the option is not set a header is nothing but a wrong command.
func TestProxyNotExpected(t *testing.T) {
	l := start(t, strings.Replace(proxyConf, " proxy-v2", "", 1))
	for _, header := range []string{"PROXY TCP4 203.0.113.9 127.0.0.1 4096 25\r\n", proxyHeader2(1, 0x11, "")} {
		from := l.log.len()
		said := talk(t, l.addr, header, nil, "EHLO client.test", "MAIL FROM:<a@example.net>", "RCPT TO:<joe@example.org>", "QUIT")
		if strings.Contains(said, "203.0.113.9") || strings.Contains(said, "250 2.1.5") {
			t.Errorf("%q: taken for the client of a proxy:\n%s", header, said)
		}
		l.log.wait(t, from, `smtp connected address=127.0.0.1 `)
		l.log.wait(t, from, `smtp disconnected`)
	}
	if l.log.has("address=203.0.113.9") {
		t.Error("the log has the address of the header")
	}
}
