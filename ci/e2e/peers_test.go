package e2e

import (
	"bytes"
	_ "embed" // of the script
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/ci/e2e/testdns"
)

// zone of the tests. Postfix is reached by MX and by name; the sink has several names.
const zone = `
postfix.test. MX 10 mx.postfix.test.
mx.postfix.test. A 127.0.0.2
host.test. A 127.0.0.2
sink.test. MX 10 mx.sink.test.
mx.sink.test. A 127.0.0.3
godwit.test. MX 10 mx.godwit.test.
mx.godwit.test. A 127.0.0.1
1.0.0.127.in-addr.arpa. PTR mx.godwit.test.
2.0.0.127.in-addr.arpa. PTR mx.postfix.test.
client.test. A 127.0.0.9
`

func startDNS(t *testing.T) {
	t.Helper()
	s, err := testdns.Start("127.0.0.1:53", zone)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
}

// python is Debian's, whatever else is in the path.
const python = "/usr/bin/python3"

// sendScript is what python runs.
//
//go:embed testdata/send.py
var sendScript string

// smtplib sends messages in several sessions.
func smtplib(t *testing.T, addr, rcpt string, list []letter) {
	t.Helper()
	command(t, python, "-c", sendScript, addr, "25", tester, rcpt, save(t, list, letter.crlf), "8")
}

// tester sends the mail of the tests.
const tester = "tester@client.test"

// peer is a program that hands mail in.
type peer struct {
	name string
	n    int
	how  style
	send func(t *testing.T, list []letter)
}

func peers(d *daemon, rcpt string) []peer {
	each := func(send func(t *testing.T, l letter)) func(*testing.T, []letter) {
		return func(t *testing.T, list []letter) {
			for _, l := range list {
				send(t, l)
			}
		}
	}
	return []peer{
		{"smtplib", 550, anything, func(t *testing.T, list []letter) { smtplib(t, "127.0.0.1", rcpt, list) }},
		{"postfix", 280, anything, func(t *testing.T, list []letter) { smtplib(t, "127.0.0.2", rcpt, list) }},
		{"postfix-sendmail", 50, anything, each(func(t *testing.T, l letter) {
			feed(t, l.text, "/usr/sbin/sendmail", "-i", "-f", tester, rcpt)
		})},
		{"sendmail", 50, short, each(func(t *testing.T, l letter) {
			feed(t, l.text, program("sendmail"), "-i", "-f", tester, rcpt)
		})},
		{"swaks", 20, plain, each(func(t *testing.T, l letter) {
			command(t, "swaks", "--silent", "3", "--server", "127.0.0.1", "--from", tester, "--to", rcpt,
				"--data", "@"+write(t, filepath.Join(d.dir, l.id), strings.TrimSuffix(string(l.text), "\n"))) // swaks adds one
		})},
		{"msmtp", 25, anything, each(func(t *testing.T, l letter) {
			feed(t, l.text, "msmtp", "--host=127.0.0.1", "--port=25", "--from="+tester, rcpt)
		})},
		{"curl", 25, anything, each(func(t *testing.T, l letter) {
			command(t, "curl", "-sS", "smtp://127.0.0.1", "--mail-from", tester, "--mail-rcpt", rcpt,
				"--upload-file", write(t, filepath.Join(d.dir, l.id), string(l.crlf())))
		})},
	}
}

// TestFromPeers: what other programs hand in arrives as it was.
func TestFromPeers(t *testing.T) {
	startDNS(t)
	startPostfix(t)
	d := start(t, localConf)
	t.Setenv("SMTPD_SOCKET", d.sock)
	box := newMaildir("alice")
	total := 0
	for _, p := range peers(d, "alice@godwit.test") {
		total += p.n
		t.Run(p.name, func(t *testing.T) {
			list := letters(p.name, p.n, p.how)
			p.send(t, list)
			collect(t, list, 2*time.Minute, box.take)
		})
	}
	if total < 1000 {
		t.Errorf("only %d messages", total)
	}
	d.drained(startWait)
}

// TestToPostfix: what is relayed to Postfix, by MX and by URL, arrives as it was.
func TestToPostfix(t *testing.T) {
	startDNS(t)
	p := startPostfix(t)
	d := start(t, `
listen on 127.0.0.1
action "mx" relay
action "host" relay host "smtp://mx.postfix.test:25"
match for domain "postfix.test" action "mx"
match for domain "host.test" action "host"
`)
	for name, rcpt := range map[string]string{"mx": "box@postfix.test", "host": "box@host.test"} {
		t.Run(name, func(t *testing.T) {
			list := letters("out-"+name, 500, anything)
			smtplib(t, "127.0.0.1", rcpt, list)
			collect(t, list, 3*time.Minute, p.box.take)
		})
	}
	d.drained(startWait)
}

// feed runs a program with a message on its standard input.
func feed(t *testing.T, text []byte, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = bytes.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}
