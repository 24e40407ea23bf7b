package daemon

import (
	"bufio"
	"net"
	"strings"
	"testing"
)

// connect gives a connection and the first line that comes over it.
func (l *lab) connect(addr string) (net.Conn, string) {
	l.t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		l.t.Fatal(err)
	}
	return c, line
}

// One connection too many is answered, not left hanging; when another ends there is room.
func TestSessionLimit(t *testing.T) {
	l := start(t, "listen on 127.0.0.1 port PORT\nsmtp limit max-session 1\nmatch from any for any reject\n")
	first, line := l.connect(l.addr)
	if !strings.HasPrefix(line, "220 ") {
		t.Fatal(line)
	}
	if _, line = l.connect(l.addr); !strings.HasPrefix(line, "421 4.3.2 ") {
		t.Fatal(line)
	}
	l.log.wait(t, 0, "smtp: refused a connection: smtp limit max-session$")
	from := l.log.len()
	first.Close()
	l.log.wait(t, from-1, "smtp disconnected reason=disconnect")
	for !strings.HasPrefix(line, "220 ") { // the place is free a moment after that line
		_, line = l.connect(l.addr)
	}
}

// The limits of clients count the client that a proxy names, not the proxy: one client uses up
// what is its own, whatever its connections come through, and others are served.
func TestLimitsBehindProxy(t *testing.T) {
	l := start(t, "listen on 127.0.0.1 port PORT proxy-v2\nsmtp limit max-session-per-source 1 max-errors-per-source 2 max-auth-errors-per-source 0\nmatch from any for any reject\n")
	dial := func(header string) (net.Conn, string) {
		t.Helper()
		c, err := net.Dial("tcp", l.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := c.Write([]byte(header)); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return c, line
	}
	const one, other = "PROXY TCP4 203.0.113.9 127.0.0.1 4096 25\r\n", "PROXY TCP4 203.0.113.10 127.0.0.1 4096 25\r\n"
	first, line := dial(one)
	if !strings.HasPrefix(line, "220 ") {
		t.Fatal(line)
	}
	if _, line = dial(one); !strings.HasPrefix(line, "421 4.7.0 ") {
		t.Errorf("the second session of a client: %q", line)
	}
	l.log.wait(t, 0, "smtp: refused a connection of 203.0.113.9: smtp limit max-session-per-source$")
	if _, line = dial(proxyHeader2(1, 0x11, "")); !strings.HasPrefix(line, "421 4.7.0 ") { // 203.0.113.9 too
		t.Errorf("the same client by the other version: %q", line)
	}
	if _, line = dial(other); !strings.HasPrefix(line, "220 ") {
		t.Errorf("another client of the proxy: %q", line)
	}
	from := l.log.len()
	if _, err := first.Write([]byte("FROB\r\nFROB\r\nFROB\r\n")); err != nil {
		t.Fatal(err)
	}
	l.log.wait(t, from, "smtp disconnected reason=too-many-errors")
	for { // the place is free a moment after that line; the errors count on
		if _, line = dial(one); strings.Contains(line, "Too many errors from your address") {
			break
		}
		if !strings.Contains(line, "Too many sessions") {
			t.Fatalf("after too many errors: %q", line)
		}
	}
	if _, line = dial("PROXY TCP4 203.0.113.11 127.0.0.1 4096 25\r\n"); !strings.HasPrefix(line, "220 ") {
		t.Errorf("a client that did nothing: %q", line)
	}
}
