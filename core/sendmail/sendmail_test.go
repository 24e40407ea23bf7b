package sendmail

import (
	"bytes"
	"errors"
	"io"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/address"
)

var root = Identity{User: "root", Name: "root", Host: "mx1.example.org", Now: time.Date(2026, 11, 23, 13, 3, 41, 0, time.UTC)}

func code(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return -1
	}
	return ExitOK
}

func TestParseOptions(t *testing.T) {
	bob := address.Address{Local: "bob"}
	tests := []struct {
		args []string
		want Options
	}{
		{[]string{"bob"}, Options{}},
		{[]string{"-i", "-oi", "-oem", "-odb", "-B8BITMIME", "-v", "bob"}, Options{Verbose: true}},
		{[]string{"-tfa@b.example", "-F", "Some One", "bob"}, Options{Scan: true, HasSender: true, Sender: address.Address{Local: "a", Domain: "b.example"}, Name: "Some One"}},
		{[]string{"-f", "<>", "bob"}, Options{HasSender: true}},
		{[]string{"-f", "", "bob"}, Options{HasSender: true}},
		{[]string{"-r", "Al <al@b.example>", "bob"}, Options{HasSender: true, Sender: address.Address{Local: "al", Domain: "b.example"}}},
		{[]string{"-N", "success,failure", "-R", "hdrs", "-V", "a+b=c d", "bob"}, Options{Notify: "SUCCESS,FAILURE", Ret: "HDRS", EnvID: "a+2Bb+3Dc+20d"}},
		{[]string{"-E", "-J", "-m", "-n", "-L", "tag", "-O", "x=y", "-C", "/x", "-bm", "--", "bob"}, Options{}},
		{[]string{"-bp"}, Options{Mode: ListQueue}},
		{[]string{"-bi"}, Options{Mode: NewAliases}},
	}
	for _, tt := range tests {
		if slices.Contains(tt.args, "bob") {
			tt.want.Recipients = []address.Address{bob}
		}
		got, err := ParseOptions(tt.args)
		if err != nil {
			t.Errorf("%q: %v", tt.args, err)
			continue
		}
		if !slices.Equal(got.Recipients, tt.want.Recipients) {
			t.Errorf("%q: recipients %v", tt.args, got.Recipients)
		}
		got.Recipients, tt.want.Recipients = nil, nil
		if gotText, wantText := *got, tt.want; !equalOptions(gotText, wantText) {
			t.Errorf("%q: %+v", tt.args, *got)
		}
	}
}

func equalOptions(a, b Options) bool {
	return a.Mode == b.Mode && a.HasSender == b.HasSender && a.Sender == b.Sender && a.Name == b.Name &&
		a.Scan == b.Scan && a.Verbose == b.Verbose && a.Notify == b.Notify && a.Ret == b.Ret && a.EnvID == b.EnvID
}

func TestParseOptionsErrors(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
	}{
		{[]string{"-Z"}, ExitUsage},
		{[]string{"-:"}, ExitUsage},
		{[]string{"-f"}, ExitUsage},
		{[]string{"-bs"}, ExitUsage},
		{[]string{"-bv", "bob"}, ExitUsage},
		{[]string{"-q30m"}, ExitSoftware},
		{[]string{"-N", "never,delay", "bob"}, ExitUsage},
		{[]string{"-N", "sometimes", "bob"}, ExitUsage},
		{[]string{"-N", "delay,delay,delay,delay", "bob"}, ExitUsage},
		{[]string{"-N", "delay,delay", "bob"}, ExitUsage},
		{[]string{"-R", "some", "bob"}, ExitUsage},
		{[]string{"-V", "gr\u00fcn", "bob"}, ExitUsage},
		{[]string{"-V", strings.Repeat("+", 40), "bob"}, ExitUsage},
		{[]string{"-f", "a@b, c@d", "bob"}, ExitUsage},
		{[]string{"bob@example.org\nRCPT TO:<alice@example.org>"}, ExitUsage},
		{[]string{"-f", "a@b>\nRCPT TO:<alice", "bob"}, ExitUsage},
		{[]string{"two words"}, ExitUsage},
	} {
		if _, err := ParseOptions(tt.args); code(err) != tt.code {
			t.Errorf("%q: %v (%d)", tt.args, err, code(err))
		}
	}
}

