package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const smarthostConf = `
table secrets "DIR/secrets"
table relays "DIR/relays"
ca test cert "CA"
listen on 127.0.0.1
action "out" relay ca test domain <relays> auth <secrets>
match from any for any action "out"
`

// startSASL starts a Postfix that takes mail of joe alone, after STARTTLS and AUTH.
func startSASL(t *testing.T, ca *authority, mechanisms, password string) *postfix {
	t.Helper()
	cert, key := ca.issue(ca.dir, "mx.postfix.test")
	if err := os.MkdirAll("/etc/postfix/sasl", 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, "/etc/postfix/sasl/smtpd.conf", "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: "+mechanisms+"\n")
	cmd := exec.Command("saslpasswd2", "-p", "-c", "-u", "mx.postfix.test", "joe")
	cmd.Stdin = strings.NewReader(password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("saslpasswd2: %v\n%s", err, out)
	}
	command(t, "chown", "postfix", "/etc/sasldb2")
	return startPostfix(t, "smtpd_tls_security_level = may", "smtpd_tls_auth_only = yes", "smtpd_tls_cert_file = "+cert, "smtpd_tls_key_file = "+key,
		"smtpd_sasl_auth_enable = yes", "smtpd_sasl_local_domain = mx.postfix.test", "smtpd_client_restrictions = permit_sasl_authenticated, reject")
}

// TestSmarthost relays through a Postfix that demands AUTH, by a table of relays and one of
// passwords that change while the server runs.
func TestSmarthost(t *testing.T) {
	startDNS(t)
	ca := newAuthority(t)
	for mechanism, mechanisms := range map[string]string{"PLAIN": "PLAIN LOGIN", "LOGIN": "LOGIN"} {
		t.Run(mechanism, func(t *testing.T) {
			p := startSASL(t, ca, mechanisms, "open sesame")
			d := newDaemon(t, strings.ReplaceAll(smarthostConf, "CA", ca.cert))
			secrets := filepath.Join(d.dir, "secrets")
			write(t, filepath.Join(d.dir, "relays"), "postfix.test smtp+tls://lab@mx.postfix.test\nhost.test secure+auth://mx.postfix.test\n")
			write(t, secrets, "lab joe:open sesame\nmx.postfix.test joe:wrong guess\n")
			d.start()
			submit(t, tester, "verified@postfix.test", "Subject: one\n\nHello.\n")
			p.box.wait(t, 1, time.Minute)
			d.waitLog("to=<verified@postfix.test>", `result="Ok"`)
			if !strings.Contains(d.logged(), `mta cert-check result="valid"`) {
				t.Error("the certificate was not verified")
			}
			submit(t, tester, "old@host.test", "Subject: two\n\nHello.\n")
			d.waitLog("to=<old@host.test>", `result="TempFail"`, "535 5.7.8")
			write(t, secrets, "lab joe:open sesame\nmx.postfix.test joe:open sesame\n")
			if out, err := d.ctl("update", "table", "secrets"); err != nil {
				t.Fatalf("update table: %v\n%s", err, out)
			}
			if out, err := d.ctl("schedule", "all"); err != nil {
				t.Fatalf("schedule: %v\n%s", err, out)
			}
			p.box.wait(t, 1, time.Minute)
			d.drained(time.Minute)
			log, err := os.ReadFile(p.log)
			if err != nil || strings.Count(string(log), "sasl_method="+mechanism+", sasl_username=joe") < 2 {
				t.Errorf("not twice in the log of Postfix with %s: %v\n%s", mechanism, err, tail(string(log), 30))
			}
			noSecrets(t, d, "open sesame", "wrong guess")
		})
	}
}
