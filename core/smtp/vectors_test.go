package smtp

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/godwit-mta/godwit/core/address"
)

// The end-of-data vectors: octets between a body and a second mail. Whichever way they are
// sent, at most one message may come out of it, and never the second one by itself. Where
// the octets are a true end for everybody (M11, M20), both are answered. What is refused is
// refused by name; what is taken has the text of the second mail in its body.
func TestSmuggling(t *testing.T) {
	const nul, lf, cr, fine = "554 5.6.0 Message refused: NUL", "554 5.6.0 Message refused: bare <LF>", "554 5.6.0 Message refused: bare <CR>", "250 "
	const bare = "554 5.6.0 Message refused: bare " // has both: which is seen first depends on the pieces
	vectors := []struct {
		name, octets string
		strict       string // the reply to the message
		normal       string // the same of a listener that normalizes
		body         string // what a message that is taken has in the place of the octets
		end          bool   // it is a true end: two mails
	}{
		{"M1", "\n.\n", lf, fine, "\n.\n", false},
		{"M2", "\n.\r\n", lf, fine, "\n.\n", false},
		{"M3", "\r\n.\n", lf, fine, "\n.\n", false},
		{"M4", "\r\n.\x00\r\n", nul, nul, "", false},
		{"M5", "\r.\r", cr, fine, "\n.\n", false},
		{"M6", "\r.\n", bare, fine, "\n.\n", false},
		{"M7", "\r.\r\n", cr, fine, "\n.\n", false},
		{"M8", "\r\n.\r", cr, fine, "\n.\n", false},
		{"M9", "\n.\r", bare, fine, "\n.\n", false},
		{"M10", "\r\n\x00.\r\n", nul, nul, "", false},
		{"M11", "\r\r\n.\r\n", cr, fine, "\n\n", true},
		{"M12", "\r\n.\r\r\n", cr, fine, "\n.\n\n", false},
		{"M13", "\n\n.\r\n", lf, fine, "\n\n.\n", false},
		{"M14", "\r\n..\r\n", fine, fine, "\n.\n", false},
		{"M15", "\r\n. \r\n", fine, fine, "\n \n", false},
		{"M16", "\r\n .\r\n", fine, fine, "\n .\n", false},
		{"M17", "\x0b.\x0b", fine, fine, "\x0b.\x0b", false},
		{"M18", "\x85.\x85", fine, fine, "\x85.\x85", false},
		{"M19", "\xe2\x80\xa8.\xe2\x80\xa8", fine, fine, "\xe2\x80\xa8.\xe2\x80\xa8", false},
		{"M20", "\r\n.\r\n", fine, fine, "\n", true},
	}
	for _, v := range vectors {
		for _, way := range sendWays {
			t.Run(v.name+"/"+way+"/strict", func(t *testing.T) { testSmuggling(t, v.octets, way, false, v.strict, v.body, v.end) })
			t.Run(v.name+"/"+way+"/normalize", func(t *testing.T) { testSmuggling(t, v.octets, way, true, v.normal, v.body, v.end) })
		}
	}
}

const (
	firstMail  = "EHLO c.example\r\nMAIL FROM:<s@example.com>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\nSubject: first\r\n\r\nbody"
	secondMail = "MAIL FROM:<evil@example.com>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n"
)

func testSmuggling(t *testing.T, octets, way string, normalize bool, reply, body string, end bool) {
	cfg := testConfig()
	cfg.Normalize = normalize
	got, replies := talk(t, cfg, firstMail+octets+secondMail+".\r\nQUIT\r\n", way)
	_, after, _ := strings.Cut(replies, "\r\n354 ")
	_, after, _ = strings.Cut(after, "\r\n")
	if !strings.HasPrefix(after, reply) {
		t.Errorf("the reply is %q, want %q", after, reply)
	}
	if n := strings.Count(replies, "354 "); end != (n == 2) {
		t.Errorf("%d messages were begun: %q", n, replies)
	}
	var want []string
	if strings.HasPrefix(reply, "250") {
		text := "Subject: first\n\nbody" + body
		if !end {
			text += strings.ReplaceAll(secondMail, "\r\n", "\n")
		}
		want = append(want, text)
	}
	if end {
		want = append(want, "Subject: smuggled\n\nx\n")
	}
	if len(got) != len(want) {
		t.Fatalf("%d messages, want %d:\n%s", len(got), len(want), replies)
	}
	for i, m := range got {
		if m.body != want[i] {
			t.Errorf("body\n%q, want\n%q", m.body, want[i])
		}
	}
}

