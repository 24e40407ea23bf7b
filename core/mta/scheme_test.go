package mta

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/envelope"
)

// startSMTPS runs the sink with TLS from the first byte.
func (s *sink) startSMTPS(t *testing.T, cert tls.Certificate) string {
	srv := gosmtp.NewServer(s)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return l.Addr().String()
}

// The historic schemes with a server that has a certificate nobody trusts.
func TestHistoricSchemes(t *testing.T) {
	cert, _ := certificate(t, "somebody.example")
	const none, plain, starttls, smtps = "", "plain", "starttls", "smtps"
	for _, tt := range []struct {
		url, on465, on25 string
		tls              bool // the action says tls
		ports            []uint16
		good             bool
	}{
		{"tls://h.example", none, starttls, false, []uint16{25}, true},
		{"tls://h.example", smtps, plain, false, []uint16{25}, false},
		{"ssl://h.example", smtps, starttls, false, []uint16{465}, true},
		{"ssl://h.example", none, starttls, false, []uint16{465, 25}, true},
		{"ssl://h.example", starttls, starttls, false, []uint16{465, 25}, true},
		{"secure://h.example", none, plain, false, []uint16{465, 25}, false},
		{"secure://h.example:25", none, starttls, false, []uint16{25, 25}, true},
		{"secure+auth://h.example", none, starttls, false, []uint16{465, 25}, true},
		{"smtps+auth://h.example", smtps, none, false, []uint16{465}, true},
		{"smtps+auth://h.example", none, starttls, false, []uint16{465}, false},
		{"tls+auth://h.example", none, starttls, false, []uint16{25}, true},
		{"tls://h.example", none, starttls, true, []uint16{25}, false},
		{"ssl://h.example", smtps, starttls, true, []uint16{465, 25}, false},
		{"smtps://h.example", smtps, starttls, false, []uint16{465}, false},
	} {
		t.Run(fmt.Sprintf("%s %s %s %t", tt.url, tt.on465, tt.on25, tt.tls), func(t *testing.T) {
			s := &sink{password: "secret"}
			b := newBench(t, func(c *Config) { c.Timeouts.TLS = time.Second }) // a server that waits for EHLO says nothing to a ClientHello
			b.resolver.hosts["h.example"] = append(b.resolver.hosts["h.example"], addr1)
			b.net.ports = map[uint16]string{}
			for port, kind := range map[uint16]string{465: tt.on465, 25: tt.on25} {
				switch kind {
				case none:
					b.net.ports[port] = ""
				case plain:
					b.net.ports[port] = s.start(t, nil)
				case starttls:
					b.net.ports[port] = s.startTLS(t, cert)
				case smtps:
					b.net.ports[port] = s.startSMTPS(t, cert)
				}
			}
			opts := &Relay{URL: parsed(t, tt.url), RequireTLS: tt.tls}
			if opts.URL.Key() != "" {
				opts.Auth = &Credentials{"me", "secret"}
			}
			r := b.one(opts, "x\n", "u@example.com")
			if (r.Status == envelope.Delivered) != tt.good || !slices.Equal(b.net.port, tt.ports) {
				t.Errorf("%+v, ports %d", r, b.net.port)
			}
			if tt.good && !b.log.has("mta tls ciphers=") {
				t.Error("sent in clear")
			}
		})
	}
}