func TestParseRecipients(t *testing.T) {
	for in, want := range map[string]string{
		"":    "",
		"bob": "bob",
		"bob@example.org, \"x, y\" <alice@example.org>": "bob@example.org alice@example.org",
		"(c) bob@example.org":                           "bob@example.org",
		"bob@example.org (Bob (the (b)) \\) x)":         "bob@example.org",
		"bob (a) @ (b) Example . org":                   "bob@example.org",
		"\"john doe\"@example.org":                      `"john doe"@example.org`,
		"\"a\\\"b,c\" <q@x>,,":                          "q@x",
		"undisclosed-recipients:;":                      "",
		"Team: a@x, B <b@x>; c@x":                       "a@x b@x c@x",
		"u@[IPv6:2001:db8::1], u@[192.0.2.1]":           "u@[ipv6:2001:db8::1] u@[192.0.2.1]",
		"Fo\xc3\xb6 <f@x>":                              "f@x",
		"=?utf-8?q?a=2C?= <f@x>\n\t, < g@x >":           "f@x g@x",
		"<@relay.example:u@x>":                          "u@x",
		"J. R. Hacker <jr@x> (comment)":                 "jr@x",
	} {
		list, err := ParseRecipients(in)
		var got []string
		for _, a := range list {
			got = append(got, a.String())
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %q %v", in, got, err)
		}
	}
	for _, in := range []string{"two words", "<>", "a@b <", "\"open", "(open", "a@b@c", "a@-", "[x", "<a@b> <c@d>", "b\xf6b@x",
		"a\x01b c@x", strings.Repeat("x", 600), strings.Repeat("(", 100000), strings.Repeat("a,", MaxRecipients+1)} {
		if list, err := ParseRecipients(in); err == nil {
			t.Errorf("%.40q: %v", in, list)
		}
	}
}

// server is the other end: it answers by script and keeps what it heard.
type server struct {
	commands []string
	data     string
	raw      string
}

// serve answers each command with the reply of its first word, or as a willing server does.
func serve(conn net.Conn, replies map[string]string) (*server, chan struct{}) {
	s, done := new(server), make(chan struct{})
	go func() {
		defer close(done)
		defer conn.Close()
		var raw bytes.Buffer
		in := textproto.NewConn(struct {
			io.Reader
			io.Writer
			io.Closer
		}{io.TeeReader(conn, &raw), conn, conn})
		answer := func(verb, usual string) {
			if r, ok := replies[verb]; ok {
				usual = r
			}
			io.WriteString(conn, usual+"\r\n")
		}
		answer("banner", "220 mx1.example.org ESMTP")
		for {
			line, err := in.ReadLine()
			if err != nil {
				return
			}
			s.commands = append(s.commands, line)
			switch verb, _, _ := strings.Cut(line, " "); verb {
			case "EHLO":
				answer(verb, "250-mx1.example.org Hello\r\n250-8BITMIME\r\n250-SIZE 36700160\r\n250 DSN")
			case "DATA":
				answer(verb, "354 go on")
				if replies[verb] != "" {
					continue
				}
				mark := raw.Len() - in.R.Buffered()
				data, err := in.ReadDotBytes()
				if err != nil {
					return
				}
				s.data, s.raw = string(data), raw.String()[mark:]
				answer(".", "250 2.0.0 34ff6e0a Message accepted for delivery")
			case "QUIT":
				answer(verb, "221 2.0.0 Bye")
				return
			default:
				answer(verb, "250 2.0.0 Ok")
			}
		}
	}()
	return s, done
}

// submit runs the program's way: options, message, dialogue.
func submit(t *testing.T, input string, replies map[string]string, args ...string) (*server, string, error) {
	t.Helper()
	o, err := ParseOptions(args)
	if err != nil {
		return nil, "", err
	}
	m, err := Read(strings.NewReader(input), o, root)
	if err != nil {
		return nil, "", err
	}
	client, other := net.Pipe()
	s, done := serve(other, replies)
	var log bytes.Buffer
	err = m.Send(client, o, &log)
	client.Close()
	<-done
	return s, log.String(), err
}

