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