func parsed(t *testing.T, s string) URL {
	u, err := ParseURL(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return u
}

// A server that was found without TLS from the first byte is not asked for it each time.
func TestFallbackIsRemembered(t *testing.T) {
	cert, _ := certificate(t, "h.example")
	s := &sink{}
	b := newBench(t, nil)
	b.resolver.hosts["h.example"] = append(b.resolver.hosts["h.example"], addr1)
	b.net.ports = map[uint16]string{465: "", 25: s.startTLS(t, cert)}
	for _, name := range []string{"one", "two"} { // no connection is shared
		if r := b.one(&Relay{Name: name, URL: parsed(t, "ssl://h.example")}, "x\n", "u@example.com"); r.Status != envelope.Delivered {
			t.Errorf("%+v", r)
		}
	}
	if want := []uint16{465, 25, 25}; !slices.Equal(b.net.port, want) {
		t.Errorf("ports %d, want %d", b.net.port, want)
	}
}

// A message with other credentials goes over another connection.
func TestPasswordIsPartOfTheIdentity(t *testing.T) {
	cert, _ := certificate(t, "h.example")
	s := &sink{password: "secret"}
	b := newBench(t, nil)
	b.resolver.hosts["h.example"] = append(b.resolver.hosts["h.example"], addr1)
	b.net.to[addr1] = s.startTLS(t, cert)
	for i, password := range []string{"secret", "secret", "guess", "secret"} {
		opts := &Relay{URL: parsed(t, "tls+auth://h.example"), Auth: &Credentials{"me", password}}
		want := envelope.Delivered
		if password == "guess" {
			want = envelope.TempFail
		}
		if r := b.one(opts, "x\n", "u@example.com"); r.Status != want {
			t.Errorf("message %d: %+v", i, r)
		}
	}
	if n := b.net.count(addr1); n != 2 {
		t.Errorf("%d connections", n)
	}
	for _, r := range b.Relays() {
		if strings.Contains(r.String(), "secret") || strings.Contains(r.String(), "me:") {
			t.Errorf("show relays: %s", r)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", Credentials{"me", "secret"}, &Relay{Auth: &Credentials{"me", "secret"}}, Credentials{"me", "secret"}); strings.Contains(text, "secret") {
		t.Errorf("printed: %s", text)
	}
}

// What a server says about AUTH goes into the log and to the sender: the password does not.
func TestRefusalWithoutThePassword(t *testing.T) {
	cert, _ := certificate(t, "h.example")
	addr := scripted(t, func(c *script, _ int) {
		tc := tls.Server(c.Conn, &tls.Config{Certificates: []tls.Certificate{cert}})
		in := newScript(tc)
		in.serve([]string{"AUTH PLAIN"}, func(cmd string) string {
			if strings.HasPrefix(cmd, "AUTH") {
				return "535 5.7.8 do not know " + cmd + " pass secret"
			}
			return ""
		})
	})
	b := newBench(t, nil)
	b.resolver.hosts["h.example"] = append(b.resolver.hosts["h.example"], addr1)
	b.net.to[addr1] = addr
	r := b.one(&Relay{URL: parsed(t, "smtps+auth://h.example"), Auth: &Credentials{"me", "secret"}}, "x\n", "u@example.com")
	if r.Status != envelope.TempFail || !strings.Contains(r.Text, "535 5.7.8 do not know AUTH PLAIN") ||
		strings.Contains(r.Text, "AG1lAHNlY3JldA") || strings.Contains(r.Text, "secret") || b.log.has("secret") || b.log.has("AG1lAHNlY3JldA") {
		t.Errorf("%+v", r)
	}
}

func newScript(c net.Conn) *script { return &script{c, bufio.NewReader(c)} }

// Refused credentials are not tried again and again, and stand in the way of nobody else on
// the same route.
func TestRefusedCredentials(t *testing.T) {
	cert, _ := certificate(t, "h.example")
	s := &sink{password: "secret"}
	b := newBench(t, nil)
	b.resolver.hosts["h.example"] = append(b.resolver.hosts["h.example"], addr1)
	b.net.to[addr1] = s.startTLS(t, cert)
	with := func(password string) *Relay {
		return &Relay{URL: parsed(t, "tls+auth://h.example"), Auth: &Credentials{"me", password}}
	}
	for range 3 {
		if r := b.one(with("guess"), "x\n", "u@example.com"); r.Status != envelope.TempFail || !strings.Contains(r.Text, "535") {
			t.Errorf("%+v", r)
		}
	}
	if n := b.net.count(addr1); n != 1 {
		t.Errorf("%d connections with wrong credentials", n)
	}
	if r := b.one(with("secret"), "x\n", "u@example.com"); r.Status != envelope.Delivered {
		t.Errorf("other credentials: %+v", r)
	}
	routes := b.Routes()
	if len(routes) != 1 || routes[0].Disabled {
		t.Fatalf("routes %v", routes)
	}
	if _, ok := b.ResumeRoute(routes[0].ID); !ok {
		t.Errorf("route not resumed")
	}
	b.one(with("guess"), "x\n", "u@example.com")
	if n := b.net.count(addr1); n != 3 {
		t.Errorf("%d connections, want another one after the route was resumed", n)
	}
}
