package nonblock

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// pair gives two ends of a TCP connection; the first is wrapped.
func pair(t *testing.T) (c, peer net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if peer, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if c, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); peer.Close() })
	return Wrap(c), peer
}

func TestAllArrives(t *testing.T) {
	c, peer := pair(t)
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // more than the kernel keeps
	go func() {
		if n, err := c.Write(want); n != len(want) || err != nil {
			t.Errorf("Write: %d, %v", n, err)
		}
		if n, err := c.Write(nil); n != 0 || err != nil {
			t.Errorf("Write of nothing: %d, %v", n, err)
		}
		if err := c.(*Conn).CloseWrite(); err != nil {
			t.Errorf("CloseWrite: %v", err)
		}
	}()
	got, err := io.ReadAll(peer)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d octets of %d, %v", len(got), len(want), err)
	}
}

func TestDeadlineAndEnd(t *testing.T) {
	c, peer := pair(t)
	if err := c.SetWriteDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	big := make([]byte, 64<<20)
	if n, err := c.Write(big); !errors.Is(err, os.ErrDeadlineExceeded) || n == len(big) {
		t.Errorf("a reader that does not read: %d, %v", n, err)
	}
	if err := c.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	peer.Close()
	var nerr *net.OpError
	if _, err := c.Write(big); !errors.As(err, &nerr) {
		t.Errorf("a reader that has gone: %v", err)
	}
	c.Close()
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestNoSocket(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	defer a.Close()
	if Wrap(a) != a {
		t.Error("a pipe in memory was wrapped")
	}
}
