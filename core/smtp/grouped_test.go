package smtp

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
)

// Replies to MAIL, RCPT and RSET may wait for each other as long as input is there; those to
// other commands are written at once, RFC 2920 section 3.2. The pipe shows each write.
func TestGroupedReplies(t *testing.T) {
	client, server := net.Pipe()
	s := startOn(t, context.Background(), client, server, testConfig(), &sample{}, testPeer())
	buf := make([]byte, 4096)
	read := func() string {
		n, err := s.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	read() // the banner
	for _, v := range []struct {
		in   string
		want []string // codes of each write
	}{
		{"HELO c.example\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRSET\r\n", []string{"250", "250 250 250"}},
		{"NOOP\r\nVRFY a\r\nEXPN a\r\nFOO\r\nRSET\r\nRSET\r\n", []string{"250", "252", "502", "500", "250 250"}},
		{"DATA\r\nRSET\r\n", []string{"503", "250"}},
		{"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
			[]string{"250 250 354", "250", "250 250 354"}},
		{"x\r\n.\r\nQUIT\r\n", []string{"250", "221"}},
	} {
		go s.Write([]byte(v.in))
		var got []string
		for range v.want {
			var codes []string
			for line := range strings.Lines(read()) {
				codes = append(codes, line[:3])
			}
			got = append(got, strings.Join(codes, " "))
		}
		if !slices.Equal(got, v.want) {
			t.Errorf("%q: %q, want %q", v.in, got, v.want)
		}
	}
}

// What is offered depends on the listener, and no command of it is unknown.
func TestOffered(t *testing.T) {
	for _, v := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "8BITMIME CHUNKING ENHANCEDSTATUSCODES PIPELINING SIZE SMTPUTF8 HELP"},
		{Config{MaxMessageSize: 7, MaxRcpt: 8, MaxMails: 9, DSN: true},
			"8BITMIME CHUNKING ENHANCEDSTATUSCODES LIMITS MAILMAX=9 RCPTMAX=8 PIPELINING SIZE 7 DSN SMTPUTF8 HELP"},
		{Config{MaxRcpt: 8, TLSConfig: testTLS(t)}, "8BITMIME CHUNKING ENHANCEDSTATUSCODES LIMITS RCPTMAX=8 PIPELINING SIZE SMTPUTF8 STARTTLS HELP"},
	} {
		c := &Conn{cfg: &v.cfg}
		if got := strings.Join(strings.Fields(c.extensions()), " "); got != v.want {
			t.Errorf("%s, want %s", got, v.want)
		}
	}
	s := start(t, context.Background(), testConfig(), &sample{}, testPeer())
	r := bufio.NewReader(s)
	readLine(t, r, "220 ")
	send(t, s, "HELP\r\nBDAT 0\r\nSTARTTLS\r\nVRFY a\r\n")
	for _, want := range []string{"214 ", "503 ", "503 ", "252 "} {
		readLine(t, r, want)
	}
}

// The smallest sizes that RFC 5321 section 4.5.3.1 and RFC 3461 section 5.4 ask for.
func TestSizes(t *testing.T) {
	label := strings.Repeat("d", 63)
	domain := strings.Repeat(label+".", 3) + strings.Repeat("d", 61) + ".x" // 255 octets
	local := strings.Repeat("l", 64)
	b := &sample{}
	s := start(t, context.Background(), testConfig(), b, testPeer())
	r := bufio.NewReader(s)
	readLine(t, r, "220 ")
	ask := func(line, want string) {
		t.Helper()
		send(t, s, line+"\r\n")
		readLine(t, r, want)
	}
	ask("EHLO "+domain, "250 ")
	ask("NOOP "+strings.Repeat("x", 512-7), "250 ")
	ask("MAIL FROM:<"+local+"@"+domain+"> SIZE=99999999 BODY=8BITMIME RET=FULL ENVID="+strings.Repeat("e", 100)+" AUTH="+strings.Repeat("a", 500), "552 ")
	ask("MAIL FROM:<"+local+"@"+domain+"> SIZE=1 BODY=8BITMIME RET=FULL ENVID="+strings.Repeat("e", 100)+" AUTH="+strings.Repeat("a", 500), "250 ")
	path := "@" + label + ":" + local + "@" + label // a source route makes it longer than the mailbox
	ask("RCPT TO:<"+path+"> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;"+strings.Repeat("o", 493), "250 ")
	for i := range 99 {
		ask(fmt.Sprintf("RCPT TO:<r%d@example.org>", i), "250 ")
	}
	ask("DATA", "354 ")
	line := strings.Repeat("x", 998) + "\r\n"
	body := "Subject: x\r\n\r\n" + strings.Repeat(line, 66)
	ask(body+".", "250 ")
	got := b.taken()
	if len(got) != 1 || len(got[0].to) != 100 || got[0].from != local+"@"+domain || len(got[0].body) < 64<<10 ||
		len(got[0].opts[0].OriginalRecipient) != 493 || got[0].body != strings.ReplaceAll(body, "\r\n", "\n") {
		t.Errorf("%d messages: %.300v", len(got), got)
	}
}