func TestVerboseDialogue(t *testing.T) {
	_, log, err := submit(t, "Subject: o\n\nx\n", nil, "-i", "-v", "bob@example.org")
	if err != nil {
		t.Fatal(err)
	}
	want := `<<< 220 mx1.example.org ESMTP
>>> EHLO localhost
<<< 250-mx1.example.org Hello
<<< 250-8BITMIME
<<< 250-SIZE 36700160
<<< 250 DSN
>>> MAIL FROM:<root@mx1.example.org>
<<< 250 2.0.0 Ok
>>> RCPT TO:<bob@example.org>
<<< 250 2.0.0 Ok
>>> DATA
<<< 354 go on
>>> .
<<< 250 2.0.0 34ff6e0a Message accepted for delivery
>>> QUIT
<<< 221 2.0.0 Bye
`
	if log != want {
		t.Errorf("got:\n%s", log)
	}
}

func TestMessages(t *testing.T) {
	const date = "Date: Mon, 23 Nov 2026 13:03:41 +0000 (UTC)\n"
	long := strings.Repeat("x", 3000)
	tests := []struct {
		name, input string
		args        []string
		mail        string
		rcpt        string
		data        string
	}{
		{"simple", "Subject: local\n\nlocal body\n.\nafter dot\n..two\n", []string{"bob"},
			"MAIL FROM:<root@mx1.example.org>", "<bob@mx1.example.org>",
			"From: root <root@mx1.example.org>\n" + date + "Subject: local\n\nlocal body\n.\nafter dot\n..two\n"},
		{"header recipients", "From: Al <alice@example.org>\nTo: bob@example.org, \"x, y\" <alice@example.org>\nCc: (c) bob@example.org\nBcc: alice@example.org,\n carol\nSubject: t\n\nx\n",
			[]string{"-t"}, "MAIL FROM:<alice@example.org>", "<bob@example.org> <alice@example.org> <carol@mx1.example.org>",
			date + "From: Al <alice@example.org>\nTo: bob@example.org, \"x, y\" <alice@example.org>\nCc: (c) bob@example.org\nSubject: t\n\nx\n"},
		{"sender and name", "Subject: f\n\nx\n", []string{"-f", "someone@example.com", "-F", "Some, One", "bob@example.org"},
			"MAIL FROM:<someone@example.com>", "<bob@example.org>",
			"From: \"Some, One\" <someone@example.com>\n" + date + "Subject: f\n\nx\n"},
		{"null sender", "From: x@y\n\n", []string{"-f", "<>", "bob@example.org"}, "MAIL FROM:<>", "<bob@example.org>", date + "From: x@y\n\n"},
		{"notify", "From: x@y\nDate: z\n\n", []string{"-N", "never", "-R", "full", "-V", "e1", "a@b, c@d"}, "MAIL FROM:<x@y> RET=FULL ENVID=e1",
			"<a@b> NOTIFY=NEVER <c@d> NOTIFY=NEVER", "From: x@y\nDate: z\n\n"},
		{"dropped", "From somebody Mon Nov 23\nReturn-Path: <x>\nFrom: x@y\r\nDate: z\r\n\r\nFrom here\r\n", []string{"a@b"}, "MAIL FROM:<x@y>",
			"<a@b>", "From: x@y\nDate: z\n\nFrom here\n"},
		{"no header", "no header here\r\nfoo\r\n", []string{"a@b"}, "MAIL FROM:<root@mx1.example.org>", "<a@b>",
			"From: root <root@mx1.example.org>\n" + date + "\nno header here\nfoo\n"},
		{"no body, no line end", "From: x@y\nDate: z\nA: b", []string{"a@b"}, "MAIL FROM:<x@y>", "<a@b>", "From: x@y\nDate: z\nA: b\n\n"},
		{"8 bit", "From: x@y\nDate: z\n\ngr\xc3\xbcn", []string{"a@b"}, "MAIL FROM:<x@y> BODY=8BITMIME", "<a@b>", "From: x@y\nDate: z\n\ngr\xc3\xbcn\n"},
		{"header injection", "From: x@y\nDate: z\nX: a\rBcc: b\x00c\n\n", []string{"a@b"}, "MAIL FROM:<x@y>", "<a@b>", "From: x@y\nDate: z\nX: a Bcc: b c\n\n"},
		{"declared", "From: x@y\nDate: z\nContent-Transfer-Encoding: 7bit\n\na\rb\x00" + long + "\r\r\n", []string{"a@b"}, "MAIL FROM:<x@y>", "<a@b>",
			"From: x@y\nDate: z\nContent-Transfer-Encoding: 7bit\n\na b " + long + "\n"},
		{"multipart", "From: x@y\nDate: z\nContent-Type: Multipart/mixed; boundary=a\n\n" + long + "\n", []string{"a@b"}, "MAIL FROM:<x@y>", "<a@b>",
			"From: x@y\nDate: z\nContent-Type: Multipart/mixed; boundary=a\n\n" + long + "\n"},
	}
	for _, tt := range tests {
		s, _, err := submit(t, tt.input, nil, tt.args...)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var rcpt []string
		for _, c := range s.commands {
			if r, ok := strings.CutPrefix(c, "RCPT TO:"); ok {
				rcpt = append(rcpt, r)
			}
		}
		if s.commands[1] != tt.mail || strings.Join(rcpt, " ") != tt.rcpt {
			t.Errorf("%s: %q", tt.name, s.commands)
		}
		if s.data != tt.data {
			t.Errorf("%s: got:\n%q\nwant:\n%q", tt.name, s.data, tt.data)
		}
	}
}

