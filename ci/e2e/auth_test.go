package e2e

import (
	_ "embed"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// loginScript is what python runs.
//
//go:embed testdata/login.py
var loginScript string

// authConf has the listeners to which users hand mail in. SERVES stands for what serves the
// credentials.
const authConf = `
pki mx.godwit.test cert "CERT"
pki mx.godwit.test key "KEY"
table users SERVES
table addrs { ann = "@godwit.test", bea = "bea@godwit.test" }
listen on 127.0.0.1 hostname mx.godwit.test
listen on 127.0.0.1 port 465 smtps pki mx.godwit.test auth <users> received-auth
listen on 127.0.0.1 port 587 tls-require pki mx.godwit.test auth <users> senders <addrs> masquerade mask-src
action "local" maildir
match from auth { ann } for domain "godwit.test" action "local"
`

// startAuth starts a daemon in which ann has the password annpw.
func startAuth(t *testing.T, ca *authority, serves string) *daemon {
	t.Helper()
	cert, key := ca.issue(ca.dir, "mx.godwit.test")
	return start(t, strings.NewReplacer("CERT", cert, "KEY", key, "SERVES", serves).Replace(authConf))
}

// encrypt gives the line of a table for a user.
func encrypt(t *testing.T, user, password string) string {
	t.Helper()
	return user + "\t" + command(t, program("smtpctl"), "encrypt", password)
}

// login is a program that hands mail in as a user. It fails when the password is wrong.
type login struct {
	name string
	run  func(user, password string) *exec.Cmd
}

func logins(ca *authority, from, rcpt string) []login {
	mail := "Subject: login\r\n\r\nHello.\r\n" // curl sends what it gets
	fed := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(name, args...)
		cmd.Stdin = strings.NewReader(mail)
		return cmd
	}
	var list []login
	for _, mechanism := range []string{"PLAIN", "LOGIN"} {
		list = append(list,
			login{"swaks-" + mechanism, func(user, password string) *exec.Cmd {
				return exec.Command("swaks", "--server", "127.0.0.1:587", "--from", from, "--to", rcpt, "--tls",
					"--auth", mechanism, "--auth-user", user, "--auth-password", password)
			}},
			login{"msmtp-" + mechanism, func(user, password string) *exec.Cmd {
				return fed("msmtp", "--host=mx.godwit.test", "--port=587", "--tls=on", "--tls-trust-file="+ca.cert,
					"--auth="+strings.ToLower(mechanism), "--user="+user, "--passwordeval=echo '"+password+"'", "--from="+from, rcpt)
			}},
			login{"curl-" + mechanism, func(user, password string) *exec.Cmd {
				return fed("curl", "-sS", "--ssl-reqd", "--cacert", ca.cert, "smtp://mx.godwit.test:587", "--login-options", "AUTH="+mechanism,
					"--user", user+":"+password, "--mail-from", from, "--mail-rcpt", rcpt, "--upload-file", "-")
			}},
			login{"smtplib-" + mechanism, func(user, password string) *exec.Cmd {
				return exec.Command(python, "-c", loginScript, "mx.godwit.test", "587", ca.cert, mechanism, user, password, from, rcpt)
			}})
	}
	return append(list, login{"curl-smtps", func(user, password string) *exec.Cmd {
		return fed("curl", "-sS", "--cacert", ca.cert, "smtps://mx.godwit.test", "--user", user+":"+password,
			"--mail-from", from, "--mail-rcpt", rcpt, "--upload-file", "-")
	}})
}

// TestLogins: real programs authenticate in both ways, and fail with a wrong password, a
// user whom no rule takes, and a sender who is somebody else.
func TestLogins(t *testing.T) {
	startDNS(t)
	ca := newAuthority(t)
	users := filepath.Join(ca.dir, "users")
	write(t, users, encrypt(t, "ann", "annpw")+encrypt(t, "bea", "beapw"))
	d := startAuth(t, ca, "file:"+users)
	box := newMaildir("alice")
	const rcpt = "alice@godwit.test"
	for _, l := range logins(ca, "ann@godwit.test", rcpt) {
		t.Run(l.name, func(t *testing.T) {
			if out, err := l.run("ann", "annpw").CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			header, _ := split(box.wait(t, 1, startWait)[0])
			if got := field(header, "Received"); !strings.Contains(got, "with ESMTPSA id") {
				t.Errorf("Received: %s", got)
			}
			if out, err := l.run("ann", "wrong").CombinedOutput(); err == nil {
				t.Errorf("a wrong password was taken:\n%s", out)
			}
			if out, err := l.run("bea", "beapw").CombinedOutput(); err == nil {
				t.Errorf("another user sent as ann:\n%s", out)
			}
		})
	}
	d.waitLog("smtp authentication user=ann result=ok")
	d.waitLog("smtp authentication user=ann result=permfail")
	d.waitLog("smtp failed-command", "530 5.7.1 Sender rejected")
	noSecrets(t, d, "annpw", "beapw")
	if got := box.take(); len(got) != 0 {
		t.Errorf("%d more messages came", len(got))
	}
}

