package netif

import (
	"net"
	"net/netip"
	"testing"
)

// TestHold: copies of a socket that is held take connections, also after it is closed, and
// then it is closed.
func TestHold(t *testing.T) {
	l, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"), 0)
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	s, err := Hold(l)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(); err == nil {
		t.Error("the listener is open")
	}
	early, err := net.Dial("tcp", addr) // waits until somebody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	for range 2 {
		f, err := s.File()
		if err != nil {
			t.Fatal(err)
		}
		copied, err := net.FileListener(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		defer copied.Close()
		c, err := copied.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		copied.Close()
		again, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		again.Close()
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("the socket is open")
	}
}
