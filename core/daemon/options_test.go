package daemon

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/ipc"
)

// enqueue gets a session of the socket for local programs.
func (l *lab) enqueue() *gosmtp.Client {
	l.t.Helper()
	nc, err := net.Dial("unix", filepath.Join(l.dir, "sock"))
	if err != nil {
		l.t.Fatal(err)
	}
	conn := ipc.New(nc.(*net.UnixConn))
	go func() { _ = conn.Serve(func(*ipc.Request) {}) }()
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	files, err := conn.CallFiles(ctx, 1, &control.Request{Op: control.Enqueue}, nil)
	if err != nil || len(files) != 1 {
		l.t.Fatalf("%d descriptors, %v", len(files), err)
	}
	defer files[0].Close()
	session, err := net.FileConn(files[0])
	if err != nil {
		l.t.Fatal(err)
	}
	_ = session.SetDeadline(time.Now().Add(patience))
	c := gosmtp.NewClient(session)
	l.t.Cleanup(func() { c.Close() })
	return c
}

// TestSocketOptions: what can be said of the socket, and what holds when nothing is said.
func TestSocketOptions(t *testing.T) {
	const rules = `
listen on 127.0.0.1 port PORT
action "local" maildir userbase <people>
match tag "sock" for domain "tagged.test" action "local"
match from any !tag "sock" for domain "plain.test" action "local"
`
	for _, tt := range []struct {
		options, rcpt, other string
		dsn                  bool
		received             string
	}{
		{"", "joe@plain.test", "joe@tagged.test", true, "Received: from "},
		{"listen on socket tag sock mask-src no-dsn", "joe@tagged.test", "joe@plain.test", false, "Received: by "},
	} {
		l := start(t, tt.options+rules)
		c := l.enqueue()
		if dsn, _ := c.Extension("DSN"); dsn != tt.dsn {
			t.Errorf("%q: DSN is offered: %v", tt.options, dsn)
		}
		if err := c.Mail("ann@example.org", nil); err != nil {
			t.Fatal(err)
		}
		if err := c.Rcpt(tt.other, nil); code(err) != 550 {
			t.Errorf("%q: %s: %v", tt.options, tt.other, err)
		}
		if err := c.Reset(); err != nil {
			t.Fatal(err)
		}
		if err := c.SendMail("ann@example.org", []string{tt.rcpt}, strings.NewReader("x: y\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		l.log.wait(t, 0, `mda delivery .* result=Ok`)
		got := l.maildir("joe")[0]
		if _, after, _ := strings.Cut(got, "Received: "); !strings.HasPrefix("Received: "+after, tt.received) {
			t.Errorf("%q:\n%s", tt.options, got)
		}
	}
}

// TestListenerOptions: those that are not tested elsewhere.
func TestListenerOptions(t *testing.T) {
	l := start(t, `
listen on 127.0.0.1 port PORT hostname "front.example.org" hostnames { 127.0.0.9 = other.example.org } tag "Front" mask-src received-auth no-dsn
action "local" maildir userbase <people>
match from any tag "Front" for domain "example.org" action "local"
`)
	c, err := gosmtp.Dial(l.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Hello("secret-name.test"); err != nil {
		t.Fatal(err)
	}
	if dsn, _ := c.Extension("DSN"); dsn {
		t.Error("DSN is offered")
	}
	if err := c.SendMail("a@example.net", []string{"joe@example.org"}, strings.NewReader("x: y\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	l.log.wait(t, 0, `mda delivery .* result=Ok`)
	got := l.maildir("joe")[0]
	header, _, _ := strings.Cut(got[strings.Index(got, "Received: "):], "Date:")
	if !strings.HasPrefix(header, "Received: by front.example.org (Godwit) with ESMTP id ") || !strings.Contains(header, " auth=no\n") {
		t.Errorf("not masked, or without auth=no, or with another name:\n%s", header)
	}
	for _, secret := range []string{"secret-name", "127.0.0.1", "localhost"} {
		if strings.Contains(header, secret) {
			t.Errorf("%s is told:\n%s", secret, header)
		}
	}
}
