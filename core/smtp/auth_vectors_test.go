package smtp

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/trace"
)

// hearing is a backend whose sessions listen to the lines, as filters do.
type hearing struct {
	sample
	lines
}

func (h *hearing) NewSession(c *Conn) (gosmtp.Session, error) {
	return &hearingSession{&sampleSession{b: &h.sample}, &h.lines}, nil
}

type hearingSession struct {
	*sampleSession
	lines *lines
}

func (s *hearingSession) ClientLine(line string) { s.lines.Log(trace.Debug, line) }
func (s *hearingSession) ServerLine(line string) { s.lines.Log(trace.Debug, line) }

// converseTLS is converse for a session under TLS from the first octet, with AUTH. Each write is a
// record of its own.
func converseTLS(t *testing.T, b Backend, text, way string, watch ...func(*trace.Logger)) (replies, log string) {
	t.Helper()
	cfg := testConfig()
	cfg.TLSConfig, cfg.SMTPS, cfg.MaxErrors, cfg.MaxAuthErrors = testTLS(t), true, 300, 300
	client, server := net.Pipe()
	s := startOn(t, context.Background(), client, server, cfg, b, testPeer(), watch...)
	tc := tls.Client(s.Conn, &tls.Config{InsecureSkipVerify: true})
	banner(t, tc)
	go sendPieces(tc, text, way)
	got, err := io.ReadAll(tc)
	if err != nil {
		t.Fatalf("%v after %q", err, got)
	}
	<-s.done
	checkLines(t, string(got), s.log.String())
	return string(got), s.log.String()
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// C6: what can be said in the place of AUTH and its answers, in each way of sending. The session
// stays in step, and nobody is let in but who knows the password.
func TestAuthVectors(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, v := range []struct{ name, text, want string }{
		{"nothing", "AUTH\r\n", "501"},
		{"only blanks", "AUTH   \r\n", "501"},
		{"cancelled", "AUTH PLAIN\r\n*\r\n", "334 501"},
		{"LOGIN cancelled", "AUTH LOGIN\r\n" + b64("ann") + "\r\n*\r\n", "334 334 501"},
		{"empty", "AUTH PLAIN =\r\n", "501"},
		{"empty line", "AUTH PLAIN\r\n\r\n", "334 501"},
		{"no base64", "AUTH PLAIN %%%\r\n", "501"},
		{"padding within", "AUTH PLAIN =AAA\r\nAUTH PLAIN AAA=BBB\r\nAUTH PLAIN AA==AA==\r\n", "501 501 501"},
		{"star as response", "AUTH PLAIN *\r\n", "501"},
		{"a blank in base64", "AUTH PLAIN AGFubgBhbm5wdw== AGFubgBhbm5wdw==\r\n", "501"},
		{"nobody", "AUTH PLAIN " + b64("\x00\x00") + "\r\n", "501"},
		{"no password", "AUTH PLAIN " + b64("\x00ann\x00") + "\r\n", "535"},
		{"another identity", "AUTH PLAIN " + b64("bea\x00ann\x00annpw") + "\r\n", "535"},
		{"another case", "AUTH PLAIN " + b64("ANN\x00ann\x00annpw") + "\r\n", "535"},
		{"the same identity", "AUTH PLAIN " + b64("ann\x00ann\x00annpw") + "\r\n", "235"},
		{"LF in the user", "AUTH PLAIN " + b64("\x00a\nb\x00annpw") + "\r\n", "501"},
		{"LF in the password", "AUTH PLAIN " + b64("\x00ann\x00ann\npw") + "\r\n", "501"},
		{"CR in LOGIN", "AUTH LOGIN " + b64("ann\r") + "\r\nAUTH LOGIN\r\n" + b64("ann") + "\r\n" + b64("annpw\r") + "\r\n", "501 334 334 501"},
		{"NUL at the end", "AUTH PLAIN " + b64("\x00ann\x00annpw\x00") + "\r\n", "501"},
		{"12 KB", "AUTH PLAIN\r\n" + b64("\x00ann\x00"+long(9000)) + "\r\n", "334 535"},
		{"12 KB at once", "AUTH PLAIN " + b64("\x00ann\x00"+long(9000)) + "\r\n", "535"},
		{"12 KB for a user", "AUTH LOGIN\r\n" + b64(long(9000)) + "\r\n", "334 501"},
		{"twice", "AUTH PLAIN " + b64("\x00ann\x00annpw") + "\r\nAUTH PLAIN " + b64("\x00ann\x00annpw") + "\r\n", "235 503"},
		{"in a transaction", "MAIL FROM:<>\r\nAUTH PLAIN " + b64("\x00ann\x00annpw") + "\r\nRSET\r\n", "250 503 250"},
		{"LOGIN with a response", "AUTH LOGIN " + b64("ann") + "\r\n" + b64("annpw") + "\r\n", "334 235"},
		{"a hundred failures", strings.Repeat("AUTH PLAIN "+b64("\x00ann\x00no")+"\r\n", 100), strings.Repeat("535 ", 99) + "535"},
		{"no mechanism", "AUTH NONE x\r\nAUTH PLAIN\tx\r\nAUTH PLAINx\r\n", "504 501 504"},
		{"a command in an exchange", "AUTH LOGIN\r\nQUIT\r\n", "334 501"}, // QUIT is base64, of octets that no user has
	} {
		for _, way := range sendWays {
			if way == "octets" && len(v.text) > 4000 {
				continue // each octet is a record
			}
			t.Run(v.name+"/"+way, func(t *testing.T) {
				replies, _ := converseTLS(t, &sample{auth: true}, "EHLO c\r\n"+v.text+"QUIT\r\n", way)
				if got := codes(replies); got != "250 "+v.want+" 221" {
					t.Errorf("%s, want %s", got, v.want)
				}
			})
		}
	}
}

// C6: base64 of all lengths up to 100, with and without its padding, broken and whole.
func TestAuthLengths(t *testing.T) {
	var text, want strings.Builder
	for n := range 101 {
		whole := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("\xff", n)))
		for _, s := range []string{whole, strings.TrimRight(whole, "="), whole + "=", "=" + whole, whole + " "} {
			if s = strings.TrimRight(s, " "); s == "" || s == "=" {
				continue
			}
			text.WriteString("AUTH PLAIN " + s + "\r\n")
			want.WriteString("501 ")
		}
	}
	replies, _ := converseTLS(t, &sample{auth: true}, "EHLO c\r\n"+text.String()+"QUIT\r\n", "one write")
	if got := codes(replies); !strings.HasPrefix(got, "250 "+strings.Repeat("501 ", 250)) {
		t.Errorf("%s", got)
	}
}

