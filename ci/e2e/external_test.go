package e2e

import (
	"os/exec"
	"strings"
	"testing"
)

const externalConf = `
ca "clients" cert "CA"
pki mx.godwit.test cert "CERT" key "KEY"
table users { "client.test" = "$6$nobody-knows-it" }
listen on 127.0.0.1
listen on 127.0.0.1 port 465 smtps verify ca "clients" auth <users> pki mx.godwit.test
action "local" maildir
match from any auth for domain "godwit.test" action "local"
`

// TestExternal: curl gets in by its certificate; the holder of one who is no user
// does not.
func TestExternal(t *testing.T) {
	startDNS(t)
	ca := newAuthority(t)
	cert, key := ca.issue(ca.dir, "mx.godwit.test")
	d := start(t, strings.NewReplacer("CA", ca.cert, "CERT", cert, "KEY", key).Replace(externalConf))
	good, goodKey := ca.issue(ca.dir, "client.test")
	other, otherKey := ca.issue(ca.dir, "other.test")
	file := write(t, ca.dir+"/mail", "From: <"+tester+">\r\nSubject: external\r\n\r\nHello.\r\n")
	box := newMaildir("alice")
	send := func(user, cert, key string) (string, error) {
		out, err := exec.Command("curl", "-sS", "--cacert", ca.cert, "--cert", cert, "--key", key, "--user", user+":", "--login-options", "AUTH=EXTERNAL",
			"smtps://mx.godwit.test:465", "--mail-from", tester, "--mail-rcpt", "alice@godwit.test", "--upload-file", file).CombinedOutput()
		return string(out), err
	}
	for _, v := range [][3]string{{"other.test", other, otherKey}, {"client.test", other, otherKey}, {"other.test", good, goodKey}} {
		if out, err := send(v[0], v[1], v[2]); err == nil || !strings.Contains(out, "denied") {
			t.Errorf("%s as %s: %v:\n%s", v[1], v[0], err, out)
		}
	}
	if out, err := send("client.test", good, goodKey); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	box.wait(t, 1, startWait)
	d.waitLog("smtp authentication user=client.test result=ok")
	d.waitLog("smtp authentication user=other.test result=permfail")
}
