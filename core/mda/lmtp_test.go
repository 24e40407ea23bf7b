package mda

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
)

// session is what a scripted LMTP server got.
type session struct {
	commands []string
	data     string
}

// serve runs an LMTP server for one session. Its replies are those of script by verb, or
// good ones; "" closes the connection. The reply to the final dot is that of ".".
func serve(t *testing.T, l net.Listener, script map[string]string) <-chan session {
	t.Helper()
	t.Cleanup(func() { l.Close() })
	done := make(chan session, 1)
	go func() {
		var s session
		defer func() { done <- s }()
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		reply := func(verb, usual string) bool {
			text, ok := script[verb]
			if !ok {
				text = usual
			}
			_, err := io.WriteString(conn, text)
			return text != "" && err == nil
		}
		if !reply("banner", "220 ready\r\n") {
			return
		}
		r := bufio.NewReader(conn)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			line = strings.TrimSuffix(line, "\r\n")
			s.commands = append(s.commands, line)
			verb, _, _ := strings.Cut(line, " ")
			usual := map[string]string{"LHLO": "250-x\r\n250-SIZE 1000000\r\n250 8BITMIME\r\n",
				"DATA": "354 go on\r\n", "QUIT": "221 bye\r\n"}[verb]
			if usual == "" {
				usual = "250 2.0.0 Ok\r\n"
			}
			if !reply(verb, usual) {
				return
			}
			if verb == "DATA" && script["DATA"] == "" {
				if s.data, err = readData(r); err != nil || !reply(".", "250 2.0.0 saved\r\n") {
					return
				}
			}
		}
	}()
	return done
}

func readData(r *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return b.String(), err
		}
		if line == ".\r\n" {
			return b.String(), nil
		}
		b.WriteString(line)
	}
}

