package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/config"
)

// externalLab has listeners with the options, and gives a function that dials one of them
// with a certificate.
func externalLab(t *testing.T, options string) (*lab, func(*x509.Certificate) *gosmtp.Client) {
	t.Helper()
	ca, dir := newIssuer(t), t.TempDir()
	ca.files(dir, "mx", ca.sign(&x509.Certificate{DNSNames: []string{"mx.example.org"}}))
	users := filepath.Join(dir, "users")
	if err := os.WriteFile(users, []byte("ann "+annHash+"\nbea@example.org bea:"+beaHash+"\nlocked *\nshut shut:!"+annHash+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := start(t, `ca "corp" cert "`+ca.file+`"
table users "`+users+`"
pki mx.example.org cert "`+dir+`/mx.pem" key "`+dir+`/mx.key"
listen on 127.0.0.1 port PORT pki mx.example.org `+options+`
action "local" maildir userbase <people>
match from any auth for domain "example.org" action "local"
`)
	return l, func(template *x509.Certificate) *gosmtp.Client {
		t.Helper()
		config := &tls.Config{ServerName: "mx.example.org", RootCAs: ca.pool()}
		if template != nil {
			config.Certificates = []tls.Certificate{ca.sign(template)}
		}
		c, err := gosmtp.DialTLS(l.addr, config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
}

func person(common string, addrs ...string) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: common}, EmailAddresses: addrs}
}

func TestExternal(t *testing.T) {
	l, dial := externalLab(t, `smtps verify ca "corp" auth <users> received-auth`)
	for _, v := range []struct {
		cert     *x509.Certificate
		identity string
		code     int
		log      string
	}{
		{person("ann"), "", 0, "user=ann result=ok"},
		{person("Ann"), "Ann", 0, "user=Ann result=ok"},
		{person("x", "bea@example.org"), "", 0, "user=bea@example.org result=ok"},
		{person("ann", "stranger@example.org"), "ann", 0, "user=ann result=ok"},
		{person("ann", "stranger@example.org"), "", 535, "user=stranger@example.org result=permfail"},
		{person("x", "bea@example.org"), "ann", 535, ""},
		{person("locked"), "", 535, "user=locked result=permfail"},
		{person("shut"), "shut", 535, "user=shut result=permfail"},
		{&x509.Certificate{DNSNames: []string{"ann"}}, "", 535, ""},
	} {
		from := l.log.len()
		c := dial(v.cert)
		if err := c.Mail("ann@example.org", nil); code(err) != 530 {
			t.Errorf("MAIL without AUTH: %v", err)
		}
		err := c.Auth(sasl.NewExternalClient(v.identity))
		if code(err) != v.code || v.code == 0 && err != nil {
			t.Errorf("%v for %q: %v, want %d", v.cert.Subject, v.identity, err, v.code)
		}
		if v.log != "" {
			l.log.wait(t, from, `smtp authentication `+v.log+`$`)
		}
		if err := c.Mail("ann@example.org", nil); code(err) == 530 != (v.code != 0) {
			t.Errorf("%v: MAIL afterwards: %v", v.cert.Subject, err)
		}
		c.Close()
	}
	c := dial(person("ann"))
	if err := c.Auth(sasl.NewExternalClient("")); err != nil {
		t.Fatal(err)
	}
	if err := c.SendMail("x@example.net", []string{"joe@example.org"}, strings.NewReader("x: y\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	l.log.wait(t, 0, `mda delivery .* result=Ok`)
	if got := l.maildir("joe")[0]; !strings.Contains(got, "auth=yes user=ann\n") {
		t.Errorf("Received:\n%s", got)
	}
	if err := dial(person("ann")).Auth(sasl.NewPlainClient("", "ann", "annpw")); err != nil {
		t.Errorf("PLAIN with a certificate: %v", err)
	}
}

// EXTERNAL needs a certificate that was verified by authorities of the listener's own, and a
// table of users.
func TestExternalNotOffered(t *testing.T) {
	for options, offered := range map[string]bool{
		`smtps verify ca "corp" auth-optional <users>`: true,
		`smtps verify ca "corp" auth-optional`:         false,
		`smtps ca "corp" auth-optional <users>`:        false,
		`smtps verify ca "corp"`:                       false,
	} {
		_, dial := externalLab(t, options)
		c := dial(person("ann"))
		_, list := c.Extension("AUTH")
		if slices.Contains(strings.Fields(list), "EXTERNAL") != offered {
			t.Errorf("%s: AUTH %s", options, list)
		}
		if err := c.Auth(sasl.NewExternalClient("ann")); (err == nil) != offered {
			t.Errorf("%s: %v", options, err)
		}
	}
	for _, b := range []boundListener{{}, {Listener: config.Listener{TLSVerify: true, AuthTable: "users"}}} {
		s := &mailSession{backend: &backend{l: &listener{boundListener: b}}}
		if s.clientCert() != nil { // without asking the connection, which there is none of
			t.Error("a certificate by the system's authorities is taken")
		}
	}
}

func TestUserExists(t *testing.T) {
	asked := make(chan string, 1)
	l := lookupWith(t, []config.Entry{{Key: "ann", Value: annHash}, {Key: "bea", Value: "bea:*"}}, asked)
	for _, v := range []struct {
		table, user string
		want, fails bool
	}{
		{"static", "ann", true, false},
		{"static", "bea", false, false},
		{"static", "nobody", false, false},
		{"nosuch", "ann", false, true},
		{"program", "Ann", false, true},
	} {
		got, err := l.userExists(t.Context(), &authRequest{Generation: 1, Table: v.table, User: v.user})
		if got != v.want || (err != nil) != v.fails {
			t.Errorf("%s, %s: %v, %v", v.table, v.user, got, err)
		}
	}
	if len(asked) != 0 {
		t.Errorf("the program was asked about %q", <-asked)
	}
}
