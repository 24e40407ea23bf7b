package e2e

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// systemConf has listeners for the users of the system.
const systemConf = `
pki mx.godwit.test cert "CERT"
pki mx.godwit.test key "KEY"
listen on 127.0.0.1 hostname mx.godwit.test
listen on 127.0.0.1 port 465 smtps pki mx.godwit.test auth received-auth
listen on 127.0.0.1 port 587 tls-require pki mx.godwit.test auth-optional
action "local" maildir
match from any auth for domain "godwit.test" action "local"
`

// startSystem starts a daemon that tells all it can.
func startSystem(t *testing.T, ca *authority, args ...string) *daemon {
	t.Helper()
	cert, key := ca.issue(ca.dir, "mx.godwit.test")
	d := newDaemon(t, strings.NewReplacer("CERT", cert, "KEY", key).Replace(systemConf))
	d.args = args
	d.start()
	return d
}

// The passwords are long, so that traces of them in base64 can be told from anything else.
const (
	alicePassword = "Kranich-zieht-77-nordwaerts"
	bobPassword   = "Uferschnepfe_im_Watt+2026"
	carolPassword = "gesperrt.und.vergessen.99"
)

// setPassword gives a user of this test's /etc a password.
func setPassword(t *testing.T, user, password, method string) {
	t.Helper()
	cmd := exec.Command("chpasswd", "--crypt-method", method)
	cmd.Stdin = strings.NewReader(user + ":" + password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("chpasswd: %v: %s", err, out)
	}
	t.Cleanup(func() { command(t, "usermod", "--password", "!", user) })
}

// TestSystemPasswords: users of the system log in with what stands in /etc/shadow, with real
// programs. Nothing that a password can be read from is in the log, however much is logged.
func TestSystemPasswords(t *testing.T) {
	startDNS(t)
	ca := newAuthority(t)
	setPassword(t, "alice", alicePassword, "YESCRYPT")
	setPassword(t, "bob", bobPassword, "SHA512")
	setPassword(t, "carol", carolPassword, "YESCRYPT")
	command(t, "usermod", "--lock", "carol")
	d := startSystem(t, ca, "-v", "-T", "all")
	box := newMaildir("alice")
	for _, l := range logins(ca, "alice@godwit.test", "alice@godwit.test") {
		t.Run(l.name, func(t *testing.T) {
			for user, password := range map[string]string{"alice": alicePassword, "bob": bobPassword} {
				if out, err := l.run(user, password).CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s", user, err, out)
				}
				header, _ := split(box.wait(t, 1, startWait)[0])
				if got := field(header, "Received"); !strings.Contains(got, "with ESMTPSA id") {
					t.Errorf("Received: %s", got)
				}
			}
			for user, password := range map[string]string{"alice": bobPassword, "carol": carolPassword} {
				if out, err := l.run(user, password).CombinedOutput(); err == nil {
					t.Errorf("%s was let in:\n%s", user, out)
				}
			}
		})
	}
	for _, user := range []string{"alice", "bob"} {
		d.waitLog("smtp authentication user=" + user + " result=ok")
	}
	d.waitLog("smtp authentication user=carol result=permfail")
	if got := box.take(); len(got) != 0 {
		t.Errorf("%d more messages came", len(got))
	}
	d.stop()
	noTraces(t, d.logged(), "alice", alicePassword)
	noTraces(t, d.logged(), "bob", bobPassword)
	noTraces(t, d.logged(), "carol", carolPassword)
}

// noTraces looks for a password in a text, in clear and in base64 wherever it begins there.
func noTraces(t *testing.T, text, user, password string) {
	t.Helper()
	forms := []string{password, base64.StdEncoding.EncodeToString([]byte(password)),
		base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password)),
		base64.StdEncoding.EncodeToString([]byte(user + "\x00" + user + "\x00" + password))}
	for shift := range 3 { // what does not depend on the octets beside it
		whole := (len(password) + shift) / 3
		encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + password))
		forms = append(forms, encoded[4:4*whole])
	}
	for _, form := range forms {
		if strings.Contains(text, form) {
			t.Errorf("%q can be read from the log:\n%s", password, form)
		}
	}
}

// TestSystemAccounts: who may not log in is refused like a wrong password.
func TestSystemAccounts(t *testing.T) {
	ca := newAuthority(t)
	d := startSystem(t, ca)
	plain := func(user, password string) string { return authPlain(user, password) }
	c := secured(t, ca)
	c.ask("535", "%s", plain("alice", alicePassword)) // "!" in shadow(5)
	setPassword(t, "alice", alicePassword, "SHA256")
	c.ask("535", "%s", plain("Alice", alicePassword))
	command(t, "usermod", "--expiredate", "2020-01-01", "alice")
	c.ask("535", "%s", plain("alice", alicePassword))
	command(t, "usermod", "--expiredate", "", "alice")
	command(t, "chage", "--lastday", "0", "alice")
	c.ask("535", "%s", plain("alice", alicePassword))
	c = secured(t, ca)
	command(t, "chage", "--lastday", "2026-01-01", "alice")
	c.ask("535", "%s", plain("daemon", ""))
	c.ask("535", "%s", plain("nobody-here", alicePassword))
	c.ask("235", "%s", plain("alice", alicePassword))
	c.ask("503", "%s", plain("alice", alicePassword))
	c.ask("250", "MAIL FROM:<alice@godwit.test>")
	c.ask("250", "RCPT TO:<alice@godwit.test>")
	c.ask("221", "QUIT")
	d.waitLog("smtp authentication user=alice result=ok")
}

// TestPAM: where the helper for PAM is installed it decides, by the rules of the service smtpd, and
// what stands in /etc/shadow counts only as far as they say so.
func TestPAM(t *testing.T) {
	helper := filepath.Join(top(), "pam", "auth-pam")
	if _, err := os.Stat(helper); err != nil {
		lacking(t, "run.sh could not build the helper: ", err)
	}
	ca := newAuthority(t)
	setPassword(t, "alice", alicePassword, "YESCRYPT")
	setPassword(t, "bob", bobPassword, "SHA512")
	setPassword(t, "carol", carolPassword, "YESCRYPT")
	command(t, "chage", "--expiredate", "2020-01-01", "carol")
	t.Cleanup(func() { command(t, "chage", "--expiredate", "-1", "carol") })
	write(t, "/etc/pam.d/smtpd", "auth requisite pam_listfile.so item=user sense=deny file=/etc/smtpd.denied onerr=succeed\n"+
		"auth required pam_unix.so\naccount required pam_unix.so\n")
	write(t, "/etc/smtpd.denied", "bob\n")
	installed := filepath.Join(libexec(), "auth-pam")
	command(t, "install", "-m", "755", helper, installed)
	t.Cleanup(func() { _ = os.Remove(installed) })
	d := startSystem(t, ca, "-v", "-T", "all")
	for _, v := range []struct{ user, password, code string }{
		{"alice", alicePassword, "235"}, {"alice", "wrong", "535"}, {"bob", bobPassword, "535"}, {"carol", carolPassword, "535"},
		{"nobody-here", alicePassword, "535"}, {"alice", "", "535"},
	} {
		c := secured(t, ca)
		c.ask(v.code, "%s", authPlain(v.user, v.password))
		c.ask("221", "QUIT")
	}
	d.waitLog("smtp authentication user=alice result=ok")
	noSecrets(t, d, alicePassword, bobPassword, carolPassword)
}