func listen(t *testing.T, network, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLMTP(t *testing.T) {
	for _, tt := range []struct {
		name, network, addr string
		rcptTo              bool
		sender              address.Address
		mail, rcpt          string
	}{
		{"tcp", "tcp", "127.0.0.1:0", false, address.Address{Local: "s", Domain: "example.com"},
			"MAIL FROM:<s@example.com> BODY=8BITMIME SIZE=", "RCPT TO:<alice>"},
		{"socket", "unix", "/", true, address.Address{},
			"MAIL FROM:<> BODY=8BITMIME SIZE=", "RCPT TO:<alice+tag@example.org>"},
	} {
		if tt.network == "unix" {
			tt.addr = filepath.Join(t.TempDir(), "lmtp")
		}
		l := listen(t, tt.network, tt.addr)
		done := serve(t, l, nil)
		j := job(LMTP, l.Addr().String(), "Subject: x\n\n.dot\n\r.\rb\na\r\n.\n")
		j.RcptTo, j.Sender = tt.rcptTo, tt.sender
		prefix := j.prefix()
		wantOutcome(t, tt.name, deliver(t, j), envelope.Delivered, "")
		s := <-done
		want := []string{"LHLO mx1.example.org", fmt.Sprint(tt.mail, int64(len(prefix))+j.Size), tt.rcpt, "DATA", "QUIT"}
		if fmt.Sprintf("%q", s.commands) != fmt.Sprintf("%q", want) {
			t.Errorf("%s: commands %q, want %q", tt.name, s.commands, want)
		}
		data := strings.ReplaceAll(prefix, "\n", "\r\n") + "Subject: x\r\n\r\n..dot\r\n . b\r\na\r\n..\r\n"
		if s.data != data {
			t.Errorf("%s: data %q, want %q", tt.name, s.data, data)
		}
	}
}

func TestLMTPRefused(t *testing.T) {
	tests := []struct {
		name   string
		script map[string]string
		want   Outcome
	}{
		{"banner", map[string]string{"banner": "554 go away\r\n"},
			Outcome{envelope.TempFail, `"mail.lmtp: 554 go away"`, 75, 0, 0}},
		{"closed", map[string]string{"LHLO": "550 5.3.2 down\r\n"},
			Outcome{envelope.TempFail, `"mail.lmtp: 550 5.3.2 down"`, 75, 4, 302}},
		{"busy", map[string]string{"banner": "421 4.3.2 busy\r\n"},
			Outcome{envelope.TempFail, `"mail.lmtp: 421 4.3.2 busy"`, 75, 4, 302}},
		{"greeting", map[string]string{"LHLO": "451 later\r\n"},
			Outcome{envelope.TempFail, `"mail.lmtp: 451 later"`, 75, 0, 0}},
		{"sender", map[string]string{"MAIL": "552 5.3.4 too big\r\n"},
			Outcome{envelope.PermFail, `"mail.lmtp: 552 5.3.4 too big"`, 69, 5, 304}},
		{"recipient", map[string]string{"RCPT": "550-5.1.1 no\r\n550 5.1.1 such user\r\n"},
			Outcome{envelope.PermFail, `"mail.lmtp: 550 5.1.1 no such user"`, 69, 5, 101}},
		{"data", map[string]string{"DATA": "450 4.2.1 wait\r\n"},
			Outcome{envelope.TempFail, `"mail.lmtp: 450 4.2.1 wait"`, 75, 4, 201}},
		{"over quota", map[string]string{".": "452 4.2.2 full\r\n"},
			Outcome{envelope.TempFail, `"mail.lmtp: 452 4.2.2 full"`, 75, 4, 202}},
		{"rejected", map[string]string{".": "554 5.7.1 spam\x1b[0m\r\n"},
			Outcome{envelope.PermFail, `"mail.lmtp: 554 5.7.1 spam\x1b[0m"`, 69, 5, 701}},
		{"class differs", map[string]string{".": "550 4.2.2 what\r\n"},
			Outcome{envelope.PermFail, `"mail.lmtp: 550 what"`, 69, 0, 0}},
		{"out of range", map[string]string{".": "550 5.999999.1 what\r\n"},
			Outcome{envelope.PermFail, `"mail.lmtp: 550 what"`, 69, 0, 0}},
		{"odd code", map[string]string{".": "354 what\r\n"},
			Outcome{envelope.TempFail, `"mail.lmtp: 354 what"`, 75, 0, 0}},
	}
	for _, tt := range tests {
		l := listen(t, "tcp", "127.0.0.1:0")
		serve(t, l, tt.script)
		if got := deliver(t, job(LMTP, l.Addr().String(), body)); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// A connection that breaks, at whatever point, costs a retry.
func TestLMTPBreaks(t *testing.T) {
	flood := strings.Repeat("250-"+strings.Repeat("x", 500)+"\r\n", 1000)
	for name, script := range map[string]map[string]string{
		"banner":   {"banner": ""},
		"greeting": {"LHLO": ""},
		"rcpt":     {"RCPT": ""},
		"dot":      {".": ""},
		"flood":    {"LHLO": flood},
		"nonsense": {"MAIL": "hello\r\n"},
		"long":     {"RCPT": "250 " + strings.Repeat("x", 1<<16) + "\r\n"},
	} {
		l := listen(t, "tcp", "127.0.0.1:0")
		serve(t, l, script)
		wantOutcome(t, name, deliver(t, job(LMTP, l.Addr().String(), body)), envelope.TempFail, "mail.lmtp: ")
	}
	l := listen(t, "tcp", "127.0.0.1:0")
	l.Close()
	wantOutcome(t, "down", deliver(t, job(LMTP, l.Addr().String(), body)), envelope.TempFail, "refused")
}

// Once the message is the server's, how it says goodbye does not matter.
func TestLMTPGoodbye(t *testing.T) {
	for _, quit := range []string{"", "500 what\r\n"} {
		l := listen(t, "tcp", "127.0.0.1:0")
		serve(t, l, map[string]string{"QUIT": quit})
		wantOutcome(t, "quit", deliver(t, job(LMTP, l.Addr().String(), body)), envelope.Delivered, "")
	}
}

// A server that says nothing, and one that stops reading, are left when the time is over.
func TestLMTPStalls(t *testing.T) {
	for name, replies := range map[string]string{
		"silent":      "",
		"not reading": "220 x\r\n250 x\r\n250 x\r\n250 x\r\n354 x\r\n",
	} {
		l := listen(t, "tcp", "127.0.0.1:0")
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer l.Close()
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, replies)
			r := bufio.NewReader(conn)
			for line := ""; replies != "" && err == nil && line != "DATA\r\n"; {
				line, err = r.ReadString('\n')
			}
			cancel() // the time is over
			<-t.Context().Done()
		}()
		out := Deliver(ctx, job(LMTP, l.Addr().String(), strings.Repeat("x\n", 8<<20)), host, nil)
		wantOutcome(t, name, out, envelope.TempFail, "mail.lmtp: ") // the dial may see the end too
	}
}

// Half a message must not get a final dot.
func TestLMTPBrokenBody(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	done := serve(t, l, nil)
	j := job(LMTP, l.Addr().String(), body)
	j.Size += 10
	wantOutcome(t, "short", deliver(t, j), envelope.TempFail, "unexpected EOF")
	if s := <-done; len(s.commands) != 4 || s.commands[3] != "DATA" {
		t.Errorf("commands %q", s.commands)
	}
}

func TestLMTPUser(t *testing.T) {
	for _, user := range []string{"a>b", "a b", "<"} {
		l := listen(t, "tcp", "127.0.0.1:0")
		done := serve(t, l, nil)
		j := job(LMTP, l.Addr().String(), body)
		j.User = user
		wantOutcome(t, user, deliver(t, j), envelope.TempFail, "cannot be a recipient")
		if s := <-done; len(s.commands) != 2 {
			t.Errorf("%s: commands %q", user, s.commands)
		}
	}
}

func TestLMTPDestination(t *testing.T) {
	for s, want := range map[string]string{
		"localhost":           "tcp localhost:25",
		"mail.example.org:24": "tcp mail.example.org:24",
		"192.0.2.1":           "tcp 192.0.2.1:25",
		"192.0.2.1:24":        "tcp 192.0.2.1:24",
		"2001:db8::1":         "tcp [2001:db8::1]:25",
		"[2001:db8::1]":       "tcp [2001:db8::1]:25",
		"[2001:db8::1]:24":    "tcp [2001:db8::1]:24",
		"/var/run/lmtp":       "unix /var/run/lmtp",
		":24":                 "error",
		"a:b:c":               "error",
		"[::1":                "error",
	} {
		network, addr, err := lmtpDestination(s)
		got := network + " " + addr
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", s, got, want)
		}
	}
}

func FuzzCopyWithoutBareCR(f *testing.F) {
	f.Add("a\r\nb\rc\r")
	f.Add("0123456789abcde\r\n")
	f.Add("0123456789abcde\r\r\n.\r.\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		var got bytes.Buffer
		if err := copyWithoutBareCR(&got, bufio.NewReaderSize(strings.NewReader(text), 16)); err != nil {
			t.Fatal(err)
		}
		want := strings.ReplaceAll(text, "\r\n", "\x00\x01")
		want = strings.ReplaceAll(want, "\r", " ")
		want = strings.ReplaceAll(want, "\x00\x01", "\r\n")
		if strings.Contains(text, "\x00\x01") {
			t.Skip("the check's own mark")
		}
		if got.String() != want {
			t.Errorf("%q became %q, want %q", text, got.String(), want)
		}
	})
}

func TestGuard(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	go func() {
		defer server.Close()
		_, _ = io.WriteString(server, "0123456789")
	}()
	got, err := io.ReadAll(&guard{Conn: client, left: 4})
	if string(got) != "0123" || !errors.Is(err, errTooMuch) {
		t.Errorf("%q, %v", got, err)
	}
}
