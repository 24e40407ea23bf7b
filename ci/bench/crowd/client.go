package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// wait is how long a client waits for anything.
const wait = 30 * time.Second

// client is a session from an address of its own.
type client struct {
	net.Conn
	in     *bufio.Reader
	banner time.Duration // from the attempt to connect until the banner
}

func dial(addr string, from netip.Addr) (net.Conn, error) {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Timeout: wait}
	return d.Dial("tcp", addr)
}

// connect waits for the banner.
func connect(addr string, from netip.Addr) (*client, error) {
	start := time.Now()
	conn, err := dial(addr, from)
	if err != nil {
		return nil, err
	}
	c := &client{Conn: conn, in: bufio.NewReaderSize(conn, 512)}
	if _, err := c.say(""); err != nil {
		conn.Close()
		return nil, err
	}
	c.banner = time.Since(start)
	return c, nil
}

// say sends a text and waits for a good reply, of which it gives the last line.
func (c *client) say(text string) (string, error) {
	_ = c.SetDeadline(time.Now().Add(wait))
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return "", err
		}
		if len(line) < 4 || line[0] > '3' {
			return line, errors.New(strings.TrimSpace(line))
		}
		if line[3] != '-' {
			return line, nil
		}
	}
}

// secure is STARTTLS with the EHLO before it and after it.
func (c *client) secure() error {
	for _, text := range []string{"EHLO client.bench.test\r\n", "STARTTLS\r\n"} {
		if _, err := c.say(text); err != nil {
			return err
		}
	}
	c.Conn = tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true}) // nothing is measured of the client
	c.in = bufio.NewReaderSize(c.Conn, 512)
	_, err := c.say("EHLO client.bench.test\r\n")
	return err
}

var body = "Subject: load\r\n\r\n" + strings.Repeat("0123456789abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOP\r\n", 64) + ".\r\n"

// message sends one of 4 KiB.
func (c *client) message() error {
	for _, text := range []string{"MAIL FROM:<load@bench.test>\r\n", "RCPT TO:<load@d0.bench.test>\r\n", "DATA\r\n", body} {
		if _, err := c.say(text); err != nil {
			return err
		}
	}
	return nil
}

// times are durations of one kind.
type times struct {
	mu   sync.Mutex
	list []time.Duration
}

func (t *times) add(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, d)
}

func (t *times) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.list) == 0 {
		return "none"
	}
	slices.Sort(t.list)
	at := func(part int) float64 { return t.list[(len(t.list)-1)*part/100].Seconds() * 1000 }
	return fmt.Sprintf("p50 %.2f ms, p99 %.2f ms, most %.2f ms", at(50), at(99), at(100))
}

// load is what clients with good manners got.
type load struct {
	banners, messages times
	sent, failed      atomic.Int64
	firstError        atomic.Pointer[string]
}

func (l *load) fail(err error) {
	l.failed.Add(1)
	text := err.Error()
	l.firstError.CompareAndSwap(nil, &text)
}

// run has c sessions at a time send n messages, ten in each.
func (l *load) run(addr string, c, n int) {
	var left atomic.Int64
	left.Store(int64(n))
	var sessions sync.WaitGroup
	for i := range c {
		sessions.Go(func() {
			for k := 0; left.Load() > 0; k++ {
				if err := l.session(addr, source(normal, (i+k*c)%(10*perNetwork)), &left); err != nil {
					l.fail(err)
					left.Add(-10)
				}
			}
		})
	}
	sessions.Wait()
}

func (l *load) session(addr string, from netip.Addr, left *atomic.Int64) error {
	c, err := connect(addr, from)
	if err != nil {
		return err
	}
	defer c.Close()
	l.banners.add(c.banner)
	if _, err := c.say("EHLO client.bench.test\r\n"); err != nil {
		return err
	}
	for range 10 {
		if left.Add(-1) < 0 {
			break
		}
		start := time.Now()
		if err := c.message(); err != nil {
			return err
		}
		l.messages.add(time.Since(start))
		l.sent.Add(1)
	}
	_, err = c.say("QUIT\r\n")
	return err
}

func (l *load) report(what string, took, cpu time.Duration) {
	n := max(1, l.sent.Load())
	fmt.Printf("%s: %d messages, %.0f/s, server %d us each, message %v; banner %v; %d failed\n", what, n,
		float64(n)/took.Seconds(), cpu.Microseconds()/n, &l.messages, &l.banners, l.failed.Load())
	if text := l.firstError.Load(); text != nil {
		fmt.Println("  first failure:", *text)
	}
}