// A line of an exchange has up to 12288 octets with its end, the command too; one that is longer
// ends the session with a reply of its own (RFC 4954 section 4). Without TLS, and once
// authenticated, AUTH is a command like others.
func TestAuthLineLength(t *testing.T) {
	line := func(n int, before string) string { return before + strings.Repeat("A", n-len(before)-2) + "\r\n" }
	auth := "AUTH PLAIN " + b64("\x00ann\x00annpw") + "\r\n"
	for _, v := range []struct{ name, text, want string }{
		{"response", "AUTH PLAIN\r\n" + line(maxAuthLine, "") + "NOOP\r\nQUIT\r\n", "334 501 250 221"},
		{"response too long", "AUTH PLAIN\r\n" + line(maxAuthLine+1, "") + "QUIT\r\n", "334 500"},
		{"response without end", "AUTH PLAIN\r\n" + strings.Repeat("A", 100000), "334 500"},
		{"initial", line(maxAuthLine, "AUTH PLAIN ") + "NOOP\r\nQUIT\r\n", "501 250 221"},
		{"initial in small letters", line(maxAuthLine, "auth plain ") + "QUIT\r\n", "501 221"},
		{"initial too long", line(maxAuthLine+1, "AUTH PLAIN ") + "QUIT\r\n", "500"},
		{"another command", line(maxLine+1, "NOOP ") + "QUIT\r\n", "500"},
		{"after a success", auth + line(maxLine+1, "AUTH PLAIN ") + "QUIT\r\n", "235 500"},
		{"many", strings.Repeat(line(maxAuthLine, "AUTH PLAIN "), 20) + "QUIT\r\n", strings.Repeat("501 ", 20) + "221"},
	} {
		for _, way := range sendWays[:2] {
			replies, log := converseTLS(t, &sample{auth: true}, "EHLO c\r\n"+v.text, way)
			if got := codes(replies); got != "250 "+v.want {
				t.Errorf("%s/%s: %s, want %s", v.name, way, got, v.want)
			}
			if tooLong := strings.Contains(replies, "500 5.5.6 Authentication exchange line is too long"); tooLong != strings.HasSuffix(v.name, "too long") && !strings.HasSuffix(v.name, "without end") {
				t.Errorf("%s: %q", v.name, replies)
			}
			if strings.Contains(log, "AAAA") {
				t.Errorf("%s: %.300s", v.name, log)
			}
		}
	}
	cfg := testConfig()
	cfg.TLSConfig = testTLS(t)
	if _, replies := converse(t, cfg, "EHLO c\r\n"+line(maxLine+1, "AUTH PLAIN "), "one write"); codes(replies) != "250 500" {
		t.Errorf("in clear: %q", replies)
	}
}

