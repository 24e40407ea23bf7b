package smtp

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
)

// S1, S2, S4, S9: what comes in clear behind STARTTLS, or is another protocol, is never a
// command, however it comes.
func TestClearVectors(t *testing.T) {
	const mail = "MAIL FROM:<evil@example.com>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nSubject: injected\r\n\r\nx\r\n.\r\n"
	for _, v := range []struct{ name, text, want string }{
		{"S1", "EHLO c\r\nSTARTTLS\r\n" + mail, "250 501|250 220"},
		{"S1 EHLO", "EHLO c\r\nSTARTTLS\r\nEHLO d\r\n" + mail, "250 501|250 220"},
		{"S1 bare LF", "EHLO c\r\nSTARTTLS\nNOOP\r\n" + mail, "250 500"},
		{"S1 CR", "EHLO c\r\nSTARTTLS\r\r\nQUIT\r\n", "250 501 221"},
		{"S2", "EHLO c\r\nSTARTTLS\r\nNOOP\r\n", "250 501|250 220"},
		{"S4", "EHLO c\r\nAUTH PLAIN AGFubgBhbm5wdw==\r\nSTARTTLS\r\n" + mail, "250 503 501|250 503 220"},
		{"S9", "GET / HTTP/1.1\r\nHost: x\r\n\r\nEHLO c\r\n" + mail, "500"},
		{"S9 POST", "POST / HTTP/1.1\r\nContent-Length: 200\r\n\r\nEHLO c\r\n" + mail, "500"},
		{"S9 TLS", "\x16\x03\x01\x00\x05EHLO c\r\n" + mail, "500"},
		{"S9 SSH", "SSH-2.0-x\r\nQUIT\r\n", "500 221"},
	} {
		for _, way := range sendWays {
			t.Run(v.name+"/"+way, func(t *testing.T) {
				cfg := testConfig()
				cfg.TLSConfig = testTLS(t)
				mails, replies := converse(t, cfg, v.text, way)
				got := codes(clear(replies))
				one, other, _ := strings.Cut(v.want, "|")
				if len(mails) > 0 || got != one && got != other {
					t.Errorf("%s, want %s: %+v", got, v.want, mails)
				}
			})
		}
	}
}

// clear cuts off the alert of TLS that a failed handshake sends.
func clear(replies string) string {
	text, _, _ := strings.Cut(replies, "\x15\x03")
	return text
}

// S3: after STARTTLS nothing holds of what was said before, in each way of sending.
func TestForgottenVectors(t *testing.T) {
	for _, way := range sendWays {
		cfg := testConfig()
		cfg.TLSConfig = testTLS(t)
		b := &sample{auth: true}
		s := start(t, context.Background(), cfg, b, testPeer())
		r := bufio.NewReader(s)
		readLine(t, r, "220 ")
		send(t, s, "EHLO c.example\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nSTARTTLS\r\n")
		for _, want := range []string{"250 HELP", "250 2.0.0", "250 2.1.5", "220 2.0.0"} {
			readLine(t, r, want)
		}
		tc := tls.Client(s.Conn, &tls.Config{InsecureSkipVerify: true})
		go sendPieces(tc, "MAIL FROM:<x@example.com>\r\nAUTH PLAIN AGFubgBhbm5wdw==\r\nDATA\r\nQUIT\r\n", way)
		replies, err := io.ReadAll(tc)
		if got := codes(string(replies)); got != "503 503 503 221" || len(b.taken()) > 0 {
			t.Errorf("%s: %s, %v", way, got, err)
		}
	}
}

// S7, S8: a handshake is bounded in time and in octets.
func TestHandshakeVectors(t *testing.T) {
	record := func(kind byte, body string) string {
		return string([]byte{kind, 3, 1, byte(len(body) >> 8), byte(len(body))}) + body
	}
	for _, v := range []struct{ name, text string }{
		{"alerts", strings.Repeat(record(0x15, "\x01\x64"), 10000)},
		{"empty records", strings.Repeat(record(0x16, ""), 10000)},
		{"empty data", strings.Repeat(record(0x17, ""), 10000)},
		{"a hello without end", strings.Repeat(record(0x16, "\x01\xff\xff\xff"+strings.Repeat("x", 16000)), 1000)},
		{"a change of cipher", strings.Repeat(record(0x14, "\x01"), 10000)},
	} {
		cfg := testConfig()
		cfg.TLSConfig, cfg.SMTPS = testTLS(t), true
		client, server := net.Pipe()
		s := startOn(t, context.Background(), client, server, cfg, &sample{}, testPeer())
		go io.WriteString(s, v.text)
		go io.Copy(io.Discard, s)
		<-s.done // long before a time-out
		if !strings.Contains(s.log.String(), "handshake failed") {
			t.Errorf("%s: %s", v.name, s.log)
		}
		checkLines(t, "220 x", s.log.String())
	}
	cfg := testConfig()
	cfg.TLSConfig, cfg.SMTPS = testTLS(t), true
	s := start(t, context.Background(), cfg, &sample{}, testPeer())
	name := strings.Repeat("a", 16<<10)
	if err := tls.Client(s.Conn, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake(); err == nil {
		s.Close() // a name that long may be ignored
	}
	<-s.done
	if n := len(s.log.String()); n > 2000 {
		t.Errorf("%d octets of log", n)
	}
}