// decode gives the body of a message that was sent as quoted-printable.
func decode(t *testing.T, data string) (mail.Header, string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Header.Get("Content-Transfer-Encoding"); got != "quoted-printable" {
		t.Fatalf("encoding %q", got)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		t.Fatal(err)
	}
	return m.Header, string(body)
}

func TestOddLinesAreEncoded(t *testing.T) {
	for _, body := range []string{
		strings.Repeat("x", 3000) + "\n",
		strings.Repeat("y=", 4096) + "\r\nnext \n",
		"10%\r20%\r100%\n.\n",
		"foo\x00bar\n",
		strings.Repeat("z", 4095) + "\r\nx\n",
		strings.Repeat("z", 4095) + "\rx\n",
		strings.Repeat("z", 4096) + "\r\r\n\n\n",
	} {
		s, _, err := submit(t, "From: x@y\n\n"+body, nil, "a@b")
		if err != nil {
			t.Fatal(err)
		}
		header, got := decode(t, s.data)
		if want := strings.ReplaceAll(body, "\r\n", "\n"); got != want {
			t.Errorf("%.60q: got %.60q", want, got)
		}
		if header.Get("Mime-Version") != "1.0" || header.Get("Content-Type") != "text/plain; charset=us-ascii" {
			t.Errorf("header %v", header)
		}
		for line := range strings.SplitSeq(s.data, "\n") {
			if len(line) > 200 {
				t.Errorf("line of %d octets", len(line))
			}
		}
	}
	for tail, charset := range map[string]string{"\xc3\xbc": "utf-8", "\xfc": "unknown-8bit"} {
		s, _, err := submit(t, "From: x@y\n\n"+tail+"\n"+strings.Repeat("x", 3000), nil, "a@b")
		if err != nil {
			t.Fatal(err)
		}
		if header, _ := decode(t, s.data); header.Get("Content-Type") != "text/plain; charset="+charset {
			t.Errorf("content type %q", header.Get("Content-Type"))
		}
	}
}

