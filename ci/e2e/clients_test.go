package e2e

import (
	"bytes"
	_ "embed" // of the scripts
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// What the libraries of Python, Perl and JavaScript run.
var (
	//go:embed testdata/submit.py
	submitPython string
	//go:embed testdata/submit.pl
	submitPerl string
	//go:embed testdata/submit.js
	submitNode string
)

// clientConf has the three ports on which clients of users come.
const clientConf = `
pki mx.godwit.test cert "CERT"
pki mx.godwit.test key "KEY"
table users file:USERS
listen on 127.0.0.1 hostname mx.godwit.test tls pki mx.godwit.test auth-optional <users>
listen on 127.0.0.1 port 465 hostname mx.godwit.test smtps pki mx.godwit.test auth <users>
listen on 127.0.0.1 port 587 hostname mx.godwit.test tls-require pki mx.godwit.test auth <users>
action "local" maildir
match from auth { ann } for domain "godwit.test" action "local"
`

// entry is how a client comes in.
type entry struct {
	mode string // "starttls" or "smtps"
	port int
	how  string // the mechanism, or "any"
}

func (e entry) String() string { return fmt.Sprintf("%s-%d-%s", e.mode, e.port, e.how) }

// yes gives one of two words.
func (e entry) yes(smtps, starttls string) string {
	if e.mode == "smtps" {
		return smtps
	}
	return starttls
}

// hand is a client with which a user hands mail in.
type hand struct {
	name     string
	body     string // what suits it
	composes bool   // the header is its own work
	command  func(e entry, l letter) *exec.Cmd
}

// The account of all clients.
const (
	clientUser     = "ann"
	clientPassword = "annpw"
	clientFrom     = "ann@godwit.test"
	clientTo       = "alice@godwit.test"
	clientHost     = "mx.godwit.test"
)

// hardBody is for clients that send what they get: lines of dots, 8-bit octets that are no
// UTF-8, lines beyond 998 octets, From at the start of a line, blanks at the end of one.
var hardBody = "plain\n.\n..\n.dot\n...\n\nFrom here\n>From there\nblanks  \t\n" + "g\xfcltig \xe2\x82\xac \xff\n" +
	strings.Repeat("0123456789", 150) + "\n" + strings.Repeat("y", 9000) + "\n\nend\n"

// softBody is for clients that compose: they would encode what is in no character set and
// lines that are too long.
const softBody = "plain\n.\n..\n.dot\n...\n\n>From there\ngültig €\nend\n"

func clients(ca *authority, dir string) []hand {
	fed := func(l letter, name string, args ...string) *exec.Cmd {
		cmd := exec.Command(name, args...)
		cmd.Stdin = bytes.NewReader(l.text)
		return cmd
	}
	script := func(e entry, l letter, args ...string) *exec.Cmd {
		args = append(args, clientHost, fmt.Sprint(e.port), e.mode, ca.cert, e.how, clientUser, clientPassword, clientFrom, clientTo)
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stdin = bytes.NewReader(l.crlf())
		return cmd
	}
	return []hand{
		{name: "smtplib", body: hardBody, command: func(e entry, l letter) *exec.Cmd {
			return script(e, l, python, "-c", submitPython)
		}},
		{name: "Net-SMTP", body: hardBody, command: func(e entry, l letter) *exec.Cmd {
			return script(e, l, "perl", "-e", submitPerl)
		}},
		{name: "Nodemailer", body: hardBody, command: func(e entry, l letter) *exec.Cmd {
			cmd := script(e, l, "node", filepath.Join(dir, "submit.js"))
			cmd.Env = append(os.Environ(), "NODE_PATH=/usr/share/nodejs")
			return cmd
		}},
		{name: "curl", body: hardBody, command: func(e entry, l letter) *exec.Cmd {
			args := []string{"-sS", "--ssl-reqd", "--cacert", ca.cert, fmt.Sprintf("%s://%s:%d", e.yes("smtps", "smtp"), clientHost, e.port),
				"--user", clientUser + ":" + clientPassword, "--mail-from", clientFrom, "--mail-rcpt", clientTo, "--upload-file", "-"}
			if e.how != "any" {
				args = append(args, "--login-options", "AUTH="+e.how)
			}
			cmd := exec.Command("curl", args...)
			cmd.Stdin = bytes.NewReader(l.crlf())
			return cmd
		}},
		{name: "msmtp", body: hardBody, command: func(e entry, l letter) *exec.Cmd {
			return fed(l, "msmtp", "--host="+clientHost, fmt.Sprint("--port=", e.port), "--tls=on", "--tls-starttls="+e.yes("off", "on"),
				"--tls-trust-file="+ca.cert, "--auth="+map[string]string{"any": "on", "PLAIN": "plain", "LOGIN": "login"}[e.how],
				"--user="+clientUser, "--passwordeval=echo "+clientPassword, "--from="+clientFrom, clientTo)
		}},
		{name: "swaks", body: hardBody, command: func(e entry, l letter) *exec.Cmd { return swaks(e, dir, l) }},
		{name: "swaks-pipeline", body: hardBody, command: func(e entry, l letter) *exec.Cmd { return swaks(e, dir, l, "--pipeline") }},
		{name: "mutt", body: softBody, composes: true, command: func(e entry, l letter) *exec.Cmd { return mutt(ca, e, dir, l) }},
		{name: "s-nail", body: softBody, composes: true, command: func(e entry, l letter) *exec.Cmd { return snail(ca, e, l) }},
		{name: "git-send-email", body: hardBody, composes: true, command: func(e entry, l letter) *exec.Cmd { return gitSendEmail(ca, e, dir, l) }},
	}
}

func swaks(e entry, dir string, l letter, more ...string) *exec.Cmd {
	file := filepath.Join(dir, l.id+".swaks")
	_ = os.WriteFile(file, bytes.TrimSuffix(l.text, []byte("\n")), 0o600) // it adds one
	args := []string{"--silent", "2", "--server", clientHost, "--port", fmt.Sprint(e.port), e.yes("--tlsc", "--tls"), "--tls-verify",
		"--auth-user", clientUser, "--auth-password", clientPassword, "--from", clientFrom, "--to", clientTo, "--data", "@" + file}
	if e.how == "any" {
		args = append(args, "--auth")
	} else {
		args = append(args, "--auth", e.how)
	}
	return exec.Command("swaks", append(args, more...)...)
}

func mutt(ca *authority, e entry, dir string, l letter) *exec.Cmd {
	_, body := split(l.text)
	rc := fmt.Sprintf("set smtp_url=\"%s://%s@%s:%d/\" smtp_pass=\"%s\" from=\"%s\" ssl_force_tls=yes ssl_ca_certificates_file=\"%s\"\n"+
		"set copy=no use_from=yes use_envelope_from=yes allow_8bit=yes text_flowed=no charset=utf-8 send_charset=utf-8\nmy_hdr X-Test: %s\n",
		e.yes("smtps", "smtp"), clientUser, clientHost, e.port, clientPassword, clientFrom, ca.cert, l.id)
	if e.how != "any" {
		rc += "set smtp_authenticators=\"" + strings.ToLower(e.how) + "\"\n"
	}
	file := filepath.Join(dir, l.id+".rc")
	_ = os.WriteFile(file, []byte(rc), 0o600)
	cmd := exec.Command("mutt", "-n", "-F", file, "-s", "test "+l.id, "--", clientTo)
	cmd.Stdin = bytes.NewReader(body)
	return cmd
}

func snail(ca *authority, e entry, l letter) *exec.Cmd {
	_, body := split(l.text)
	args := []string{"-:/", "-C", "X-Test: " + l.id, "-s", "test " + l.id, "-S", "v15-compat=yes", "-S", "sendwait",
		"-S", fmt.Sprintf("mta=%s://%s:%s@%s:%d", e.yes("smtps", "smtp"), clientUser, clientPassword, clientHost, e.port),
		"-S", "tls-ca-file=" + ca.cert, "-S", "tls-verify=strict", "-S", "from=" + clientFrom, "-S", "ttycharset=utf-8",
		"-S", "sendcharsets=utf-8", "-S", "mime-encoding=8b"}
	if e.mode != "smtps" {
		args = append(args, "-S", "smtp-use-starttls")
	}
	if e.how != "any" {
		args = append(args, "-S", "smtp-auth="+strings.ToLower(e.how))
	}
	cmd := exec.Command("s-nail", append(args, clientTo)...)
	cmd.Stdin = bytes.NewReader(body)
	return cmd
}

func gitSendEmail(ca *authority, e entry, dir string, l letter) *exec.Cmd {
	file := filepath.Join(dir, l.id+".git")
	_, rest, _ := bytes.Cut(l.text, []byte("To: someone@godwit.test\n")) // it has names of its own for both
	_ = os.WriteFile(file, rest, 0o600)
	args := []string{"-c", "user.name=Ann", "-c", "user.email=" + clientFrom, "send-email", "--from=" + clientFrom, "--to=" + clientTo,
		"--smtp-server=" + clientHost, fmt.Sprint("--smtp-server-port=", e.port), "--smtp-encryption=" + e.yes("ssl", "tls"),
		"--smtp-ssl-cert-path=" + ca.cert, "--smtp-domain=client.test", "--smtp-user=" + clientUser, "--smtp-pass=" + clientPassword,
		"--suppress-cc=all", "--confirm=never", "--no-validate", "--8bit-encoding=UTF-8", "--transfer-encoding=8bit", "--quiet"}
	if e.how != "any" {
		args = append(args, "--smtp-auth="+e.how)
	}
	return exec.Command("git", append(args, file)...)
}

// TestClients: programs and libraries that nobody made for us hand mail in as a user, in
// each way in which they can, and what arrives is what was sent.
func TestClients(t *testing.T) {
	startDNS(t)
	ca := newAuthority(t)
	cert, key := ca.issue(ca.dir, clientHost)
	users := write(t, filepath.Join(ca.dir, "users"), encrypt(t, clientUser, clientPassword))
	d := start(t, strings.NewReplacer("CERT", cert, "KEY", key, "USERS", users).Replace(clientConf))
	write(t, filepath.Join(d.dir, "submit.js"), submitNode)
	t.Setenv("SSL_CERT_FILE", ca.cert) // swaks, and what else has no option for it
	t.Setenv("HOME", d.dir)
	t.Setenv("LC_ALL", "C.UTF-8")
	box := newMaildir("alice")
	n := 0
	for _, h := range clients(ca, d.dir) {
		for _, e := range []entry{{"starttls", 587, "any"}, {"starttls", 587, "PLAIN"}, {"starttls", 587, "LOGIN"}, {"smtps", 465, "any"},
			{"smtps", 465, "PLAIN"}, {"smtps", 465, "LOGIN"}, {"starttls", 25, "any"}} {
			t.Run(h.name+"/"+e.String(), func(t *testing.T) {
				n++
				l := newLetter(fmt.Sprintf("client-%03d", n), []byte(h.body))
				cmd := h.command(e, l)
				cmd.WaitDelay = startWait
				hangs := time.AfterFunc(startWait, func() { _ = cmd.Process.Kill() })
				defer hangs.Stop()
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s\nlog:\n%s", err, out, tail(d.logged(), 10))
				}
				arrived(t, box.wait(t, 1, startWait)[0], l, h.composes)
			})
		}
	}
	// A client that tries what is not offered, or that guesses, leaves a line.
	for line := range strings.Lines(d.logged()) {
		if strings.Contains(line, "failed-command") || strings.Contains(line, "bad-input") || strings.Contains(line, "result=permfail") {
			t.Errorf("a client was refused: %s", line)
		}
	}
	if got := strings.Count(d.logged(), "smtp authentication user=ann result=ok"); got != n {
		t.Errorf("%d of %d clients authenticated", got, n)
	}
	noSecrets(t, d, clientPassword)
	d.drained(startWait)
}

// trailing are the fields that delivery and reception put before a message.
var trailing = regexp.MustCompile(`^Return-Path: <ann@godwit\.test>\nDelivered-To: alice@godwit\.test\nReceived: .*\n(?:[ \t].*\n)+`)

// arrived compares a message with what was sent: nothing is added but what says which way
// it came. Clients that compose have headers of their own.
func arrived(t *testing.T, got []byte, l letter, composes bool) {
	t.Helper()
	way := trailing.Find(got)
	if way == nil || !strings.Contains(field(way, "Received"), "with ESMTPSA id") {
		t.Errorf("it begins with:\n%s", got[:min(len(got), 500)])
	}
	text, want := got[len(way):], l.text
	if composes {
		header, body := split(text)
		if id := field(header, "X-Test"); id != l.id {
			t.Errorf("it is message %q", id)
		}
		text = body
		_, want = split(l.text)
	}
	if !bytes.Equal(text, want) {
		t.Errorf("it was changed: %s", difference(want, text))
	}
}
