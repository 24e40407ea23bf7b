package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const scramConf = `
pki mx.godwit.test cert "CERT" key "KEY"
table users "USERS"
listen on 127.0.0.1
listen on 127.0.0.1 port 587 tls-require pki mx.godwit.test auth <users> scram
action "local" maildir
match from any auth for domain "godwit.test" action "local"
`

// TestScram: msmtp, with GNU SASL or its own, logs in by SCRAM-SHA-256 with a
// key that smtpctl made; the same key is good for PLAIN.
func TestScram(t *testing.T) {
	startDNS(t)
	ca := newAuthority(t)
	cert, key := ca.issue(ca.dir, "mx.godwit.test")
	users := filepath.Join(ca.dir, "users")
	write(t, users, "ann\t"+command(t, program("smtpctl"), "encrypt-scram", "annpw"))
	d := start(t, strings.NewReplacer("CERT", cert, "KEY", key, "USERS", users).Replace(scramConf))
	box := newMaildir("alice")
	for _, mechanism := range []string{"scram-sha-256", "plain", "on"} { // on: what msmtp likes best
		t.Run(mechanism, func(t *testing.T) {
			send := func(user, password string) (string, error) {
				cmd := exec.Command("msmtp", "--debug", "--host=mx.godwit.test", "--port=587", "--tls=on", "--tls-trust-file="+ca.cert,
					"--auth="+mechanism, "--user="+user, "--passwordeval=echo '"+password+"'", "--from=ann@godwit.test", "alice@godwit.test")
				cmd.Stdin = strings.NewReader("Subject: scram\r\n\r\nHello.\r\n")
				out, err := cmd.CombinedOutput()
				return string(out), err
			}
			out, err := send("ann", "annpw")
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if mechanism == "scram-sha-256" && !strings.Contains(out, "AUTH SCRAM-SHA-256") {
				t.Errorf("msmtp chose otherwise:\n%s", out)
			}
			box.wait(t, 1, startWait)
			for _, v := range [][2]string{{"ann", "wrong"}, {"nobody", "annpw"}} {
				if out, err := send(v[0], v[1]); err == nil || !strings.Contains(out, "535") {
					t.Errorf("%s with %s: %v\n%s", v[0], v[1], err, out)
				}
			}
		})
	}
	d.waitLog("smtp authentication user=ann result=ok")
	d.waitLog("smtp authentication user=nobody result=permfail")
	noSecrets(t, d, "annpw")
}
