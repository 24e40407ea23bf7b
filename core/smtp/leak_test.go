package smtp

import (
	"context"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/trace"
)

// leakDialog goes through all that a session can be at when its client goes away.
const leakDialog = "EHLO c.example\r\nAUTH LOGIN\r\nYW5u\r\nYW5ucHc=\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n" +
	"Subject: x\r\n\r\nbody\r\n.\r\nRSET\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nBDAT 5\r\nabcdeNOOP\r\nBDAT 3 LAST\r\nab\r\n" +
	"MAIL FROM:<a@b.example>\r\nRCPT TO:<nobody@d.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"

// Sessions that end anywhere leave no goroutine and no memory.
func TestNothingIsLeft(t *testing.T) {
	sessions := 4000
	if testing.Short() {
		sessions = 400
	}
	secret := testTLS(t)
	random := rand.New(rand.NewPCG(5, 6))
	text := leakDialog + strings.Repeat("0123456789\r\n", 20000) // more than all buffers hold
	run := func(n int) (heap, stacks uint64) {
		for i := range n {
			cut := random.IntN(len(leakDialog))
			if i%10 == 0 {
				cut = random.IntN(len(text))
			}
			endAnywhere(secret, i, text[:cut], random.IntN(6))
		}
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // the second one empties the pools
		runtime.ReadMemStats(&m)
		return m.HeapAlloc, m.StackInuse
	}
	goroutines := runtime.NumGoroutine()
	heap, stacks := run(sessions / 10) // tables and caches are made now
	moreHeap, moreStacks := run(sessions)
	for n := 0; runtime.NumGoroutine() > goroutines; n++ {
		time.Sleep(time.Millisecond) // the last ones are on their way out
		if n > 10000 {
			all := make([]byte, 1<<16)
			t.Fatalf("goroutines are left:\n%s", all[:runtime.Stack(all, true)])
		}
	}
	// A session that is left over takes some KiB: a tenth of them would be seen.
	const most = 512 << 10
	if moreHeap > heap+most || moreStacks > stacks+2*most {
		t.Errorf("after %d sessions %d octets of heap and %d of stacks, before %d and %d", sessions, moreHeap, moreStacks, heap, stacks)
	}
}

// endAnywhere is a client that sends a text, in clear or encrypted, and goes away; or the server is told to
// stop, or the handshake ends in the middle. All goroutines have ended when it returns.
func endAnywhere(secret *tls.Config, i int, text string, how int) {
	cfg := testConfig()
	cfg.TLSConfig, cfg.TakeEarly = secret, i%5 > 0
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	client, server := net.Pipe()
	served, read := make(chan struct{}), make(chan struct{})
	b := &sample{auth: i%2 == 0, plain: i%3 == 0, refuse: refuseByName}
	go func() {
		defer close(served)
		Serve(ctx, timeless{server}, testPeer(), cfg, b, trace.New(&lines{}).NewTrace())
	}()
	var conn net.Conn = client
	if how < 2 {
		conn = secured(client, how == 0)
	}
	go func() {
		defer close(read)
		_, _ = io.Copy(io.Discard, conn)
	}()
	if text != "" { // a pipe waits for a reader of nothing
		_, _ = io.WriteString(conn, text)
	}
	if how == 5 {
		stop()
	}
	client.Close()
	<-read
	<-served
}

// timeless is a pipe without timers: one that is closed would keep them until they go off. Deadlines that
// are over still interrupt.
type timeless struct{ net.Conn }

func (c timeless) SetDeadline(t time.Time) error      { return c.Conn.SetDeadline(past(t)) }
func (c timeless) SetReadDeadline(t time.Time) error  { return c.Conn.SetReadDeadline(past(t)) }
func (c timeless) SetWriteDeadline(t time.Time) error { return c.Conn.SetWriteDeadline(past(t)) }

func past(t time.Time) time.Time {
	if t.After(time.Now()) {
		return time.Time{}
	}
	return t
}

// secured is the client's end after STARTTLS; without whole the handshake ends soon.
func secured(client net.Conn, whole bool) net.Conn {
	say := func(text string) {
		if text != "" {
			_, _ = io.WriteString(client, text)
		}
		for line := make([]byte, 512); ; {
			if n, err := client.Read(line); err != nil || strings.HasSuffix(lastLine(line[:n]), "\r\n") {
				return
			}
		}
	}
	say("")
	say("EHLO c.example\r\n")
	say("STARTTLS\r\n")
	if !whole {
		_, _ = io.WriteString(client, "\x16\x03\x01\x02\x00\x01\x00")
		return client
	}
	conn := tls.Client(client, &tls.Config{InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}})
	_ = conn.Handshake()
	return conn
}

// lastLine gives what stands behind the last line end but one, or nothing when more lines follow.
func lastLine(text []byte) string {
	lines := strings.SplitAfter(strings.TrimSuffix(string(text), "\r\n"), "\r\n")
	if last := lines[len(lines)-1]; len(last) > 3 && last[3] == '-' {
		return ""
	}
	return string(text)
}
