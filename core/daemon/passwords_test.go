package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/compat/auth"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/platform"
)

// systemLab is a daemon on a system with the user ann and a listener without a table.
func systemLab(t *testing.T, hashes string) (l *lab, dial func() *gosmtp.Client) {
	t.Helper()
	l, config, _ := newAuthLab(t, "auth received-auth", authRule)
	l.passwords = auth.Of(platform.Passwords{Format: platform.MasterPasswd, Hashes: hashes}, l.dir)
	l.begin()
	return l, func() *gosmtp.Client { return l.dialTLS(config) }
}

func masterFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "master.passwd")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const annAccount = "ann:" + annHash + ":1000:1000::0:0:Ann:/home/ann:/bin/sh\n"

func TestSystemPasswords(t *testing.T) {
	odd := "odd:QJz1c5zoZ1vmQ:1001:1001::0:0::/home/odd:/bin/sh\n"
	path := masterFile(t, annAccount+odd+strings.Replace(annAccount, "ann:", "bea:*LOCKED*", 1))
	l, dial := systemLab(t, path)
	c := dial()
	for _, v := range []struct {
		user, password string
		code           int
		result         string
	}{
		{"ann", "wrong", 535, "permfail"},
		{"bea", "annpw", 535, "permfail"},
		{"nobody", "annpw", 535, "permfail"},
		{"odd", "annpw", 535, "permfail"},
		{"ann", "annpw", 0, "ok"},
	} {
		if err := c.Auth(sasl.NewPlainClient("", v.user, v.password)); code(err) != v.code {
			t.Errorf("%s: %v, want %d", v.user, err, v.code)
		}
		l.log.wait(t, 0, `smtp authentication user=`+v.user+` result=`+v.result+`$`)
	}
	l.log.wait(t, 0, `password of odd: the password is kept in a form that cannot be checked: password hash of an unknown scheme$`)
	if err := c.SendMail("x@example.net", []string{"joe@example.org"}, strings.NewReader("x: y\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	l.log.wait(t, 0, `mda delivery .* result=Ok`)
	if got := l.maildir("joe")[0]; !strings.Contains(got, " auth=yes user=ann\n") {
		t.Errorf("Received:\n%s", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := dial().Auth(sasl.NewPlainClient("", "ann", "annpw")); code(err) != 454 {
		t.Errorf("without the file: %v", err)
	}
	l.log.wait(t, 0, `passwords of the system: ann: open .*master.passwd`)
	if l.log.has("annpw") || l.log.has(annHash) {
		t.Error("a secret is in the log")
	}
}

// Who asks the parent is not believed to be harmless.
func TestSystemPasswordsOfDispatcher(t *testing.T) {
	p := &parent{passwords: newPasswords(auth.Of(platform.Passwords{Format: platform.MasterPasswd, Hashes: masterFile(t, annAccount)}, t.TempDir()))}
	req := authRequest{User: "ann", Password: "annpw"}
	if ok, err := p.systemPassword(t.Context(), nil, &req); ok || err == nil {
		t.Errorf("a password that no listener asks for: %v, %v", ok, err)
	}
	p.passwords.wanted.Store(true)
	p.passwords.guesses.init()
	place, _ := p.passwords.guesses.place("ann", sourceOf(req.Source))
	place.level = guessBurst
	if ok, err := p.systemPassword(t.Context(), nil, &req); ok || err == nil {
		t.Errorf("one more guess: %v, %v", ok, err)
	}
}

func TestSystemPasswordsThatCannotBeRead(t *testing.T) {
	p := newPasswords(auth.Of(platform.Passwords{}, t.TempDir()))
	pos := config.Pos{File: "smtpd.conf", Line: 7}
	for want, l := range map[string]config.Listener{
		"": {Pos: pos, Auth: true, AuthTable: "users"},
		"smtpd.conf:7: listen on lo: passwords of the system: this system has no file of password hashes": {Pos: pos, Interface: "lo", AuthOptional: true},
	} {
		err := p.ready(&config.Config{Listeners: []config.Listener{{}, l}})
		if (want == "") != (err == nil) || err != nil && !strings.HasPrefix(err.Error(), want) || p.wanted.Load() {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
