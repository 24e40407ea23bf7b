package netif

import (
	"net"
	"net/netip"
	"strconv"
	"testing"
)

// TestListen: a socket takes one address, or one family.
func TestListen(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, Address{Addr: netip.IPv6Unspecified()}, Address{Addr: netip.IPv4Unspecified()})
	for _, a := range all {
		l, err := Listen(netip.AddrPortFrom(a.Addr, 0), a.Index)
		if Absent(err) {
			continue // still looked at by the kernel
		}
		if err != nil {
			t.Errorf("%v: %v", a, err)
			continue
		}
		defer l.Close()
		got := l.Addr().(*net.TCPAddr).AddrPort()
		if got.Addr() != a.Addr {
			t.Errorf("%v: listens on %s", a, got)
		}
		dialed(t, l, a)
		if a.Addr.Is6() && a.Addr.IsUnspecified() {
			if c, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(got.Port())))); err == nil {
				c.Close()
				t.Error("an IPv6 socket answers on IPv4")
			}
		}
		if second, err := Listen(got, a.Index); err == nil || Absent(err) {
			t.Errorf("%v: a second listener: %v, %v", a, second, err)
		}
	}
	if _, err := Listen(netip.MustParseAddrPort("[fe80::dead:beef%nosuchif0]:0"), 0); err == nil || !Absent(err) {
		t.Errorf("an interface that does not exist: %v", err)
	}
}

func dialed(t *testing.T, l *net.TCPListener, a Address) {
	t.Helper()
	c, err := net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Errorf("%v: %v", a, err)
		return
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Errorf("%v: %v", a, err)
		return
	}
	s.Close()
}
