package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// slow has clients that send an octet now and then, and measures what others get meanwhile.
func (o *options) slow() error {
	warm := &load{}
	warm.run(o.addr, o.sessions, o.messages/4)
	o.timed("without slow clients")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var open, ended atomic.Int64
	var clients, ready sync.WaitGroup
	for i := range o.n {
		ready.Add(1)
		clients.Go(func() {
			conn, err := o.begun(i)
			ready.Done()
			if err != nil {
				fmt.Println("  slow client:", err)
				return
			}
			defer conn.Close()
			open.Add(1)
			if o.drip(ctx, conn) {
				ended.Add(1)
			}
		})
		if i%16 == 15 {
			time.Sleep(5 * time.Millisecond)
		}
	}
	ready.Wait()
	used := o.cpu()
	time.Sleep(5 * o.every)
	fmt.Printf("%d slow clients, an octet each %v: server %.1f %% of a processor\n", open.Load(), o.every,
		100*(o.cpu()-used).Seconds()/(5*o.every.Seconds()))
	o.timed("with slow clients")
	o.timed("with slow clients")
	fmt.Printf("  %d slow clients were sent away meanwhile\n", ended.Load())
	cancel()
	clients.Wait()
	o.timed("without slow clients")
	return nil
}

func (o *options) timed(what string) {
	o.settle()
	l, used, start := &load{}, o.cpu(), time.Now()
	l.run(o.addr, o.sessions, o.messages)
	took := time.Since(start)
	o.settle()
	l.report(what, took, o.cpu()-used)
}

// begun opens a session that is slow in a command, in a message or in a handshake.
func (o *options) begun(i int) (*client, error) {
	c, err := connect(o.addr, source(crowd, i))
	if err != nil {
		return nil, err
	}
	var texts []string
	switch i % 3 {
	case 1:
		texts = []string{"EHLO c.bench.test\r\n", "MAIL FROM:<slow@bench.test>\r\n", "RCPT TO:<slow@d0.bench.test>\r\n", "DATA\r\n"}
	case 2:
		texts = []string{"EHLO c.bench.test\r\n", "STARTTLS\r\n"}
	}
	for _, text := range texts {
		if _, err := c.say(text); err != nil {
			return nil, err
		}
	}
	if i%3 == 2 {
		_, err = io.WriteString(c, "\x16\x03\x01\x3f\xff\x01") // a hello of 16 KiB begins
	}
	return c, err
}

// drip sends one octet after the other. It tells whether the server has ended that.
func (o *options) drip(ctx context.Context, c *client) (ended bool) {
	_ = c.SetDeadline(time.Time{})
	gone := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, c.in)
		close(gone)
	}()
	tick := time.NewTicker(o.every)
	defer tick.Stop()
	for octets := strings.Repeat("x", 60) + "\r"; ; octets = octets[1:] + octets[:1] {
		select {
		case <-ctx.Done():
			return false
		case <-gone:
			return true
		case <-tick.C:
			if _, err := io.WriteString(c, octets[:1]); err != nil {
				return true
			}
		}
	}
}
