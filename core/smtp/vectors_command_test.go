package smtp

import (
	"fmt"
	"strings"
	"testing"
)

// codes gives those of the last lines of replies.
func codes(replies string) string {
	var b strings.Builder
	for line := range strings.Lines(replies) {
		if line[3] == ' ' {
			b.WriteString(line[:3] + " ")
		}
	}
	return strings.TrimSuffix(b.String(), " ")
}

// C1, C2, C4, C5: command lines that mean harm, or nothing.
func TestCommandVectors(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, v := range []struct{ name, line, want string }{
		{"C1 512", "NOOP " + x(505) + "\r\n", "250 221"},
		{"C1 513", "NOOP " + x(506) + "\r\n", "250 221"},
		{"C1 998", "NOOP " + x(991) + "\r\n", "250 221"},
		{"C1 999", "NOOP " + x(992) + "\r\n", "250 221"},
		{"C1 2041", "NOOP " + x(2034) + "\r\n", "250 221"},
		{"C1 64k", x(64<<10) + "\r\n", "500"},
		{"C1 1M", x(1 << 20), "500"},
		{"C2 NUL", "NO\x00OP\r\n", "501 221"},
		{"C2 octets", "\xff\xfe\xfd\r\n", "500 221"},
		{"C2 escape", "NOOP \x1b[2J\x07\r\n", "501 221"},
		{"C2 empty", "\r\n", "500 221"},
		{"C2 LF", "\n", "500"},
		{"C2 CR CR", "NOOP\r\r\n", "501 221"},
		{"C2 blanks", "   NOOP\r\n", "500 221"},
		{"C2 tab", "NOOP\tx\r\n", "501 221"},
		{"C4 empty", "EHLO\r\nEHLO \r\n", "501 501 221"},
		{"C4 255", "EHLO " + strings.Repeat(x(62)+".", 4) + "xyz\r\n", "250 221"},
		{"C4 300", "EHLO " + strings.Repeat(x(62)+".", 5) + "x\r\n", "501 221"},
		{"C4 format", "EHLO %s%s\r\n", "501 221"},
		{"C4 script", "EHLO <script>\r\n", "501 221"},
		{"C4 quotes", "EHLO a'b;c\r\n", "501 221"},
		{"C4 bracket", "EHLO [1.2.3.4\r\n", "501 221"},
		{"C4 NUL", "EHLO foo\x00bar\r\n", "501 221"},
		{"C4 UTF-8", "EHLO \u00e9\r\n", "501 221"},
		{"C4 dot", "EHLO c.example.\r\n", "501 221"},
		{"C4 underscore", "EHLO my_host\r\n", "250 221"},
		{"C5 unknown", strings.Repeat("FROB\r\n", 60), strings.Repeat("500 ", 21) + "421"},
		{"C5 RSET", strings.Repeat("RSET\r\n", 10000), strings.Repeat("250 ", 1001) + "421"},
		{"C5 NOOP", strings.Repeat("NOOP\r\n", 10000), strings.Repeat("250 ", 1001) + "421"},
		{"C5 MAIL", "HELO c\r\n" + strings.Repeat("MAIL FROM:<>\r\nRSET\r\n", 105), strings.Repeat("250 ", 211) + "221"},
		{"C6 AUTH", "EHLO c\r\nAUTH PLAIN AGEAYg==\r\nAUTH\r\n", "250 503 503 221"},
	} {
		for _, way := range sendWays {
			t.Run(v.name+"/"+way, func(t *testing.T) {
				mails, replies := converse(t, testConfig(), v.line+"QUIT\r\n", way)
				if got := codes(replies); got != v.want || len(mails) > 0 {
					t.Errorf("%s, want %s", got, v.want)
				}
			})
		}
	}
}