// talk sends text in one of the ways and gives what came of it. The session ends with QUIT.
func talk(t *testing.T, cfg *Config, text, way string) ([]mail, string) {
	t.Helper()
	got, replies := converse(t, cfg, text, way)
	if !strings.HasSuffix(replies, "\r\n221 2.0.0 Bye\r\n") {
		t.Errorf("lost count of the end: %q", replies)
	}
	return got, replies
}

// converse sends text and gives the messages that were taken and the replies after the
// banner. Each message was answered, and neither a reply nor a line of the log can be two.
func converse(t *testing.T, cfg *Config, text, way string) ([]mail, string) {
	t.Helper()
	b := &sample{}
	client, server := net.Pipe() // each write arrives by itself
	s := startOn(t, context.Background(), client, server, cfg, b, testPeer())
	banner(t, s)
	go sendPieces(s, text, way)
	replies, err := io.ReadAll(s)
	if err != nil {
		t.Fatalf("%v after %q", err, replies)
	}
	<-s.done
	if n := strings.Count(string(replies), "Message accepted"); n != len(b.taken()) {
		t.Errorf("%d answered, %d taken", n, len(b.taken()))
	}
	checkLines(t, string(replies), s.log.String())
	return b.taken(), string(replies)
}

// checkLines looks for replies and lines of the log that somebody could take for others.
func checkLines(t *testing.T, replies, log string) {
	t.Helper()
	for line := range strings.SplitSeq(strings.TrimSuffix(replies, "\r\n"), "\r\n") {
		if !isReplyLine(line) {
			t.Errorf("reply %q", line)
		}
	}
	for line := range strings.SplitSeq(log, "\n") {
		if strings.ContainsFunc(line, unicode.IsControl) || !utf8.ValidString(line) {
			t.Errorf("line of the log %q", line)
		}
	}
}

// isReplyLine looks at a line without its end (RFC 5321 section 4.2.1).
func isReplyLine(s string) bool {
	if len(s) < 4 || len(s) > maxReplyLine-2 || s[0] < '2' || s[0] > '5' || !digit(s[1]) || !digit(s[2]) || s[3] != ' ' && s[3] != '-' {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// sendWays are the ways of sendPieces.
var sendWays = []string{"one write", "lines", "octets"}

// M20: an end that comes in pieces, cut at each place, is answered once.
func TestEndInPieces(t *testing.T) {
	const end = "\r\n.\r\n"
	for cuts := range 1 << (len(end) - 1) {
		pieces := []string{firstMail}
		for i := range end {
			if i > 0 && cuts>>(i-1)&1 == 0 {
				pieces[len(pieces)-1] += end[i : i+1]
			} else {
				pieces = append(pieces, end[i:i+1])
			}
		}
		got, replies := talk(t, testConfig(), strings.Join(pieces, "\x00")+"\x00QUIT\r\n", "pieces")
		if len(got) != 1 || got[0].body != "Subject: first\n\nbody\n" || strings.Count(replies, "Message accepted") != 1 {
			t.Errorf("%q: %+v, %q", pieces[1:], got, replies)
		}
	}
}

// M21: QUIT behind the end of a message: the message is answered, then the QUIT.
func TestEndAndQuit(t *testing.T) {
	for _, way := range sendWays {
		got, replies := talk(t, testConfig(), firstMail+"\r\n.\r\nQUIT\r\n", way)
		if len(got) != 1 || !strings.HasSuffix(replies, "Message accepted for delivery\r\n221 2.0.0 Bye\r\n") {
			t.Errorf("%s: %+v, %q", way, got, replies)
		}
	}
}

func sendPieces(w io.Writer, text, way string) {
	switch way {
	case "one write":
		io.WriteString(w, text)
	case "pieces": // divided by NUL
		for piece := range strings.SplitSeq(text, "\x00") {
			if _, err := io.WriteString(w, piece); err != nil {
				return
			}
		}
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
