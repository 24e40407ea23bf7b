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

// place is a buffer that counts how often it was wanted and given back.
type place struct {
	room          [8]byte
	asked, gaveUp int
	idle          chan struct{}
}

func (p *place) Room() []byte { p.asked++; return p.room[:] }
func (p *place) Drop() {
	if p.gaveUp++; p.idle != nil {
		close(p.idle)
		p.idle = nil
	}
}

func TestReadLate(t *testing.T) {
	conn, peer := pair(t)
	c, p := conn.(*Conn), &place{idle: make(chan struct{})}
	idle := p.idle
	go func() {
		<-idle
		_, _ = io.WriteString(peer, "0123456789")
	}()
	if n, err := c.ReadLate(p); err != nil || string(p.room[:n]) != "01234567" {
		t.Errorf("read %q, %v", p.room[:n], err)
	}
	if p.gaveUp != 1 || p.asked != 2 {
		t.Errorf("given back %d times, asked %d", p.gaveUp, p.asked)
	}
	if n, err := c.ReadLate(p); err != nil || string(p.room[:n]) != "89" || p.gaveUp != 1 {
		t.Errorf("read %q, %v, given back %d times", p.room[:n], err, p.gaveUp)
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	if n, err := c.ReadLate(p); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nothing comes: %d, %v", n, err)
	}
	_ = c.SetReadDeadline(time.Time{})
	peer.Close()
	if n, err := c.ReadLate(p); n != 0 || err != io.EOF {
		t.Errorf("the other end has gone: %d, %v", n, err)
	}
	c.Close()
	if n, err := c.ReadLate(p); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %d, %v", n, err)
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