func TestRefusals(t *testing.T) {
	const input = "From: x@y\n\nbody\n"
	for _, tt := range []struct {
		verb, reply string
		code        int
		text        string
	}{
		{"RCPT", "550 Invalid recipient: <nosuch@example.org>", ExitSoftware, "command failed: 550 Invalid recipient: <nosuch@example.org>"},
		{"RCPT", "451 4.3.0 later", ExitTempFail, "command failed: 451 4.3.0 later"},
		{"banner", "421 busy", ExitTempFail, "command failed: 421 busy"},
		{"banner", "SSH-2.0-OpenSSH", ExitTempFail, `the server talks nonsense: "SSH-2.0-OpenSSH"`},
		{"MAIL", "250", ExitOK, ""},
		{"DATA", "250 what", ExitSoftware, "command failed: 250 what"},
		{".", "554 5.6.0 no", ExitSoftware, "command failed: 554 5.6.0 no"},
		{"QUIT", "500 no", ExitOK, ""},
		{"EHLO", strings.TrimSuffix(strings.Repeat("250-x\r\n", 101), "\r\n"), ExitTempFail, "endless reply of the server"},
		{"MAIL", "250 " + strings.Repeat("x", maxReplyLine), ExitTempFail, ""},
		{"MAIL", "550 \x1b[2J", ExitSoftware, `command failed: 550 \x1b[2J`},
	} {
		_, _, err := submit(t, input, map[string]string{tt.verb: tt.reply}, "nosuch@example.org")
		if code(err) != tt.code || err != nil && tt.text != "" && err.Error() != tt.text {
			t.Errorf("%s %.40q: %v (%d)", tt.verb, tt.reply, err, code(err))
		}
	}
	if _, _, err := submit(t, input, nil); code(err) != ExitSoftware || err.Error() != "no recipients" {
		t.Errorf("no recipients: %v", err)
	}
	if _, _, err := submit(t, "To: two words\n\n", nil, "-t"); code(err) != ExitSoftware {
		t.Errorf("bad To: %v", err)
	}
	if _, _, err := submit(t, strings.Repeat("A: b\n", maxHeader/4), nil, "a@b"); code(err) != ExitSoftware {
		t.Errorf("large header: %v", err)
	}
}

// The message may stand anywhere in its file: after the command line that a kept message
// begins with.
func TestReadFromThePosition(t *testing.T) {
	in := strings.NewReader("first line\nFrom: x@y\nDate: z\n\nbody\n")
	in.Seek(11, io.SeekStart)
	m, err := Read(in, &Options{Recipients: []address.Address{{Local: "a", Domain: "b"}}}, root)
	if err != nil {
		t.Fatal(err)
	}
	client, other := net.Pipe()
	s, done := serve(other, nil)
	if err := m.Send(client, new(Options), nil); err != nil {
		t.Fatal(err)
	}
	<-done
	if s.data != "From: x@y\nDate: z\n\nbody\n" {
		t.Errorf("got %q", s.data)
	}
}

// FuzzRecipients: what is accepted is printed and read again as the same list.
func FuzzRecipients(f *testing.F) {
	f.Add("bob@example.org, \"x, y\" <alice@example.org> (c), g: a@b;")
	f.Add("u@[IPv6:::1] , \"a\\\"b\"@x")
	f.Fuzz(func(t *testing.T, s string) {
		list, err := ParseRecipients(s)
		if err != nil {
			return
		}
		var text []string
		for _, a := range list {
			line := a.String()
			if a.Null() || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Fatalf("%q gives %q", s, line)
			}
			text = append(text, line)
		}
		again, err := ParseRecipients(strings.Join(text, ","))
		if err != nil || !slices.Equal(list, again) {
			t.Errorf("%q gives %q, then %q %v", s, list, again, err)
		}
	})
}

// FuzzSubmit: whatever the input is, the server sees one message of clean lines.
func FuzzSubmit(f *testing.F) {
	f.Add([]byte("Subject: x\r\n\r\n.\r\nQUIT\r\n"))
	f.Add([]byte("A: b\n c\n\r.\r\n\n.\n"))
	f.Add([]byte("From x\n\n" + strings.Repeat("y\r", 5000)))
	f.Fuzz(func(t *testing.T, input []byte) {
		s, _, err := submit(t, string(input), nil, "a@b")
		if err != nil {
			if code(err) == -1 {
				t.Fatal(err)
			}
			return
		}
		if n := len(s.commands); n != 5 || s.commands[n-1] != "QUIT" {
			t.Errorf("%q gives %q", input, s.commands)
		}
		lines := strings.ReplaceAll(strings.TrimSuffix(s.raw, "QUIT\r\n"), "\r\n", "")
		if strings.ContainsAny(lines, "\r\n\x00") || !strings.Contains(s.raw, "\r\n.\r\n") {
			t.Errorf("%q sent as %q", input, s.raw)
		}
	})
}
