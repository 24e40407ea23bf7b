package daemon

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"

	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/trace"
)

// talkFrom says lines one by one to a new session of an address and gives the number that it has in the log.
func (l *lab) talkFrom(from string, lines ...string) (id string) {
	l.t.Helper()
	start := l.log.len()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", l.addr)
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for i := 0; ; i++ {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				l.t.Fatalf("%q: %v", line, err)
			}
			if line[3] == ' ' {
				break
			}
		}
		if i == len(lines) {
			break
		}
		if _, err := conn.Write([]byte(lines[i] + "\r\n")); err != nil {
			l.t.Fatal(err)
		}
	}
	return l.log.wait(l.t, start, "smtp connected address="+from+" ")[:16]
}

const traceConf = "listen on 127.0.0.1 port PORT\naction \"local\" maildir userbase <people>\nmatch from any for domain \"example.org\" action \"local\"\n"

// traceLab takes mail, and traces.
func traceLab(t *testing.T) (l *lab, ask func(op control.Op, name, client, wantErr string)) {
	l = start(t, traceConf)
	return l, func(op control.Op, name, client, wantErr string) {
		t.Helper()
		err := l.ask(control.Request{Op: op, Name: name, Client: client}, nil)
		if (err != nil) != (wantErr != "") || err != nil && !strings.Contains(err.Error(), wantErr) {
			t.Errorf("trace %s %s: %v, want %q", name, client, err, wantErr)
		}
	}
}

// The sessions of a client are traced, with what lookup decides about them, and no others.
func TestTraceClient(t *testing.T) {
	l, ask := traceLab(t)
	ask(control.Trace, "smtp", "127.0.0.2", "")
	rcpt := []string{"EHLO c.example", "MAIL FROM:<s@example.net>", "RCPT TO:<joe@example.org>", "QUIT"}
	other := l.talkFrom("127.0.0.3", rcpt...)
	id := l.talkFrom("127.0.0.2", rcpt...)
	for _, line := range []string{"smtp: " + id + ": <<< RCPT TO:<joe@example.org>", "smtp: " + id + ": >>> 250 2.1.5",
		id + " rule #1 matched <joe@example.org>", id + " <joe@example.org> becomes mda for <joe@example.org> by action local", "debug: " + id + " smtp: name of the client"} {
		l.log.wait(t, 0, line)
	}
	if l.log.has("smtp: "+other) || l.log.has(other+" rule") || l.log.has("debug: "+other) {
		t.Errorf("another client is traced: %s", other)
	}
	l.reconfigure(traceConf)
	id = l.talkFrom("127.0.0.2", "NOOP", "QUIT")
	l.log.wait(t, 0, "smtp: "+id+": <<< NOOP")
	ask(control.Untrace, "smtp", "127.0.0.2/32", "")
	if id = l.talkFrom("127.0.0.2", "NOOP", "QUIT"); l.log.has("smtp: " + id) {
		t.Error("still traced")
	}
}

func TestTraceWhat(t *testing.T) {
	_, ask := traceLab(t)
	ask(control.Trace, "smtp", "127.0.0.0/8", "")
	ask(control.Trace, "smtp", "127.0.0.0/8", "")
	ask(control.Trace, "mta", "127.0.0.1", "")
	ask(control.Untrace, "smtp", "127.0.0.1", "not traced: smtp 127.0.0.1")
	ask(control.Trace, "queue", "127.0.0.1", "only smtp and mta")
	ask(control.Trace, "smtp", "example.org", "only smtp and mta")
	ask(control.Trace, "no", "", "invalid trace keyword")
	ask(control.Untrace, "smtp", "", "")
	ask(control.Untrace, "smtp", "127.0.0.0/8", "not traced")
	ask(control.Untrace, "mta", "127.0.0.1", "")
	log := trace.New(nil)
	for i := range trace.MaxClients + 1 {
		err := traceWhat(log, &control.Request{Op: control.Trace, Name: "smtp", Client: fmt.Sprintf("192.0.2.%d", i)})
		if full := i == trace.MaxClients; full != (err != nil) {
			t.Errorf("client %d: %v", i, err)
		}
	}
}

// Whatever the mechanism and however much is logged, no password and nothing that is derived from
// one is told, by no process.
func TestSecretsNowhere(t *testing.T) {
	l, config, users := newAuthLab(t, "auth <users> scram", authRule)
	if err := os.WriteFile(users, []byte("ann "+annHash+"\nbea@example.org\tbea:"+beaHash+"\nkim "+secretKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.begin()
	for _, r := range []control.Request{{Op: control.LogVerbose}, {Op: control.Trace, Name: "all"}, {Op: control.Trace, Name: "smtp", Client: "127.0.0.1"}} {
		if err := l.ask(r, nil); err != nil {
			t.Fatal(err)
		}
	}
	scram := &scramClient{header: "n,,", user: "kim", password: "secret"}
	for _, m := range []struct {
		mechanism sasl.Client
		code      int
	}{
		{sasl.NewPlainClient("", "ann", "annpw"), 0},
		{sasl.NewPlainClient("", "ann", "annpw-is-wrong"), 535},
		{sasl.NewLoginClient("bea@example.org", "beapw"), 0},
		{sasl.NewLoginClient("bea@example.org", "annpw-is-wrong"), 535},
		{scram, 0},
		{&scramClient{header: "n,,", user: "kim", password: "annpw-is-wrong"}, 535},
	} {
		if err := l.dialTLS(config).Auth(m.mechanism); code(err) != m.code {
			t.Errorf("%v, want %d", err, m.code)
		}
	}
	l.log.wait(t, 0, "<<< AUTH SCRAM-SHA-256 ")
	proof, err := scram.final()
	if err != nil {
		t.Fatal(err)
	}
	words := []string{"annpw", "beapw", "secret", annHash[20:], beaHash[20:], secretKey[24:], string(proof), scram.challenge}
	for _, word := range words {
		for _, text := range []string{word, base64.StdEncoding.EncodeToString([]byte(word)), base64.StdEncoding.EncodeToString([]byte("\x00ann\x00" + word))} {
			if l.log.has(strings.TrimRight(text, "=")) {
				t.Errorf("%q is in the log", text)
			}
		}
	}
}
