package e2e

import (
	"bufio"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// from connects from an address of its own to another one, and gives the first line.
func from(t *testing.T, source, addr string) (net.Conn, string) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: talkWait}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(talkWait))
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	return c, line
}

// TestLimitsOfAddresses: the limits of clients hold for addresses that are not of the loopback, each
// by itself, for the network that they share, and not for those that are exempt.
func TestLimitsOfAddresses(t *testing.T) {
	for _, a := range []string{"198.51.100.1/24", "198.51.100.2/24", "198.51.100.3/24", "198.51.100.4/24", "203.0.113.5/24", "2001:db8:1::1/128", "2001:db8:2::1/128", "2001:db8:2::2/128"} {
		if out, err := exec.Command("ip", "addr", "add", a, "dev", "lo", "nodad").CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", a, err, out)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "addr", "del", a, "dev", "lo").Run() })
	}
	d := start(t, `
listen on 127.0.0.1
listen on 198.51.100.1
listen on 2001:db8:1::1
smtp limit max-session-per-source 2 max-session-per-network 3 exempt 203.0.113.0/24
match from any for any reject
`)
	const four, six = "198.51.100.1:25", "[2001:db8:1::1]:25"
	for _, tt := range []struct {
		source, addr, want string
	}{
		{"198.51.100.2", four, "220 "}, {"198.51.100.2", four, "220 "}, {"198.51.100.2", four, "421 4.7.0 "},
		{"198.51.100.3", four, "220 "}, {"198.51.100.4", four, "421 4.7.0 "}, // the network has three
		{"203.0.113.5", four, "220 "}, {"203.0.113.5", four, "220 "}, {"203.0.113.5", four, "220 "}, {"203.0.113.5", four, "220 "},
		{"2001:db8:2::1", six, "220 "}, {"2001:db8:2::2", six, "220 "}, {"2001:db8:2::1", six, "421 4.7.0 "}, // 64 bits are one client
		{"127.0.0.1", listen, "220 "}, {"127.0.0.1", listen, "220 "}, {"127.0.0.1", listen, "220 "}, {"127.0.0.1", listen, "220 "},
	} {
		if _, line := from(t, tt.source, tt.addr); !strings.HasPrefix(line, tt.want) {
			t.Errorf("%s: %q, want %s", tt.source, line, tt.want)
		}
	}
	d.waitLog("refused a connection of 198.51.100.2: smtp limit max-session-per-source")
	d.waitLog("smtp limit max-session-per-network")
}