// noSecrets looks for passwords in the log, as they are and as AUTH carries them.
func noSecrets(t *testing.T, d *daemon, passwords ...string) {
	t.Helper()
	log := d.logged()
	for _, p := range passwords {
		for _, form := range []string{p, base64.StdEncoding.EncodeToString([]byte(p)), base64.StdEncoding.EncodeToString([]byte("\x00ann\x00" + p))} {
			if strings.Contains(log, form) {
				t.Errorf("the log has %q", form)
			}
		}
	}
}

// TestPasswordTable: a password is changed while sessions go on; a table that cannot be read
// any more keeps what it had.
func TestPasswordTable(t *testing.T) {
	ca := newAuthority(t)
	users := filepath.Join(ca.dir, "users")
	write(t, users, encrypt(t, "ann", "annpw"))
	if err := os.Chmod(users, 0o600); err != nil { // as it should be: for root alone
		t.Fatal(err)
	}
	d := startAuth(t, ca, "file:"+users)
	plain := func(password string) string { return authPlain("ann", password) }
	early, other := secured(t, ca), secured(t, ca)
	early.ask("535", "%s", plain("second"))
	write(t, users, encrypt(t, "ann", "second"))
	if out, err := d.ctl("update", "table", "users"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	early.ask("535", "%s", plain("annpw"))
	early.ask("235", "%s", plain("second"))
	write(t, users, "ann\n")
	if out, err := d.ctl("update", "table", "users"); err == nil {
		t.Errorf("a table without passwords was taken: %s", out)
	}
	if err := os.Remove(users); err != nil {
		t.Fatal(err)
	}
	if out, err := d.ctl("update", "table", "users"); err == nil {
		t.Errorf("a table that is gone was taken: %s", out)
	}
	other.ask("235", "%s", plain("second"))
	early.ask("250", "MAIL FROM:<ann@godwit.test>")
	for _, c := range []*client{early, other} {
		c.ask("221", "QUIT")
	}
	noSecrets(t, d, "annpw", "second")
}

// secured opens a session on the port for submission.
func secured(t *testing.T, ca *authority) *client {
	t.Helper()
	c := dial(t, "127.0.0.1:587")
	c.ask("250", "EHLO client.test")
	c.startTLS(ca.client("mx.godwit.test"))
	c.ask("250", "EHLO client.test")
	return c
}

func authPlain(user, password string) string {
	return "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password))
}

// TestAuthProgram: a program compares passwords. What it does wrong is a temporary failure,
// and the session goes on.
func TestAuthProgram(t *testing.T) {
	ca := newAuthority(t)
	table := write(t, filepath.Join(ca.dir, "table"), "register auth\nmode die\nentry auth ann:annpw\n")
	d := startAuth(t, ca, "test:"+table)
	c := secured(t, ca)
	c.ask("535", "%s", authPlain("ann", "wrong"))
	once(t, table)
	c.ask("454", "%s", authPlain("ann", "annpw"))
	d.waitLog("smtp authentication user=ann result=tempfail")
	d.waitLog(`info: table "users": the program was started again`)
	c.ask("530", "MAIL FROM:<ann@godwit.test>")
	c.ask("235", "%s", authPlain("ann", "annpw"))
	c.ask("250", "MAIL FROM:<ann@godwit.test>")
	c.ask("250", "RCPT TO:<alice@godwit.test>")
	c.ask("221", "QUIT")
	noSecrets(t, d, "annpw")
}

// TestRealCredentials: credentials come from table programs of the OpenSMTPD project.
func TestRealCredentials(t *testing.T) {
	ca := newAuthority(t)
	_, hash, _ := strings.Cut(strings.TrimSpace(encrypt(t, "ann", "annpw")), "\t")
	base := filepath.Join(ca.dir, "base")
	passwd := write(t, filepath.Join(ca.dir, "passwd"), "ann:"+hash+":7011:7011::"+home("alice")+":/bin/sh\n")
	sqlite := write(t, filepath.Join(ca.dir, "sqlite.conf"), "dbpath "+base+"\nquery_credentials SELECT k, v FROM credentials WHERE k=?;\n")
	for name, path := range map[string]string{"passwd": passwd, "sqlite": sqlite} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat(filepath.Join(libexec(), "table-"+name)); err != nil {
				lacking(t, "could not be built: ", err)
			}
			if name == "sqlite" {
				cmd := exec.Command("sqlite3", base)
				cmd.Stdin = strings.NewReader("create table credentials(k, v); insert into credentials values('ann', '" + hash + "');\n")
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("sqlite3: %v: %s", err, out)
				}
			}
			startAuth(t, ca, name+":"+path)
			c := secured(t, ca)
			c.ask("535", "%s", authPlain("ann", "wrong"))
			c.ask("535", "%s", authPlain("nobody", "annpw"))
			c.ask("235", "%s", authPlain("ann", "annpw"))
			c.ask("221", "QUIT")
		})
	}
}

// TestGuessing: who guesses passwords is sent away.
func TestGuessing(t *testing.T) {
	ca := newAuthority(t)
	users := write(t, filepath.Join(ca.dir, "users"), encrypt(t, "ann", "annpw"))
	d := startAuth(t, ca, "file:"+users)
	c := secured(t, ca)
	for i := range 5 {
		c.ask("535", "%s", authPlain("ann", fmt.Sprint("guess", i)))
	}
	c.expect("421")
	d.waitLog("smtp disconnected reason=too-many-logins")
}