// The addresses A1 to A42, as senders and as recipients. What is taken comes out in one form. No
// length is refused that a line and a domain can have (A17, A19).
func TestAddressVectors(t *testing.T) {
	local := strings.Repeat("l", 64)
	for _, v := range []struct {
		name, addr string
		want       string // the address that is taken
		takes      bool
	}{
		{"A1", `"quoted local"@d.example`, `"quoted local"@d.example`, true},
		{"A2", `"q\"u"@d.example`, `"q\"u"@d.example`, true},
		{"A3", `"a@b"@d.example`, `"a@b"@d.example`, true},
		{"A4", `a@[127.0.0.1]`, `a@[127.0.0.1]`, true},
		{"A5", `a@[IPv6:::1]`, `a@[ipv6:::1]`, true},
		{"A6", `a@[999.1.1.1]`, "", false},
		{"A7", `@r1.example,@r2.example:a@d.example`, `a@d.example`, true},
		{"A8", `a@d.example.`, "", false},
		{"A9", `a@.d.example`, "", false},
		{"A10", `a..b@d.example`, "", false},
		{"A11", `.a@d.example`, "", false},
		{"A12", `a@-d.example`, "", false},
		{"A13", `a@exa_mple.example`, `a@exa_mple.example`, true},
		{"A14", `a@`, "", false},
		{"A15", `a@@d.example`, "", false},
		{"A16", `a b@d.example`, "", false},
		{"A16 tab", "a\tb@d.example", "", false},
		{"A17 64", local + `@d.example`, local + `@d.example`, true},
		{"A17 65", local + `l@d.example`, local + `l@d.example`, true},
		{"A18", `a@` + strings.Repeat("d23456789.", 26) + `example`, "", false},
		{"A19", local + `@` + strings.Repeat("d23456789.", 20) + `example`, local + `@` + strings.Repeat("d23456789.", 20) + `example`, true},
		{"A20", "`id`@d.example", "`id`@d.example", true},
		{"A21", "$(id)@d.example", "", false},
		{"A22", "${IFS}@d.example", "${IFS}@d.example", true},
		{"A23", ";id@d.example", "", false},
		{"A24", "|/bin/sh@d.example", "|/bin/sh@d.example", true},
		{"A25", "&@d.example", "&@d.example", true},
		{"A26", "'@d.example", "'@d.example", true},
		{"A27", `"@d.example`, "", false},
		{"A28", "../../etc/passwd@d.example", "", false},
		{"A29", "/etc/passwd@d.example", "/etc/passwd@d.example", true},
		{"A30", ":include:/etc/passwd@d.example", "", false},
		{"A31", "|id", "|id", true},
		{"A32", `"|id"@d.example`, `|id@d.example`, true},
		{"A33", "a\rb@d.example", "", false},
		{"A34", "a\x00b@d.example", "", false},
		{"A35", "%{sender}@d.example", "%{sender}@d.example", true},
		{"A36", "a%0ab@d.example", "a%0ab@d.example", true},
		{"A38 >>", "a@d.example>", "", false},
		{"A38 <<", "<a@d.example", "", false},
		{"A39", "\u00f6@d.example", "", false},
		{"A39 domain", "a@ex\u00e4mple", "", false},
		{"A40", "\xff\xfe@d.example", "", false},
		{"A41", "a@xn--exmple-cua.example", "a@xn--exmple-cua.example", true},
		{"A42", "o\u0308@d.example", "", false},
	} {
		for _, way := range sendWays {
			t.Run(v.name+"/"+way, func(t *testing.T) { testAddress(t, v.addr, v.want, v.takes, way) })
		}
	}
}

func testAddress(t *testing.T, addr, want string, takes bool, way string) {
	text := "HELO c\r\nMAIL FROM:<" + addr + ">\r\nRSET\r\nMAIL FROM:<>\r\nRCPT TO:<" + addr + ">\r\nRCPT TO:<ok@d.example>\r\nDATA\r\n.\r\n"
	if takes {
		text += "MAIL FROM:<" + addr + ">\r\nRCPT TO:<ok@d.example>\r\nDATA\r\n.\r\n"
	}
	mails, replies := talk(t, testConfig(), text+"QUIT\r\n", way)
	got := strings.Split(codes(replies), " ")
	if taken := got[1] == "250" && got[4] == "250"; taken != takes || !takes && (got[1][0] != '5' || got[4][0] != '5') {
		t.Fatalf("MAIL %s, RCPT %s", got[1], got[4])
	}
	if takes && (len(mails) != 2 || mails[0].to[0] != want || mails[1].from != want) {
		t.Errorf("%+v", mails)
	}
}

// A37: what xtext brings is no line of anything.
func TestParameterVectors(t *testing.T) {
	for _, param := range []string{"RCPT TO:<a@d.example> ORCPT=rfc822;a+0Ab", "RCPT TO:<a@d.example> ORCPT=rfc822;a+00b",
		"MAIL FROM:<> ENVID=x+0D+0Ay"} {
		for _, way := range sendWays {
			_, replies := talk(t, testConfig(), "EHLO c\r\nMAIL FROM:<>\r\n"+strings.Replace(param, "MAIL", "RSET\r\nMAIL", 1)+"\r\nQUIT\r\n", way)
			got := strings.Split(codes(replies), " ")
			if last := got[len(got)-2]; last[0] != '5' {
				t.Errorf("%s: %s", param, got)
			}
		}
	}
}

// B9: the thousandth recipient is taken, the next one is not, and the message goes to a thousand.
func TestManyRecipients(t *testing.T) {
	var text strings.Builder
	text.WriteString("EHLO c\r\nMAIL FROM:<>\r\n")
	for i := range 1001 {
		fmt.Fprintf(&text, "RCPT TO:<r%d@example.org>\r\n", i)
	}
	for _, way := range sendWays {
		mails, replies := talk(t, testConfig(), text.String()+"DATA\r\n.\r\nQUIT\r\n", way)
		if got := codes(replies); got != strings.Repeat("250 ", 1002)+"452 354 250 221" || len(mails) != 1 || len(mails[0].to) != 1000 {
			t.Errorf("%s: %.200s", way, got[len(got)-60:])
		}
	}
}
