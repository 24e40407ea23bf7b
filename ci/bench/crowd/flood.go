package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// attack is what a client got that connects all the time.
type attack struct {
	accepted, refused, closed, silent atomic.Int64
	answers                           times // how long it took until it knew

	mu   sync.Mutex
	kept []net.Conn
}

// flood connects from one address at a rate, while somebody else sends mail.
func (o *options) flood() error {
	if o.hold > 0 {
		time.Sleep(o.hold) // what was before is to be forgotten
	}
	o.settle()
	a, calm, l := &attack{}, &load{}, &load{}
	start := time.Now()
	<-o.pace(start, 10*time.Second, calm)
	calm.report("others before, a session each 100 ms", time.Since(start), 0)
	lines, used := o.lines(), o.cpu()
	start = time.Now()
	others := o.pace(start, o.span, l)
	var clients sync.WaitGroup
	n := int(o.span.Minutes() * float64(o.rate))
	for i := range n {
		time.Sleep(time.Until(start.Add(time.Duration(i) * time.Minute / time.Duration(o.rate))))
		clients.Go(func() { a.connect(o) })
	}
	clients.Wait()
	took, used := time.Since(start), o.cpu()-used
	<-others
	fmt.Printf("flood: %d connections in %.1f s: %d accepted, %d got 421, %d closed without a word, %d left hanging; answer %v\n", n, took.Seconds(),
		a.accepted.Load(), a.refused.Load(), a.closed.Load(), a.silent.Load(), &a.answers)
	fmt.Printf("  server: %.1f %% of a processor, %d us a connection\n", 100*used.Seconds()/took.Seconds(), used.Microseconds()/int64(n))
	l.report("others meanwhile", took, 0)
	for _, c := range a.kept {
		c.Close()
	}
	if o.log != "" {
		fmt.Printf("  lines in the log about refused connections:\n")
		for _, line := range o.lines()[len(lines):] {
			fmt.Println("   ", line)
		}
	}
	return nil
}

// pace has another client send a message each 100 ms for a while.
func (o *options) pace(start time.Time, span time.Duration, l *load) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; time.Since(start) < span; i++ {
			var left atomic.Int64
			left.Store(1)
			if err := l.session(o.addr, source(normal, i%perNetwork), &left); err != nil {
				l.fail(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}()
	return done
}

func (a *attack) connect(o *options) {
	start := time.Now()
	conn, err := dial(o.addr, source(enemy, 0))
	if err != nil {
		a.count(err)
		return
	}
	_ = conn.SetReadDeadline(time.Now().Add(wait))
	line, err := bufio.NewReaderSize(conn, 128).ReadString('\n')
	a.answers.add(time.Since(start))
	switch {
	case err != nil:
		a.count(err)
	case strings.HasPrefix(line, "421 "):
		a.refused.Add(1)
	default:
		a.accepted.Add(1)
		if o.keep {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.kept = append(a.kept, conn)
			return
		}
	}
	conn.Close()
}

func (a *attack) count(err error) {
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		a.silent.Add(1)
	} else {
		a.closed.Add(1)
	}
}

// lines gives those of the server's log that are about refused connections.
func (o *options) lines() (found []string) {
	text, _ := os.ReadFile(o.log)
	for line := range bytes.Lines(text) {
		if bytes.Contains(line, []byte("refused")) {
			found = append(found, string(bytes.TrimSpace(line)))
		}
	}
	return found
}