// No secret that a client sends is in a log, a trace or what filters hear, whatever is logged.
func TestSecrets(t *testing.T) {
	const secret = "Geheim-S3cr3t"
	plain, alone := b64("\x00ann\x00"+secret), b64(secret)
	scramFirst := b64("n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
	scramFinal := b64("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
	hidden := []string{secret, plain, alone, b64("ann"), scramFirst, scramFinal, "W22ZaJ0SNY7soEsUEjb6gQ", "dHzbZapWIk4jUhN",
		"6rriTRBi23WpRR", b64("r=rOprNGfwEbeRWgb"), b64("v=6rriTRBi23WpRR/")}
	for name, text := range map[string]string{
		"PLAIN":                 "AUTH PLAIN " + plain,
		"PLAIN in two":          "AUTH PLAIN\r\n" + plain,
		"PLAIN in small":        "auth plain " + plain,
		"LOGIN":                 "AUTH LOGIN\r\n" + b64("ann") + "\r\n" + alone,
		"LOGIN initial":         "AUTH LOGIN " + b64("ann") + "\r\n" + alone,
		"LOGIN without base64":  "AUTH LOGIN\r\n" + b64("ann") + "\r\n" + secret,
		"SCRAM":                 "AUTH SCRAM-SHA-256 " + scramFirst + "\r\n" + scramFinal + "\r\n",
		"SCRAM in three":        "AUTH SCRAM-SHA-256\r\n" + scramFirst + "\r\n" + scramFinal + "\r\n",
		"not offered":           "AUTH CRAM-MD5\r\n" + alone,
		"not known":             "AUTH XSECRET " + alone,
		"no mechanism":          "AUTH " + secret,
		"no mechanism, more":    "AUTH " + secret + " x\r\n" + secret,
		"EXTERNAL":              "AUTH EXTERNAL " + alone,
		"a tab":                 "AUTH\tPLAIN\t" + plain,
		"a NUL":                 "AUTH PLAIN\x00" + plain,
		"a NUL before":          "\x00AUTH PLAIN " + plain,
		"blanks":                "  AUTH   PLAIN   " + plain,
		"misspelt":              "AUHT PLAIN " + plain,
		"as a command":          secret,
		"as a command, later":   "AUTH PLAIN !\r\nNOOP\r\nRSET\r\n" + secret + "\r\n" + alone,
		"after a failure":       "AUTH PLAIN " + b64("\x00ann\x00no") + "\r\n" + secret,
		"after a success":       "AUTH PLAIN " + b64("\x00ann\x00annpw") + "\r\n" + alone,
		"in a transaction":      "MAIL FROM:<>\r\nAUTH PLAIN " + plain,
		"twice":                 "AUTH PLAIN " + b64("\x00ann\x00annpw") + "\r\nAUTH PLAIN " + plain,
		"for a cancelled":       "AUTH PLAIN\r\n*\r\n" + plain,
		"the table is away":     "AUTH PLAIN " + b64("\x00broken\x00"+secret),
		"too long":              "AUTH PLAIN " + strings.Repeat(alone, 1000),
		"behind a long one":     "NOOP " + strings.Repeat("x", 3000) + secret,
		"with a line end in it": "AUTH PLAIN " + b64("\x00ann\x00"+secret+"\n"),
	} {
		hidden := append(hidden, b64("\x00broken\x00"+secret), b64("\x00ann\x00"+secret+"\n"))
		for level, watch := range map[string]func(*trace.Logger){
			"": func(*trace.Logger) {}, "verbose": func(l *trace.Logger) { l.SetVerbose(true) },
			"traced": func(l *trace.Logger) { l.SetVerbose(true); l.SetTraced(trace.All) },
			"watched": func(l *trace.Logger) {
				c, _ := trace.ParseClient(trace.SMTP, "127.0.0.10")
				l.SetClients([]trace.Client{c})
			},
		} {
			b := &hearing{sample: sample{auth: true, scram: true}}
			_, log := converseTLS(t, b, "EHLO c\r\n"+text+"\r\nQUIT\r\n*\r\nQUIT\r\n", "lines", watch)
			for _, word := range hidden {
				if strings.Contains(log, word) || strings.Contains(b.lines.String(), word) {
					t.Errorf("%s, %s: %q is in\n%s\n%s", name, level, word, log, b.lines.String())
				}
			}
			if traced := level == "traced" || level == "watched"; traced != strings.Contains(log, "<<< EHLO c") {
				t.Errorf("%s: traced is %v:\n%s", level, traced, log)
			}
		}
	}
}

// A session can be traced from the middle on, by its number.
func TestTraceOneSession(t *testing.T) {
	var l *trace.Logger
	client, server := net.Pipe()
	s := startOn(t, context.Background(), client, server, testConfig(), &sample{}, testPeer(), func(logger *trace.Logger) { l = logger })
	r := bufio.NewReader(s)
	readLine(t, r, "220 ")
	send(t, s, "NOOP one\r\nXYZ\r\n")
	readLine(t, r, "250 ")
	readLine(t, r, "500 ")
	id, _, _ := strings.Cut(s.log.String(), " ")
	c, ok := trace.ParseClient(trace.SMTP, id)
	if !ok {
		t.Fatal(id)
	}
	l.SetClients([]trace.Client{c})
	send(t, s, "NOOP two\r\n")
	readLine(t, r, "250 ")
	l.SetClients(nil)
	send(t, s, "NOOP three\r\nQUIT\r\n")
	readLine(t, r, "250 ")
	readLine(t, r, "221 ")
	<-s.done
	want := fmt.Sprintf("smtp: %s: <<< NOOP two\nsmtp: %[1]s: >>> 250 2.0.0 Ok\n", id)
	if log := s.log.String(); !strings.Contains(log, want) || strings.Count(log, "NOOP") != 1 {
		t.Errorf("%s\nwant\n%s", log, want)
	}
}
