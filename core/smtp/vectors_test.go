package smtp

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/address"
)

// The end-of-data vectors: octets between a body and a second mail. Whichever way they are
// sent, at most one message may come out of it, and never the second one by itself unless
// the first was answered.
func TestSmuggling(t *testing.T) {
	vectors := []struct {
		name, octets string
		end          bool // it is a true end: two mails
	}{
		{"M1", "\n.\n", false}, {"M2", "\n.\r\n", false}, {"M3", "\r\n.\n", false},
		{"M4", "\r\n.\x00\r\n", false}, {"M5", "\r.\r", false}, {"M6", "\r.\n", false},
		{"M7", "\r.\r\n", false}, {"M8", "\r\n.\r", false}, {"M9", "\n.\r", false},
		{"M10", "\r\n\x00.\r\n", false}, {"M12", "\r\n.\r\r\n", false},
		{"M13", "\n\n.\r\n", false}, {"M14", "\r\n..\r\n", false}, {"M15", "\r\n. \r\n", false},
		{"M16", "\r\n .\r\n", false}, {"M17", "\x0b.\x0b", false}, {"M18", "\x85.\x85", false},
		{"M19", "\xe2\x80\xa8.\xe2\x80\xa8", false}, {"M11", "\r\r\n.\r\n", true}, {"M20", "\r\n.\r\n", true},
	}
	for _, normalize := range []bool{false, true} {
		for _, v := range vectors {
			for _, way := range []string{"one write", "octets", "lines"} {
				t.Run(fmt.Sprintf("%s/%s/normalize=%v", v.name, way, normalize), func(t *testing.T) {
					testSmuggling(t, v.octets, way, normalize, v.end)
				})
			}
		}
	}
}

func testSmuggling(t *testing.T, octets, way string, normalize, end bool) {
	b := &sample{}
	cfg := testConfig()
	cfg.Normalize = normalize
	client, server := net.Pipe() // each write arrives by itself
	s := startOn(t, context.Background(), client, server, cfg, b, testPeer())
	r := bufio.NewReader(s)
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	text := "EHLO c.example\r\nMAIL FROM:<s@example.com>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\nSubject: first\r\n\r\nbody" +
		octets + "MAIL FROM:<evil@example.com>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\nQUIT\r\n"
	go sendPieces(s, text, way)
	replies, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%v after %q", err, replies)
	}
	<-s.done
	checkMails(t, b.taken(), string(replies), end)
}

func checkMails(t *testing.T, got []mail, replies string, end bool) {
	t.Helper()
	accepted := strings.Count(replies, "Message accepted")
	if accepted != len(got) {
		t.Errorf("%d answered, %d taken", accepted, len(got))
	}
	want := 1
	if end {
		want = 2
	}
	if len(got) > want {
		t.Fatalf("%d messages:\n%s", len(got), replies)
	}
	for _, m := range got {
		if !end && m.from == "evil@example.com" {
			t.Errorf("smuggled: %+v", m)
		}
		if strings.ContainsAny(m.body, "\r\x00") {
			t.Errorf("body %q", m.body)
		}
	}
	if !strings.Contains(replies, "221 2.0.0 Bye") {
		t.Errorf("lost count of the end: %q", replies)
	}
}

func sendPieces(w io.Writer, text, way string) {
	switch way {
	case "one write":
		io.WriteString(w, text)
	case "octets":
		for i := range len(text) {
			if _, err := io.WriteString(w, text[i:i+1]); err != nil {
				return
			}
		}
	case "lines":
		for line := range strings.Lines(text) {
			if _, err := io.WriteString(w, line); err != nil {
				return
			}
		}
	}
}

// What is refused is named, and the session goes on in step.
func TestBadOctets(t *testing.T) {
	for _, v := range []struct{ body, reply string }{
		{"Subject: x\n\nbody", "554 5.6.0 Message refused: bare <LF> in message data"}, // M23
		{"a\rb", "554 5.6.0 Message refused: bare <CR> in message data"},
		{"a\x00b", "554 5.6.0 Message refused: NUL in message data"},
	} {
		b := &sample{}
		s := start(t, context.Background(), testConfig(), b, testPeer())
		banner(t, s)
		go io.WriteString(s, "HELO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@example.org>\r\nDATA\r\n"+v.body+
			strings.Repeat("x", 100000)+"\r\n.\r\nQUIT\r\n")
		replies, err := io.ReadAll(s)
		if err != nil || !strings.HasSuffix(string(replies), v.reply+"\r\n221 2.0.0 Bye\r\n") || len(b.taken()) > 0 {
			t.Errorf("%q: %q, %v", v.body, replies, err)
		}
	}
}

func FuzzCommand(f *testing.F) {
	for _, s := range []string{"MAIL FROM:<a@b> SIZE=1", "RCPT TO:<\"a>b\"@c> NOTIFY=NEVER ORCPT=rfc822;a+2B",
		"AUTH PLAIN AAAA", "EHLO [IPv6:::1]", "noop\r", "MAIL FROM:<\"\\", "RCPT TO: <@a,@b:c@d>", "auth\tx y",
		"MAIL FROM:<ö@bücher.example> SMTPUTF8", "RCPT TO:<ö@d> ORCPT=utf-8;ö+2B@d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c := &Conn{cfg: testConfig()}
		verb, arg, ok := splitCommand(line)
		if !ok {
			return
		}
		for _, word := range []string{"FROM:", "TO:"} {
			path, params, _, good := splitPath(arg, word)
			bad := reply(501, 1, 3, "")
			for _, utf8 := range []bool{false, true} {
				addr, r := parsePath(path, utf8, bad)
				if again, r2 := parsePath(addr, utf8, bad); r == nil && (r2 != nil || again != addr) {
					t.Fatalf("%q: address %q is read as %q", line, addr, again)
				}
				if r == nil && !utf8 && !address.ASCII(addr) {
					t.Fatalf("%q: address %q without SMTPUTF8", line, addr)
				}
				good = good && (r == nil || !utf8)
			}
			if !good {
				continue
			}
			c.utf8 = len(path)%2 == 0
			if o, r := c.mailOptions(params); r == nil && strings.ContainsAny(o.EnvelopeID, "\r\n\x00") {
				t.Fatalf("%q: %q", line, o.EnvelopeID)
			}
			if o, r := c.rcptOptions(params); r == nil && o.OriginalRecipient != "" {
				if s, ok := decodeXtext(EncodeXtext(o.OriginalRecipient)); !ok || s != o.OriginalRecipient {
					t.Fatalf("%q: xtext of %q", line, o.OriginalRecipient)
				}
			}
		}
		if strings.EqualFold(verb, "AUTH") && strings.Contains(mask(line), arg) && strings.Contains(arg, " ") {
			t.Fatalf("%q is logged as %q", line, mask(line))
		}
	})
}
