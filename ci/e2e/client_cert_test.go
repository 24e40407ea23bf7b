package e2e

import (
	"os/exec"
	"strings"
	"testing"
)

const verifyConf = `
ca "clients" cert "CA"
pki mx.godwit.test cert "CERT" key "KEY"
listen on 127.0.0.1
listen on 127.0.0.1 port 587 tls-require verify ca "clients" pki mx.godwit.test
listen on 127.0.0.1 port 465 smtps verify ca "clients" pki mx.godwit.test
action "local" maildir
match from any for domain "godwit.test" action "local"
`

// TestClientCertificates: where they are demanded, real clients get in with theirs and nobody
// gets in without.
func TestClientCertificates(t *testing.T) {
	startDNS(t)
	ca, stranger := newAuthority(t), newAuthority(t)
	cert, key := ca.issue(ca.dir, "mx.godwit.test")
	d := start(t, strings.NewReplacer("CA", ca.cert, "CERT", cert, "KEY", key).Replace(verifyConf))
	good, goodKey := ca.issue(ca.dir, "client.test")
	bad, badKey := stranger.issue(stranger.dir, "client.test")
	const rcpt = "alice@godwit.test"
	text := "From: <" + tester + ">\r\nSubject: verified\r\n\r\nHello.\r\n"
	file := write(t, ca.dir+"/mail", text)
	swaks := func(more ...string) []string {
		return append([]string{"swaks", "--silent", "3", "--from", tester, "--to", rcpt}, more...)
	}
	curl := func(url string, more ...string) []string {
		return append([]string{"curl", "-sS", "--ssl-reqd", "--cacert", ca.cert, url, "--mail-from", tester, "--mail-rcpt", rcpt, "--upload-file", file}, more...)
	}
	clients := map[string][]string{
		"swaks":       swaks("--server", "127.0.0.1:587", "--tls"),
		"swaks-smtps": swaks("--server", "127.0.0.1:465", "--tls-on-connect"),
		"curl":        curl("smtp://mx.godwit.test:587"),
		"curl-smtps":  curl("smtps://mx.godwit.test:465"),
	}
	options := map[string][2]string{"swaks": {"--tls-cert", "--tls-key"}, "curl": {"--cert", "--key"}}
	box := newMaildir("alice")
	for name, words := range clients {
		option := options[words[0]]
		run := func(more ...string) (string, error) {
			out, err := exec.Command(words[0], append(words[1:len(words):len(words)], more...)...).CombinedOutput()
			return string(out), err
		}
		t.Run(name, func(t *testing.T) {
			for what, more := range map[string][]string{"none": nil, "a stranger's": {option[0], bad, option[1], badKey}} {
				if out, err := run(more...); err == nil {
					t.Errorf("%s: accepted:\n%s", what, out)
				}
			}
			if out, err := run(option[0], good, option[1], goodKey); err != nil {
				t.Fatalf("%v:\n%s", err, out)
			}
			checkVerified(t, box.wait(t, 1, startWait)[0])
		})
	}
	for name, args := range map[string][]string{
		"openssl":         {"-connect", "127.0.0.1:587", "-starttls", "smtp"},
		"openssl-smtps":   {"-connect", "127.0.0.1:465"},
		"openssl-tls-1.2": {"-connect", "127.0.0.1:465", "-tls1_2"},
	} {
		args = append(args, "-CAfile", ca.cert, "-verify_hostname", "mx.godwit.test")
		t.Run(name, func(t *testing.T) {
			refused, _ := sClient(t, args...)
			if got, err := refused.read(); err == nil && strings.HasPrefix(got, "220") {
				t.Errorf("without a certificate: %q", got)
			}
			c, _ := sClient(t, append(args, "-cert", good, "-key", goodKey)...)
			if name != "openssl" { // with STARTTLS s_client takes the banner
				c.expect("220")
			}
			c.ask("250", "EHLO client.test")
			c.ask("250", "MAIL FROM:<%s>", tester)
			c.ask("250", "RCPT TO:<%s>", rcpt)
			c.ask("354", "DATA")
			c.ask("250", "Subject: verified\r\n\r\nHello.\r\n.")
			c.ask("221", "QUIT")
			checkVerified(t, box.wait(t, 1, startWait)[0])
		})
	}
	t.Run("postfix", func(t *testing.T) {
		startPostfix(t, "relayhost = [mx.godwit.test]:587", "smtp_tls_security_level = encrypt", "smtp_tls_cert_file = "+good,
			"smtp_tls_key_file = "+goodKey)
		feed(t, []byte("Subject: verified\n\nHello.\n"), "/usr/sbin/sendmail", "-i", "-f", tester, rcpt)
		checkVerified(t, box.wait(t, 1, startWait)[0])
	})
	d.waitLog(`smtp cert-check result="verified" fingerprint="SHA256:`, `subject="CN=client.test"`)
	d.waitLog("smtp disconnected", "client didn't provide a certificate")
	d.waitLog("smtp disconnected", "unknown authority")
}

func checkVerified(t *testing.T, text []byte) {
	t.Helper()
	header, _ := split(text)
	if got := field(header, "Received"); !strings.Contains(got, ":YES)") || !strings.Contains(got, "(client certificate CN=client.test)") {
		t.Errorf("Received: %s", got)
	}
}
