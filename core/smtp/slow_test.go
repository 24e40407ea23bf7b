package smtp

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"
	"time"
)

// A listener may take clients that talk too early: what they said is not lost.
func TestEarlyTalkerTaken(t *testing.T) {
	talked := make(chan struct{})
	cfg := testConfig()
	cfg.TakeEarly = true
	b := &sample{hold: func() { <-talked }}
	s := start(t, context.Background(), cfg, b, testPeer())
	send(t, s, "HELO c.example\r\nQUIT\r\n")
	close(talked)
	replies, err := io.ReadAll(s)
	if err != nil || !strings.HasPrefix(string(replies), "220 ") || strings.Count(string(replies), "\r\n") != 3 {
		t.Fatalf("%q, %v", replies, err)
	}
}

// Who sends a message octet by octet has until it took too long as a whole.
func TestSlowMessage(t *testing.T) {
	const minutes = time.Minute
	for _, tt := range []struct {
		rate  int
		raw   int64
		since time.Duration // since the message began
		want  time.Duration // from now
	}{
		{0, 0, 60 * minutes, 5 * minutes},
		{100, 0, 0, 5 * minutes},
		{100, 99, 4 * minutes, minutes},
		{100, 6000, 4 * minutes, 2 * minutes},
		{100, 6000, 6 * minutes, 0},
		{100, 6000, 8 * minutes, -2 * minutes},
		{100, 1 << 40, 60 * minutes, 5 * minutes},
	} {
		c := &Conn{cfg: &Config{Timeouts: Timeouts{Rate: tt.rate}}}
		b := &Body{c: c, raw: tt.raw, began: time.Now().Add(-tt.since)}
		if got := time.Until(b.deadline()).Round(minutes); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

// What is too slow gets 421, and no message comes of it.
func TestSlowMessageRefused(t *testing.T) {
	cfg, b := testConfig(), &sample{}
	cfg.Timeouts = Timeouts{Data: time.Nanosecond, Rate: 1}
	s := start(t, context.Background(), cfg, b, testPeer())
	r := bufio.NewReader(s)
	readLine(t, r, "220 ")
	send(t, s, "HELO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@example.org>\r\nDATA\r\n")
	replies, err := io.ReadAll(r)
	if err != nil || !strings.HasSuffix(string(replies), "421 4.4.2 Timeout exceeded, closing connection\r\n") || len(b.taken()) > 0 {
		t.Errorf("%q, %v", replies, err)
	}
}
