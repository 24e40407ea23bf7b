package mta

import (
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// Timeouts of a session. What is zero is the default of RFC 5321 section 4.5.3.2.
type Timeouts struct {
	Connect     time.Duration // 30 s
	TLS         time.Duration // 1 min
	Command     time.Duration // 5 min: the greeting and every reply without its own
	DataInit    time.Duration // 2 min: the reply to DATA
	DataBlock   time.Duration // 3 min: for 32 KiB of the body to be taken
	DataDone    time.Duration // 10 min: the reply to the final dot
	Transaction time.Duration // 2 h: for all replies of a transaction together
	Quit        time.Duration // 5 s
	Slow        time.Duration // 5 s: how long a connection may be at one step before it is given up when others need its place
	Stall       time.Duration // 3 s: when no session of a relay takes work for so long, it gets another
}

func (t Timeouts) withDefaults() Timeouts {
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&t.Connect, 30 * time.Second}, {&t.TLS, time.Minute}, {&t.Command, 5 * time.Minute},
		{&t.DataInit, 2 * time.Minute}, {&t.DataBlock, 3 * time.Minute},
		{&t.DataDone, 10 * time.Minute}, {&t.Transaction, 2 * time.Hour}, {&t.Quit, 5 * time.Second}, {&t.Slow, 5 * time.Second}, {&t.Stall, 3 * time.Second},
	} {
		if *d.value <= 0 {
			*d.value = d.def
		}
	}
	return t
}

// guard is a connection on which each write has a deadline, and on which no more than
// budget octets arrive between two writes, when budget is not zero.
type guard struct {
	net.Conn
	block  time.Duration
	budget int
	read   int
}

func (g *guard) Write(p []byte) (n int, err error) {
	g.read = 0
	for len(p) > 0 && err == nil {
		var k int
		if err = g.SetWriteDeadline(time.Now().Add(g.block)); err != nil {
			break
		}
		k, err = g.Conn.Write(p[:min(len(p), chunkSize)])
		n, p = n+k, p[k:]
	}
	return n, err
}

func (g *guard) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if g.read += n; g.budget > 0 && g.read > g.budget {
		return 0, errReplyLength
	}
	return n, err
}

// ioText says what happened to a connection, in words for the sender of a message.
func ioText(err error) string {
	var ne net.Error
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return "Connection closed unexpectedly"
	case errors.As(err, &ne) && ne.Timeout(), errors.Is(err, os.ErrDeadlineExceeded):
		return "Connection timed out"
	}
	var sys *os.SyscallError // without the addresses that net.OpError adds
	if errors.As(err, &sys) {
		return "IO Error: " + sys.Err.Error()
	}
	return limitText(clean(err.Error()))
}
