package daemon

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/password"
)

// Hashes that cost little, of "annpw", "beapw" and "new".
const (
	annHash = "$6$rounds=1000$aaaa$GQzH/Cd91x5YI/Q7rJi2466liHDXTdIGXbSLBc7wPTXEOI8dNE9BW1HOn9V7Q3GjOHK4kmKBoazM2Qk.tGSbX1"
	beaHash = "$6$rounds=1000$bbbb$hqOJHGfdgJZq5zkjr6n3J0T1QdFQnPYNUQznl66BmgzRgpFNvx0IOHcWBADv7eHlC4caKp7Nwwpzus0nNxZt61"
	newHash = "$6$rounds=1000$cccc$GSM4qA3GrZEJ2/CRhBhLiOOBJ30h2nd7JmYK/zWiLApdysoeFzNlHQ7zvc1jAb0KJSBZeXnwDjJHZjeUuFHvp1"
)

// authLab is a daemon whose listener wants AUTH; options follow those of the listener.
func authLab(t *testing.T, options, rest string) (l *lab, config *tls.Config, users string) {
	t.Helper()
	l, config, users = newAuthLab(t, options, rest)
	l.begin()
	return l, config, users
}

func newAuthLab(t *testing.T, options, rest string) (l *lab, config *tls.Config, users string) {
	t.Helper()
	dir := t.TempDir()
	pool := makeCert(t, dir)
	users = filepath.Join(dir, "users")
	text := "ann " + annHash + "\nbea@example.org\tbea:" + beaHash + "\nlocked *\nodd {PLAIN}secret\n"
	if err := os.WriteFile(users, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	conf := `
table users "CERT/users"
pki mx.example.org cert "CERT/cert.pem"
pki mx.example.org key "CERT/key.pem"
listen on 127.0.0.1 port PORT tls-require pki mx.example.org ` + options + `
action "local" maildir userbase <people>
` + rest
	l = newLab(t, nil, strings.ReplaceAll(conf, "CERT", dir))
	return l, &tls.Config{ServerName: "mx.example.org", RootCAs: pool}, users
}

const authRule = "match from any auth for domain \"example.org\" action \"local\"\n"

func (l *lab) dialTLS(config *tls.Config) *gosmtp.Client {
	l.t.Helper()
	c, err := gosmtp.DialStartTLS(l.addr, config)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	return c
}

func code(err error) int {
	var reply *gosmtp.SMTPError
	if errors.As(err, &reply) {
		return reply.Code
	}
	return 0
}

func TestAuthTable(t *testing.T) {
	l, config, _ := authLab(t, "auth <users> received-auth", authRule)
	c := l.dialTLS(config)
	if err := c.Mail("ann@example.org", nil); code(err) != 530 {
		t.Errorf("MAIL without AUTH: %v", err)
	}
	for _, v := range []struct {
		user, password string
		code           int
		log            string
	}{
		{"ann", "wrong", 535, "user=ann result=permfail"},
		{"no body", "annpw", 535, `user=no\\040body result=permfail`},
		{"locked", "*", 535, "user=locked result=permfail"},
		{"odd", "secret", 454, "user=odd result=tempfail"},
	} {
		if err := c.Auth(sasl.NewPlainClient("", v.user, v.password)); code(err) != v.code {
			t.Errorf("%s: %v, want %d", v.user, err, v.code)
		}
		l.log.wait(t, 0, `^[0-9a-f]{16} smtp authentication `+v.log+`$`)
	}
	l.log.wait(t, 0, `table "users": credentials of odd: password hash of an unknown scheme$`)
	if err := c.Auth(sasl.NewLoginClient("Bea@example.org", "beapw")); err != nil {
		t.Fatal(err)
	}
	l.log.wait(t, 0, `smtp authentication user=Bea@example.org result=ok$`)
	if err := c.SendMail("x@example.net", []string{"joe@example.org"}, strings.NewReader("x: y\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	l.log.wait(t, 0, `mda delivery .* result=Ok`)
	if got := l.maildir("joe")[0]; !strings.Contains(got, "with ESMTPSA id") || !strings.Contains(got, ":NO) auth=yes user=Bea@example.org\n") {
		t.Errorf("Received:\n%s", got)
	}
	for _, secret := range []string{"annpw", "beapw", "YW5ucHc", "YmVhcHc", "AGFubg"} {
		if l.log.has(secret) {
			t.Errorf("%s is in the log", secret)
		}
	}
}

// The user of a failed AUTH is nobody afterwards.
func TestFailedAuthLeavesNothing(t *testing.T) {
	l, config, _ := authLab(t, "auth-optional <users> received-auth", "match from any auth <users> for any reject\nmatch from any for domain \"example.org\" action \"local\"\n")
	c := l.dialTLS(config)
	if err := c.Auth(sasl.NewPlainClient("", "ann", "wrong")); code(err) != 535 {
		t.Fatal(err)
	}
	if err := c.SendMail("x@example.net", []string{"joe@example.org"}, strings.NewReader("x: y\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	l.log.wait(t, 0, `mda delivery .* result=Ok`)
	if got := l.maildir("joe")[0]; !strings.Contains(got, "with ESMTPS id") || !strings.Contains(got, " auth=no\n") || strings.Contains(got, "ann") {
		t.Errorf("Received:\n%s", got)
	}
	if err := c.Auth(sasl.NewPlainClient("", "ann", "annpw")); err != nil {
		t.Fatal(err)
	}
	if err := c.SendMail("x@example.net", []string{"joe@example.org"}, strings.NewReader("x: y\r\n\r\n")); code(err) != 550 {
		t.Errorf("match auth <users>: %v", err)
	}
}

// A table that changes counts for sessions that are under way too.
func TestPasswordChanges(t *testing.T) {
	l, config, path := authLab(t, "auth <users>", authRule)
	c := l.dialTLS(config)
	if err := c.Auth(sasl.NewPlainClient("", "ann", "new")); code(err) != 535 {
		t.Fatal(err)
	}
	for _, v := range []struct{ content, password string }{{"ann " + newHash + "\n", "new"}, {"ann: " + annHash + "\n", "annpw"}} {
		if err := os.WriteFile(path, []byte(v.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := l.ask(control.Request{Op: control.UpdateTable, Name: "users"}, nil); err != nil {
			t.Fatal(err)
		}
		if err := c.Auth(sasl.NewPlainClient("", "ann", v.password)); err != nil {
			t.Fatal(err)
		}
		c = l.dialTLS(config)
	}
}

func TestSenders(t *testing.T) {
	l, config, _ := authLab(t, `auth <users> senders { ann = "ann@example.org, @example.com", "bea@example.org" = "@" } masquerade`, authRule)
	c := l.dialTLS(config)
	if err := c.Auth(sasl.NewPlainClient("", "ann", "annpw")); err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]int{"ann@example.org": 0, "Ann+x@example.org": 0, "who@example.com": 0, "bob@example.org": 530, "": 530, "ann": 530} {
		err := c.Mail(from, nil)
		if code(err) != want || want == 0 && err != nil {
			t.Errorf("%s: %v, want %d", from, err, want)
		}
		if err := c.Reset(); err != nil {
			t.Fatal(err)
		}
	}
	l.log.wait(t, 0, `smtp failed-command command="MAIL FROM:<bob@example.org>.*" result="530 5.7.1 Sender rejected"$`)
	body := "Subject: x\r\nFrom: \"Boss\" <boss@example.net>\r\nTo: boss@example.net\r\n\r\nFrom: boss@example.net\r\n"
	if err := c.SendMail("who@example.com", []string{"joe@example.org"}, strings.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	l.log.wait(t, 0, `mda delivery .* result=Ok`)
	if got := l.maildir("joe")[0]; !strings.Contains(got, "\nFrom: \"Boss\" <who@example.com>\nTo: boss@example.net\n") ||
		!strings.HasSuffix(got, "\n\nFrom: boss@example.net\n") {
		t.Errorf("masqueraded:\n%s", got)
	}
}

// The name of a user may be anything that AUTH carries; rules, envelopes and the log take it
// as it is.
func TestUserNames(t *testing.T) {
	names := []string{"bea@example.org", "j\u00fcrgen", "two words", "a:b", "%s %{user}", strings.Repeat("x", 255)}
	entries := make([]string, len(names))
	for i, name := range names {
		entries[i] = `"` + name + `" = "` + annHash + `"`
	}
	odd := "{ " + strings.Join(entries, ", ") + " }"
	l, config, _ := authLab(t, "auth "+odd+" received-auth", "match from any auth "+odd+" for domain \"example.org\" action \"local\"\n")
	for _, name := range names {
		from := l.log.len()
		c := l.dialTLS(config)
		if err := c.Auth(sasl.NewPlainClient("", name, "annpw")); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := c.SendMail("x@example.net", []string{"joe@example.org"}, strings.NewReader("x: y\r\n\r\n")); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		l.log.wait(t, from, `mda delivery .* result=Ok`)
	}
	all := strings.Join(l.maildir("joe"), "")
	for _, name := range names {
		if !strings.Contains(all, " auth=yes user="+name+"\n") {
			t.Errorf("no %s in\n%s", name, all)
		}
	}
}

func TestHostnames(t *testing.T) {
	l := start(t, `
listen on 127.0.0.1 port PORT hostnames { 127.0.0.1 = named.example.org }
action "local" maildir userbase <people>
match from any for domain "example.org" action "local"
`)
	l.mustSend("a@example.net", []string{"joe@example.org"}, "x: y\r\n\r\n")
	l.log.wait(t, 0, `mda delivery .* result=Ok`)
	if got := l.maildir("joe")[0]; !strings.Contains(got, "\n\tby named.example.org (") {
		t.Errorf("Received:\n%s", got)
	}
	conn, err := net.Dial("tcp", l.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "220 named.example.org ESMTP Godwit\r\n" {
		t.Errorf("%q, %v", line, err)
	}
}

func TestDecoy(t *testing.T) {
	if _, err := password.Verify(decoy, "x"); err != nil {
		t.Error(err)
	}
}
